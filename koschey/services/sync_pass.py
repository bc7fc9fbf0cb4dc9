"""One pass over what is due: many at once, recorded in batches, and ended when the upstream is away."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol
from zlib import crc32

from koschey.errors import KoscheyError, StoreUnavailable, UpstreamError, UpstreamUnavailable
from koschey.services.configuration import SourceConfig
from koschey.services.sync_crew import Crew
from koschey.upstream.client import Permit, UpstreamClient
from koschey.upstream.manners import Tally

#: So many failures in a row, from an upstream that answers nothing, end a sync.
_OUTAGE = 20
#: An upstream that asks to be left alone for longer (seconds) ends the sync; the next one goes on.
PATIENCE = 60.0
#: Names of one look at the door.
_PERMITTED = 32


@dataclass(frozen=True)
class Share:
    """Which part of the work a process does: names and ids of that remainder."""

    number: int = 0
    of: int = 1

    def has(self, key: str | int) -> bool:
        """Whether a name or an id is in this part."""
        value = crc32(key.encode()) if isinstance(key, str) else key
        return value % self.of == self.number


class Stopped(Exception):
    """The sync ends here: ``problem`` says why, ``retry_after`` for how long the upstream wants peace.

    ``ours``: it is a store of our own that failed.
    """

    def __init__(
        self, outcome: str, problem: str, retry_after: float | None = None, *, ours: bool = False
    ) -> None:
        self.outcome = outcome
        self.problem = problem
        self.retry_after = retry_after
        self.ours = ours
        super().__init__(problem)


class Outage(Stopped):
    """The upstream answers nothing."""

    def __init__(self, problem: str) -> None:
        super().__init__("failed", problem)


class Item(Protocol):
    """What is due: a project or a file."""

    @property
    def key(self) -> str | int:
        """What decides in whose share it is."""

    @property
    def project(self) -> str:
        """Normalised name of the project it belongs to."""

    @property
    def attempts(self) -> int:
        """How often it could not be had."""

    @property
    def turn(self) -> tuple[int, int]:
        """Smaller ones come first."""

    @property
    def host(self) -> str:
        """Where it is, if an upstream may have several such places; else nothing."""


class Outcome(Protocol):
    """What came of asking for one."""

    @property
    def problem(self) -> KoscheyError | None:
        """Why it could not be had."""

    @property
    def host(self) -> str:
        """As of the item."""


class Pass[T: Item, R: Outcome](ABC):
    """Asks for what is due, each once, and records what came of it."""

    #: What is asked for is called so in what a person is told.
    things: str
    #: Of one transaction.
    batch: int
    #: A batch is recorded after so long, however small.
    batch_seconds: float

    def __init__(
        self, source: SourceConfig, client: UpstreamClient, stopping: Callable[[], str | None]
    ) -> None:
        self.source = source
        self.client = client
        self.tally = Tally()
        self.ending = threading.Event()
        """Set while it ends: what takes several requests makes no further one."""
        self._stopping = stopping
        self._in_a_row: dict[str, int] = defaultdict(int)
        self._away: dict[str, Stopped] = {}
        """Hosts of which nothing more is asked, and what the pass ends with because of them."""

    @abstractmethod
    def ask(self, turn: tuple[T, Permit]) -> R:
        """Ask for one, in any thread. Raises nothing that concerns this one alone."""

    @abstractmethod
    def record(self, batch: Sequence[R]) -> None:
        """Record what came of some, in one transaction. Raises: StoreUnavailable."""

    @abstractmethod
    def is_outage(self, problem: UpstreamError) -> bool:
        """Whether so many of these in a row mean that the upstream is away."""

    def is_full(self, batch: Sequence[R]) -> bool:
        """Whether a batch is recorded before more comes."""
        return len(batch) >= self.batch

    def run(self, pieces: Iterable[Sequence[T]], share: Share, connections: int) -> None:
        """Go through what is due and in this share, once; through what failed before last.

        Raises:
            Stopped: the upstream is away or asks for peace, or ``stopping`` said so. StoreUnavailable.
        """
        again: list[T] = []
        with ThreadPoolExecutor(connections, thread_name_prefix=f"sync-{self.source.name}") as pool:
            for piece in pieces:
                mine = [item for item in piece if share.has(item.key)]
                again += (item for item in mine if item.attempts)
                self._through([item for item in mine if not item.attempts], pool, connections)
            ends = list(self._away.values())
            with suppress(Outage):  # those may well fail again: that ends no more than this pass
                self._through(again, pool, connections)
        ends += (stop for stop in self._away.values() if stop.retry_after is not None)
        if ends:
            raise max(ends, key=lambda stop: stop.retry_after or 0.0)

    def _through(self, items: Sequence[T], pool: ThreadPoolExecutor, connections: int) -> None:
        """Ask for those, so many at once, and record them as they come."""
        waiting = self._permitted(sorted(items, key=lambda item: item.turn))
        crew = Crew(pool, connections, self._asked, waiting, 2 * self.batch)
        batch: list[R] = []
        begun = time.monotonic()
        try:
            while (landed := crew.landed()) is not None:
                for outcome in landed:
                    batch.append(outcome)
                    self._judge(outcome)
                if batch and (self.is_full(batch) or time.monotonic() - begun > self.batch_seconds):
                    recording, batch, begun = batch, [], time.monotonic()
                    self.record(recording)
                if problem := self._stopping():
                    raise Stopped("stopped", problem)
        finally:
            self.ending.set()
            if batch := batch + crew.stop():
                self.record(batch)
            self.ending.clear()

    def _asked(self, turn: tuple[T, Permit]) -> R:
        """Ask for one; again after short peaces that the upstream asked for, of a minute in all."""
        ends = time.monotonic() + PATIENCE
        while True:
            outcome = self.ask(turn)
            peace = _peace(outcome.problem)
            if peace is None or time.monotonic() + peace > ends or self.ending.wait(peace):
                return outcome

    def _permitted(self, items: Sequence[T]) -> Iterator[tuple[T, Permit]]:
        """What is due, some at a time with the word whether it may be asked for, when its turn comes."""
        assert self.source.endpoint is not None
        for start in range(0, len(items), _PERMITTED):
            some = [item for item in items[start : start + _PERMITTED] if item.host not in self._away]
            if not some:
                continue
            permit = self.client.permit(self.source.endpoint, sorted({item.project for item in some}))
            yield from ((item, permit) for item in some if item.host not in self._away)

    def _judge(self, outcome: R) -> None:
        """End the sync when the upstream is away altogether, or asks for peace. Raises: Stopped.

        A host of files that does so ends it once all that is at others was asked for.
        """
        problem, host = outcome.problem, outcome.host
        if isinstance(problem, StoreUnavailable):
            raise Stopped("failed", str(problem), ours=True)
        if not isinstance(problem, UpstreamError) or not self.is_outage(problem):
            self._in_a_row[host] = 0
            return
        self._in_a_row[host] += 1
        many, peace = self._in_a_row[host] >= _OUTAGE, _peace(problem)
        if peace is not None and (many or peace > PATIENCE):
            stop = Stopped("paused", problem.problem, peace)
        elif many:
            stop = Outage(f"{_OUTAGE} {self.things} in a row could not be had, the last: {problem.problem}")
        else:
            return
        if not host:
            raise stop
        self._away.setdefault(host, stop)


def _peace(problem: KoscheyError | None) -> float | None:
    """For how long (seconds) the whole upstream is to be left alone, if it said so.

    What one page or file asks for itself concerns that one.
    """
    if isinstance(problem, UpstreamUnavailable) and problem.whole:
        return problem.retry_after
    return None
