"""Real Koschey processes for black-box tests: started by command, asked over HTTP, stopped by signal."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests import commands, prepared

#: Generous: they are waited for only where something is wrong, or the machine has other work.
START_SECONDS = 120.0
STOP_SECONDS = 60.0
CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Backend:
    """One way to run: its name, and the settings that make it so.

    ``environment`` is asked once per Koschey, so that each gets a database and a bucket of its own.
    """

    name: str
    environment: Callable[[], Mapping[str, str]]


@dataclass
class Running:
    """A Koschey that answers at ``url`` (scheme, host and port; no slash at the end)."""

    url: str
    data_dir: Path
    environment: Mapping[str, str]
    log_path: Path
    process: subprocess.Popen[bytes] | commands.Process
    command: Sequence[str]

    @property
    def simple(self) -> str:
        return f"{self.url}/simple/"

    @property
    def log(self) -> str:
        """Everything that the processes wrote."""
        return self.log_path.read_text(errors="replace")

    def stop(self) -> int:
        """SIGTERM; returns the exit status. Outliving its time is an error, and ends in a kill."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running {STOP_SECONDS:g} s after SIGTERM:\n{self.log}") from None

    @property
    def workers(self) -> list[int]:
        """Process ids of the worker processes (Linux only)."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def kill(self) -> None:
        """kill -9 of the process and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)

    def start_again(self, **settings: str) -> None:
        """On the same port and data, with these KOSCHEY_* settings changed."""
        self.environment = {**self.environment, **settings}
        self.process = _launch(self.command, self.environment, self.log_path)
        self.wait_until_ready()

    def cli(self, *arguments: str) -> str:
        """Run another ``koschey`` command with the same settings; returns what it printed."""
        done = commands.koschey(*arguments, environment=self.environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def wait_until_ready(self) -> None:
        """Until ``/readyz`` says 200; AssertionError with the log when it does not come to that."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"exited with {self.process.returncode}:\n{self.log}")
            with contextlib.suppress(requests.RequestException):
                if requests.get(self.url + "/readyz", timeout=5).status_code == 200:
                    return
            time.sleep(0.05)
        self.kill()
        raise AssertionError(f"not ready after {START_SECONDS:g} s:\n{self.log}")


def clean_environment() -> dict[str, str]:
    """This process's environment without anything that would steer Koschey or an installer."""
    prefixes = ("KOSCHEY_", "PIP_", "UV_", "POETRY_", "PYTHON", "VIRTUAL_ENV", "XDG_")
    proxies = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(prefixes) and key.lower() not in proxies
    }


def start_koschey(
    folder: Path,
    upstream_url: str,
    settings: Mapping[str, str] | None = None,
    *,
    workers: int = 1,
    gunicorn: bool = False,
) -> Running:
    """Start ``koschey serve`` (or gunicorn) with its data in ``folder`` and wait until it is ready.

    Args:
        upstream_url: where project pages are, with the slash at the end.
        settings: further ``KOSCHEY_*`` variables.
        workers: processes; two where it may matter that the next request meets another one.
        gunicorn: serve ``koschey.application:create_app()`` by gunicorn's threads.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    environment = {
        **clean_environment(),
        "KOSCHEY_DATA_DIR": str(folder / "data"),
        "KOSCHEY_UPSTREAM_URL": upstream_url,
        "KOSCHEY_QUARANTINE_DAYS": "0",
        "KOSCHEY_LOG_FORMAT": "json",
        **(settings or {}),
    }
    bind = f"127.0.0.1:{port}"
    if gunicorn:
        # No proxy in front: docs/operating.rst says why so many threads.
        options = ["--bind", bind, "--workers", str(workers), "--worker-class", "gthread", "--threads", "64"]
        command = ["gunicorn", *options, "--no-control-socket", "koschey.application:create_app()"]
    else:
        command = ["koschey", "serve", "--bind", bind, "--data", str(folder / "data")]
        command += ["--workers", str(workers)]
    command = [sys.executable, "-m", *command]
    prepared.first_start(environment)
    log_path = folder / "koschey.log"
    process = _launch(command, environment, log_path)
    running = Running(f"http://{bind}", folder / "data", environment, log_path, process, command)
    running.wait_until_ready()
    return running


def _launch(
    command: Sequence[str], environment: Mapping[str, str], log_path: Path
) -> subprocess.Popen[bytes] | commands.Process:
    *interpreter, program = command[:3]
    with log_path.open("ab") as log:
        if interpreter == [sys.executable, "-m"] and program == "koschey":
            return commands.Process(command[3:], environment, log)
        return subprocess.Popen(
            command, env=dict(environment), cwd=CHECKOUT, stdout=log, stderr=log, start_new_session=True
        )


@contextlib.contextmanager
def koschey(
    folder: Path, upstream_url: str, settings: Mapping[str, str], **options: Any
) -> Iterator[Running]:
    """``start_koschey`` for a ``with`` statement."""
    running = start_koschey(folder, upstream_url, settings, **options)
    try:
        yield running
    finally:
        running.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def raw_request(
    url: str, method: str, target: str, headers: Mapping[str, str] | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    """One request with exactly this target and these headers: no Accept, no encoding, no normalisation."""
    host, _, port = url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def eventually(holds: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The first true value of ``holds()``, asked again and again; AssertionError when none comes in time."""
    deadline = time.monotonic() + seconds
    while True:
        if value := holds():
            return value
        assert time.monotonic() < deadline, f"did not become true within {seconds:g} s"
        time.sleep(0.05)
