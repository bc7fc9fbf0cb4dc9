from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]
LARGE = 100 * 2**20


class Running:
    """A server process and ways to talk to it."""

    def __init__(self, process: subprocess.Popen[str], url: str, errors: Path) -> None:
        self.process, self.url, self.errors = process, url, errors
        self.port = urlsplit(url).port or 0

    def connection(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=30)

    def raw(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def said_to(self, sent: bytes) -> bytes:
        """Everything the server says on a new connection until it closes it."""
        with self.raw() as client:
            client.sendall(sent)
            return rest(client)

    def json(self, path: str) -> Any:
        connection = self.connection()
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


def rest(client: socket.socket) -> bytes:
    said = bytearray()
    while block := client.recv(1 << 18):
        said += block
    return bytes(said)


@contextmanager
def running(folder: Path, *arguments: str, **environ: str) -> Iterator[Running]:
    errors = folder / "errors.txt"
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | environ,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    assert process.stdout is not None
    try:
        url = process.stdout.readline().split()
        assert url, errors.read_text()
        yield Running(process, url[-1], errors)
    finally:
        process.stdout.close()
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture(scope="session")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("served") / "large.bin"
    with path.open("wb") as file:
        for number in range(LARGE // 2**20):
            file.write(number.to_bytes(4) * 2**18)
    return path


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, large_file: Path) -> Iterator[Running]:
    """One worker with four threads and short limits."""
    folder = tmp_path_factory.mktemp("worker")
    arguments = ("-m", "tests.server.small_app", "worker", "127.0.0.1:0")
    with running(folder, *arguments, SMALL_APP_FILE=str(large_file)) as started:
        yield started


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts whole servers: ``start(bind, **environ)``."""
    with ExitStack() as stack:

        def _start(bind: str = "127.0.0.1:0", **environ: str) -> Running:
            arguments = ("-m", "tests.server.small_app", "supervisor", bind)
            return stack.enter_context(running(tmp_path, *arguments, **environ))

        yield _start
