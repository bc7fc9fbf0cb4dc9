"""Starting, waiting for, watching and ending the processes of a run; each is ended by its own id."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

_STOP_SECONDS = 15.0
_SAMPLE_SECONDS = 0.25
_ROLLUP = re.compile(rb"^(Rss|Pss):\s+(\d+) kB$", re.MULTILINE)


class BenchError(Exception):
    """Something of the benchmark did not work; the text says what, and what to do."""


class Memory(NamedTuple):
    """Resident and proportional set size of a family of processes, in MiB."""

    rss: float
    pss: float


def environment(folder: Path, **extra: str) -> dict[str, str]:
    """An environment that owes nothing to the caller's: no proxies, no clients' or Koschey's settings."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    return {"PATH": path, "HOME": str(folder), "TMPDIR": str(folder), "LANG": "C.UTF-8"} | extra


def free_port() -> int:
    """A port of the loopback address that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def running(command: list[str], log: Path, env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, its output in ``log``; ended at the exit, hard when it lingers."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            print(f"{command[0]} did not stop within {_STOP_SECONDS:g} s; killed", file=sys.stderr)
        # Its process group is its own, so this meets nobody else: children that outlived it.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path, seconds: float = 30.0) -> None:
    """Return when ``port`` accepts connections.

    Raises:
        BenchError: the process ended, or the time is over; with the last lines of its log.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise BenchError(f"{process.args!r} ended with {process.returncode}:\n{_tail(log)}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(0.005)
    raise BenchError(f"{process.args!r} did not listen within {seconds:g} s:\n{_tail(log)}")


def memory(pid: int) -> Memory:
    """What process ``pid`` and all its descendants take now."""
    kilobytes = {b"Rss": 0, b"Pss": 0}
    for member in members(pid):
        with suppress(OSError):
            for key, value in _ROLLUP.findall(Path(f"/proc/{member}/smaps_rollup").read_bytes()):
                kilobytes[key] += int(value)
    return Memory(kilobytes[b"Rss"] / 1024, kilobytes[b"Pss"] / 1024)


def largest(pid: int) -> Memory:
    """What the largest of process ``pid`` and its descendants takes now."""
    found = [Memory(0.0, 0.0)]
    for member in members(pid):
        with suppress(OSError):
            sizes = _ROLLUP.findall(Path(f"/proc/{member}/smaps_rollup").read_bytes())
            of = {key: int(value) / 1024 for key, value in sizes}
            found.append(Memory(of.get(b"Rss", 0.0), of.get(b"Pss", 0.0)))
    return max(found)


class PeakMemory:
    """The highest sums seen, sampled four times a second while one process after the other is watched."""

    def __init__(self, *, single: bool = False) -> None:
        """``single``: of the largest process, not of all together."""
        self.peak = Memory(0.0, 0.0)
        self._single = single

    @contextmanager
    def watching(self, pid: int) -> Iterator[None]:
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(pid, done), name="peak-memory", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def _watch(self, pid: int, done: threading.Event) -> None:
        while not done.wait(_SAMPLE_SECONDS):
            now = largest(pid) if self._single else memory(pid)
            self.peak = Memory(max(self.peak.rss, now.rss), max(self.peak.pss, now.pss))


def members(pid: int) -> set[int]:
    """Ids of a process and all its descendants."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                # The name in brackets may hold spaces and brackets: fields are counted after the last.
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return family


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
