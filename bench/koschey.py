"""Koschey under measurement: ``koschey serve`` of this checkout, two worker processes, its defaults."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.load import Connection
from bench.nginx import ACCEL, Nginx
from bench.pages import JSON
from bench.processes import BenchError, PeakMemory, environment, running, wait_for_port
from bench.synthetic import SMALL

_COMMAND = [sys.executable, "-m", "koschey"]
_REPOSITORY = Path(__file__).parents[1]
#: Longer than any run: a refresh in the background would be measured with what it disturbs.
_NEVER = "100000"


@dataclass(frozen=True)
class Koschey:
    """A running Koschey; ``first_page`` is the seconds from its start to its first page."""

    pid: int
    origin: str
    first_page: float


def command(data: Path, *arguments: str) -> str:
    """What another ``koschey`` command prints. Raises: BenchError."""
    done = subprocess.run(
        [*_COMMAND, *arguments, "--data", str(data)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(data, PYTHONPATH=str(_REPOSITORY)),
    )
    if done.returncode:
        raise BenchError(f"koschey {' '.join(arguments[:2])}: {done.stderr.strip()}")
    return done.stdout


@contextmanager
def serving(
    folder: Path,
    data: Path,
    nginx: Nginx,
    peak: PeakMemory,
    *,
    accel: bool,
    first: str = f"/simple/{SMALL[0]}/",
    more: Mapping[str, str] | None = None,
) -> Iterator[Koschey]:
    """``koschey serve`` on ``data``, with nginx as its upstream and, with ``accel``, in front of it.

    Args:
        first: path of the page that is asked for first.
        more: further settings.

    Raises:
        BenchError: it did not start, or its first page is not one.
    """
    log = folder / "koschey.log"
    port = nginx.koschey_port
    command = [*_COMMAND, "serve", "--bind", f"127.0.0.1:{port}", "--data", str(data), "--workers", "2"]
    settings = {
        "KOSCHEY_UPSTREAM_URL": f"{nginx.upstream}/simple/",
        "KOSCHEY_QUARANTINE_DAYS": "0",
        "KOSCHEY_REFRESH_SECONDS": _NEVER,
        "KOSCHEY_STALE_SECONDS": _NEVER,
        "PYTHONPATH": str(_REPOSITORY),
    }
    if accel:
        settings |= {"KOSCHEY_ACCEL_REDIRECT": ACCEL, "KOSCHEY_TRUSTED_PROXIES": "1"}
    settings |= more or {}
    begin = time.perf_counter()
    with running(command, log, environment(folder, **settings)) as process, peak.watching(process.pid):
        wait_for_port(process, port, log)
        origin = f"http://127.0.0.1:{port}"
        with Connection(origin) as connection:
            answer = connection.get(first, {"Accept": JSON})
        seconds = time.perf_counter() - begin
        if answer.status != 200:
            raise BenchError(f"Koschey's first page has status {answer.status}: {answer.body[:300]!r}")
        yield Koschey(process.pid, origin, seconds)
