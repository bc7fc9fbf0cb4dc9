"""Two other private indexes to upload to: pypiserver and devpi-server, installed into a venv of their own."""

from __future__ import annotations

import base64
import http.client
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from bench.processes import BenchError, environment, free_port, running, wait_for_port

_PACKAGES = ("pypiserver", "devpi-server")
_INSTALL_SECONDS = 600.0


@dataclass(frozen=True)
class Target:
    """Where uploads go: an origin, a path, and the headers that sign in."""

    origin: str
    path: str
    headers: Mapping[str, str]


class _Result(msgspec.Struct, frozen=True):
    password: str = ""


class _Answer(msgspec.Struct, frozen=True):
    """What of devpi's answers is wanted."""

    result: _Result = _Result()


def installed(work: Path) -> Path:
    """The folder with the programs of both, installed when they are not there. Raises: BenchError."""
    venv = work / "rivals"
    programs = venv / "bin"
    if (programs / "devpi-server").exists() and (programs / "pypi-server").exists():
        return programs
    print("installing pypiserver and devpi-server into a venv of their own", file=sys.stderr)
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(venv)],
        [str(programs / "python"), "-m", "pip", "--disable-pip-version-check", "install", "-q", *_PACKAGES],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
        if done.returncode:
            raise BenchError(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
    return programs


@contextmanager
def pypiserver(programs: Path, folder: Path) -> Iterator[Target]:
    """pypiserver, anybody may upload."""
    packages = folder / "packages"
    packages.mkdir(parents=True)
    port, log = free_port(), folder / "pypiserver.log"
    command = [str(programs / "pypi-server"), "run", "-i", "127.0.0.1", "-p", str(port), "-P", ".", "-a", "."]
    with running([*command, "--disable-fallback", str(packages)], log, environment(folder)) as process:
        wait_for_port(process, port, log)
        yield Target(f"http://127.0.0.1:{port}", "/", {})


@contextmanager
def devpi(programs: Path, folder: Path) -> Iterator[Target]:
    """devpi-server with an index that mirrors nothing, and root's token for uploads."""
    folder.mkdir(parents=True)
    port, log = free_port(), folder / "devpi.log"
    data = ["--serverdir", str(folder / "data")]
    env = environment(folder)
    with log.open("ab") as out:
        command = [str(programs / "devpi-init"), *data, "--no-root-pypi", "--root-passwd", "secret"]
        if subprocess.run(command, stdout=out, stderr=out, env=env, timeout=120, check=False).returncode:
            raise BenchError(f"devpi-init failed: {log.read_text()[-500:]}")
    command = [str(programs / "devpi-server"), *data, "--host", "127.0.0.1", "--port", str(port)]
    with running(command, log, env) as process:
        wait_for_port(process, port, log, 60.0)
        origin = f"http://127.0.0.1:{port}"
        login = _json(origin, "POST", "/+login", {"user": "root", "password": "secret"}, {})
        token = base64.b64encode(f"root:{login.result.password}".encode()).decode()
        index = {"type": "stage", "volatile": True, "bases": []}
        _json(origin, "PUT", "/root/bench", index, {"X-Devpi-Auth": token})
        # By the token of a log-in: it would take a password's slow hash anew with each upload.
        yield Target(origin, "/root/bench/", {"X-Devpi-Auth": token})


def _json(origin: str, method: str, path: str, body: object, headers: dict[str, str]) -> _Answer:
    connection = http.client.HTTPConnection(urlsplit(origin).netloc, timeout=60)
    try:
        said = {"Content-Type": "application/json", "Accept": "application/json"} | headers
        connection.request(method, path, msgspec.json.encode(body), said)
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status >= 300:
        raise BenchError(f"{method} {origin}{path}: {answer.status} {content[:200]!r}")
    return msgspec.json.decode(content, type=_Answer)
