"""What a measure stands on: nginx, one Koschey at a time, and how often to measure."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import koschey
from bench.koschey import Koschey
from bench.nginx import Nginx
from bench.processes import PeakMemory
from bench.synthetic import SMALL


@dataclass(frozen=True)
class Effort:
    """How often to measure: rounds of load, rounds of installs, new projects to pull, starts."""

    rounds: int
    installs: int
    pulls: int
    starts: int


class Ground:
    """nginx and Koschey, started as a measure needs them; at most one Koschey runs at a time."""

    def __init__(self, folder: Path, data: Path, nginx: Nginx, effort: Effort, work: Path) -> None:
        self.folder = folder
        self.work = work
        """What outlives a run."""
        self.nginx = nginx
        self.effort = effort
        self.peak = PeakMemory()
        self._data = data
        self._running: tuple[bool, Koschey] | None = None
        self._stack = ExitStack()
        # The first one is Koschey's first page after each start.
        self._untouched = iter(SMALL[1:])

    def koschey(self, *, accel: bool = False) -> Koschey:
        """The Koschey of this run: the one that runs, unless it sends files the other way."""
        if self._running is None or self._running[0] != accel:
            return self.restarted(accel=accel)
        return self._running[1]

    def token(self) -> str:
        """A token of a user who may read, made beside the Koschey of this run."""
        self.koschey()
        koschey.command(self._data, "user", "create", "bench", "--role", "reader")
        return koschey.command(self._data, "token", "create", "bench", "--scope", "read").strip()

    def restarted(self, *, accel: bool = False) -> Koschey:
        """The Koschey of this run, started anew on its data."""
        self.stop()
        serving = koschey.serving(self.folder, self._data, self.nginx, self.peak, accel=accel)
        started = self._stack.enter_context(serving)
        self._running = (accel, started)
        return started

    @contextmanager
    def fresh(self) -> Iterator[Koschey]:
        """Another Koschey, which knows nothing yet, in place of the one of this run."""
        self.stop()
        with (
            tempfile.TemporaryDirectory(dir=self.folder) as data,
            koschey.serving(self.folder, Path(data), self.nginx, self.peak, accel=False) as started,
        ):
            yield started

    def stop(self) -> None:
        """End the Koschey of this run; its data stays."""
        self._running = None
        self._stack.close()

    def untouched(self) -> list[str]:
        """Small projects that Koschey was not asked for in this run, as many as are to be pulled."""
        return [next(self._untouched) for _ in range(self.effort.pulls)]


def interleaved(
    rounds: int, nginx: Callable[[], float], koschey: Callable[[], float]
) -> tuple[list[float], list[float]]:
    """Figures of both, taken in turns, each of them first every other time; one more round warms up."""
    theirs, ours = [], []
    for number in range(rounds + 1):
        if number % 2:
            their, our = nginx(), koschey()
        else:
            our, their = koschey(), nginx()
        if number:
            theirs.append(their)
            ours.append(our)
    return theirs, ours
