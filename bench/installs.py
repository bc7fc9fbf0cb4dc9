"""The 60 packages through real clients, warm: uv once, eight of uv at once, pip."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from bench.ground import Ground, interleaved
from bench.processes import BenchError, environment, running
from bench.report import Goal, Row, compared
from bench.synthetic import GRAPH, GRAPH_ROOTS

_SECONDS = 300.0
_DISTRIBUTION = re.compile(r"(graph_\d\d)-[^-]+(?:\.dist-info|-py3-none-any\.whl)")


def uv_install(ground: Ground) -> Iterator[Row]:
    """``uv pip install`` of the 60 into an empty folder, without a cache."""
    yield _measured(ground, "uv pip install of 60", _uv, 1, Goal("multiple", 1.2, 1.05))


def uv_install_8(ground: Ground) -> Iterator[Row]:
    """Eight of them at once; the time of the last."""
    yield _measured(ground, "8 uv pip install of 60 at once", _uv, 8, Goal("multiple", 1.3, 1.1))


def pip_download(ground: Ground) -> Iterator[Row]:
    """``pip download`` of the 60, without a cache."""
    yield _measured(ground, "pip download of 60", _pip, 1, None)


#: The command that fetches the 60 from an origin into a folder.
_Client = Callable[[str, Path], list[str]]


def _uv(origin: str, target: Path) -> list[str]:
    uv = shutil.which("uv", path=environment(target)["PATH"])
    if uv is None:
        raise BenchError("the benchmark needs uv on PATH: pip install uv")
    options = ["--no-config", "--no-cache", "--python", sys.executable, "--target", str(target)]
    return [uv, "pip", "install", *options, "--index-url", f"{origin}/simple/", *GRAPH_ROOTS]


def _pip(origin: str, target: Path) -> list[str]:
    options = ["--no-cache-dir", "--disable-pip-version-check", "--dest", str(target)]
    command = [sys.executable, "-m", "pip", "download", *options]
    return [*command, "--index-url", f"{origin}/simple/", *GRAPH_ROOTS]


def _measured(ground: Ground, measure: str, client: _Client, count: int, goal: Goal | None) -> Row:
    origin = ground.koschey().origin
    theirs, ours = interleaved(
        ground.effort.installs,
        lambda: _together(ground.folder, client, ground.nginx.static, count),
        lambda: _together(ground.folder, client, origin, count),
    )
    return compared(measure, "s", theirs, ours, goal)


def _together(folder: Path, client: _Client, origin: str, count: int) -> float:
    """Seconds until ``count`` clients, started at once, have all of the 60. Raises: BenchError."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch, ExitStack() as stack:
        log = Path(scratch) / "log"
        targets = [Path(scratch) / str(number) for number in range(count)]
        env = environment(Path(scratch), PIP_CONFIG_FILE=os.devnull)
        begin = time.perf_counter()
        started = [stack.enter_context(running(client(origin, target), log, env)) for target in targets]
        try:
            statuses = [process.wait(_SECONDS) for process in started]
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"{error.cmd} took longer than {_SECONDS:g} s") from error
        seconds = time.perf_counter() - begin
        if any(statuses):
            raise BenchError(f"{started[0].args!r} ended with {statuses}:\n{log.read_text()[-2000:]}")
        for target in targets:
            _complete(target)
    return seconds


def _complete(target: Path) -> None:
    found = {match[1] for path in target.iterdir() if (match := _DISTRIBUTION.fullmatch(path.name))}
    if missing := {name.replace("-", "_") for name in GRAPH} - found:
        raise BenchError(f"installed without {sorted(missing)}")
