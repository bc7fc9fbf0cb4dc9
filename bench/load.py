"""Load and single requests: ``wrk`` for rates, a keep-alive connection for times and for proof."""

from __future__ import annotations

import http.client
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from bench.processes import BenchError, environment

CONNECTIONS = 16
_SCRIPT = Path(__file__).with_name("wrk.lua")
_RESULT = re.compile(r"^RESULT (.*)$", re.MULTILINE)
_CHUNK = 2**20


class _Summary(msgspec.Struct):
    requests: int
    bytes: int
    microseconds: int
    statuses: int
    sockets: int


@dataclass(frozen=True)
class Rate:
    """What a round of load gave, per second."""

    requests: float
    bytes: float


@dataclass(frozen=True)
class Answer:
    """A whole answer, and the seconds from the request to its last byte."""

    url: str
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    seconds: float


def binary() -> str:
    """Where wrk is. Raises: BenchError, with what to install."""
    if found := shutil.which("wrk"):
        return found
    raise BenchError("the benchmark needs wrk on PATH: install the package wrk (4.0 or newer)")


def wrk(url: str, headers: Mapping[str, str]) -> Rate:
    """Load ``url`` from 16 connections for a second: rounds are short because neighbours steal time.

    Raises:
        BenchError: an answer had a status of 400 or more, or a connection broke.
    """
    command = [binary(), "-t2", f"-c{CONNECTIONS}", "-d1s", "--timeout", "30s"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    command += ["-s", str(_SCRIPT), url]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=environment(_SCRIPT.parent)
    )
    found = _RESULT.search(done.stdout)
    if done.returncode or not found:
        raise BenchError(f"wrk on {url} ended with {done.returncode}: {done.stderr.strip()}")
    summary = msgspec.json.decode(found[1], type=_Summary)
    if summary.statuses or summary.sockets:
        raise BenchError(
            f"load on {url}: {summary.statuses} error statuses, {summary.sockets} broken connections"
        )
    elapsed = summary.microseconds / 1e6
    return Rate(summary.requests / elapsed, summary.bytes / elapsed)


class Connection:
    """One keep-alive connection to an origin such as ``http://127.0.0.1:8080``."""

    def __init__(self, origin: str, timeout: float = 60.0) -> None:
        self._origin = origin
        self._http = http.client.HTTPConnection(urlsplit(origin).netloc, timeout=timeout)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.close()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """GET ``path``, or the same server's absolute URL.

        Raises:
            BenchError: there is no whole answer.
        """
        parts = urlsplit(path)
        begin = time.perf_counter()
        try:
            self._http.request("GET", parts.path, headers=dict(headers or {}))
            response = self._http.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise BenchError(f"GET {self._origin}{parts.path}: {error!r}") from error
        seconds = time.perf_counter() - begin
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(f"{self._origin}{parts.path}", response.status, names, body, seconds)

    def drain(self, path: str) -> tuple[int, float]:
        """GET ``path`` and forget its body: bytes received, and seconds until the last one."""
        buffer = bytearray(_CHUNK)
        received = 0
        begin = time.perf_counter()
        try:
            self._http.request("GET", urlsplit(path).path)
            response = self._http.getresponse()
            while count := response.readinto(buffer):
                received += count
        except (OSError, http.client.HTTPException) as error:
            raise BenchError(f"GET {self._origin}{path}: {error!r}") from error
        return received, time.perf_counter() - begin
