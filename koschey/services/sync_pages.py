"""Looking at the projects that are due: many at once, recorded in batches, each by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from zlib import crc32

import structlog

from koschey.domain.filters import EVERYTHING, Mode, wanted
from koschey.domain.names import NormalizedName
from koschey.domain.page import Microseconds
from koschey.errors import KoscheyError, NameOwned, UpstreamError, UpstreamUnavailable
from koschey.failpoints import failpoint
from koschey.services.configuration import Configuration, SourceConfig
from koschey.services.looks import Recorded, Seen, record
from koschey.services.recording import Look
from koschey.services.sync_crew import Crew
from koschey.services.sync_store import (
    FOREVER,
    Counted,
    Due,
    SyncStore,
    add_files_named,
    add_files_of,
    count,
    done,
    failures,
)
from koschey.services.writes import NewFiles
from koschey.stores.database import Database, Transaction, now
from koschey.stores.models import ProjectState
from koschey.upstream.client import PageFetched, PageUnchanged, Permit, UpstreamClient
from koschey.upstream.manners import Tally

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: What is read of what is due at once; within it, what was looked at longest ago comes first.
_CHUNK = 20_000
#: Of one transaction.
_PAGES = 100
_FILES = 5_000
#: A batch is recorded after so long, however small.
_BATCH_SECONDS = 0.25
#: Tries for a page that is older than the root list says, and the pause before each, in seconds.
_STALE_TRIES = 2
_STALE_SECONDS = 0.5
#: So many failures in a row, from an upstream that answers nothing, end a sync.
_OUTAGE = 20
#: An upstream that asks to be left alone for longer (seconds) ends the sync; the next one goes on.
PATIENCE = 60.0
#: Names of one look at the door.
PERMITTED = 32
#: Looks after which a project is due no more.
_SETTLED = frozenset([Look.CHANGED, Look.UNCHANGED, Look.ABSENT, Look.OWNED])


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
    """The sync ends here: ``problem`` says why, ``retry_after`` for how long the upstream wants peace."""

    def __init__(self, outcome: str, problem: str, retry_after: float | None = None) -> None:
        self.outcome = outcome
        self.problem = problem
        self.retry_after = retry_after
        super().__init__(problem)


class Outage(Stopped):
    """The upstream answers nothing."""

    def __init__(self, problem: str) -> None:
        super().__init__("failed", problem)


@dataclass(frozen=True)
class _Answer:
    """What came of asking for a page: an answer or a problem."""

    due: Due
    seen: Seen | None
    problem: UpstreamError | None = None
    stale: bool = False


class Pages:
    """Works off the projects that are due."""

    def __init__(
        self,
        database: Database,
        store: SyncStore,
        configuration: Configuration,
        client: UpstreamClient,
        judging: NewFiles,
        *,
        page_deadline: float,
    ) -> None:
        self._database = database
        self._store = store
        self._configuration = configuration
        self._client = client
        self._judging = judging
        self._page_deadline = page_deadline

    def run(
        self,
        source: SourceConfig,
        names: dict[str, list[str]],
        share: Share,
        connections: int,
        stopping: Callable[[], str | None],
        by: Microseconds = FOREVER,
    ) -> bool:
        """Look at every project that is due and in this share, once; at those that failed before last.

        Args:
            names: of lists and seeds, with what is asked of each.
            stopping: asked often; a text ends the sync and says why.
            by: what is to be left alone until after that is left alone.

        Returns:
            Whether files came that are to be stored and checked.

        Raises:
            Stopped: the upstream is away or asks for peace, or ``stopping`` said so. StoreUnavailable.
        """
        run = _Run(self, source, names, stopping)
        after = ""
        again: list[Due] = []
        with ThreadPoolExecutor(connections, thread_name_prefix=f"sync-{source.name}") as pool:
            while chunk := self._store.due(source.id, after, _CHUNK, by):
                after = chunk[-1].name
                mine = [due for due in chunk if share.has(due.name)]
                again += (due for due in mine if due.attempts)
                first = [due for due in mine if not due.attempts]
                first.sort(key=lambda due: due.looked_at or 0)
                run.through(first, pool, connections)
            again.sort(key=lambda due: (due.attempts, due.looked_at or 0))
            with suppress(Outage):  # those may well fail again: that ends no more than this pass
                run.through(again, pool, connections)
        return run.work_came


class _Run:
    """One pass over what is due."""

    def __init__(
        self,
        pages: Pages,
        source: SourceConfig,
        names: dict[str, list[str]],
        stopping: Callable[[], str | None],
    ) -> None:
        self._pages = pages
        self._source = source
        self._names = names
        self._stopping = stopping
        self._tally = Tally()
        self._in_a_row = 0
        self._halted = threading.Event()
        self.work_came = False

    def through(self, chunk: Sequence[Due], pool: ThreadPoolExecutor, connections: int) -> None:
        """Ask for those pages, so many at once, and record them as they come."""
        crew = Crew(pool, connections, self._ask, self._permitted(chunk), 2 * _PAGES)
        batch: list[_Answer] = []
        begun = time.monotonic()
        try:
            while (answers := crew.landed()) is not None:
                for answer in answers:
                    batch.append(answer)
                    self._judge(answer)
                full = len(batch) >= _PAGES or sum(map(_files_in, batch)) >= _FILES
                if batch and (full or time.monotonic() - begun > _BATCH_SECONDS):
                    recording, batch, begun = batch, [], time.monotonic()
                    self._record(recording)
                if problem := self._stopping():
                    raise Stopped("stopped", problem)
        finally:
            self._halted.set()
            batch += crew.stop()
            self._record(batch)
            self._halted.clear()

    def _permitted(self, chunk: Sequence[Due]) -> Iterator[tuple[Due, Permit]]:
        """What is due, some at a time with the word whether it may be asked for, when its turn comes."""
        assert self._source.endpoint is not None
        for start in range(0, len(chunk), PERMITTED):
            some = chunk[start : start + PERMITTED]
            permit = self._pages._client.permit(self._source.endpoint, [due.name for due in some])
            yield from ((due, permit) for due in some)

    def _judge(self, answer: _Answer) -> None:
        """End the sync when the upstream is away altogether, or asks for peace. Raises: Stopped."""
        problem = answer.problem
        if problem is None or isinstance(problem, NameOwned):
            self._in_a_row = 0
            return
        if (asked := wants_peace(problem)) is not None:
            raise Stopped("paused", problem.problem, asked)
        self._in_a_row += 1
        if self._in_a_row >= _OUTAGE:
            raise Outage(f"{_OUTAGE} pages in a row could not be had, the last: {problem.problem}")

    def _ask(self, turn: tuple[Due, Permit]) -> _Answer:
        due, permit = turn
        source, pages = self._source, self._pages
        assert source.endpoint is not None
        name = NormalizedName(due.name)
        etag, past_caches = due.etag if due.state == ProjectState.PRESENT else None, False
        for attempt in range(_STALE_TRIES + 1):
            if self._halted.is_set():
                return _Answer(due, None, UpstreamError(source.name, "the sync ended before it was asked"))
            at = now()
            try:
                outcome = pages._client.project_page(
                    source.endpoint,
                    name,
                    etag=etag,
                    deadline=pages._page_deadline,
                    past_caches=past_caches,
                    apart=due.attempts > 0,
                    permit=permit,
                    tally=self._tally,
                )
            except UpstreamError as error:
                return _Answer(due, None, error)
            stale = _is_stale(due, outcome)
            if not stale or attempt == _STALE_TRIES:
                break
            etag, past_caches = None, True
            if isinstance(outcome, PageFetched):
                time.sleep(_STALE_SECONDS)
        seen = Seen(name, outcome, at, due.serial, unlisted=due.why == "unlisted")
        return _Answer(due, seen, stale=stale)

    def _record(self, batch: Sequence[_Answer]) -> None:
        """Record a batch; when that fails, one by one, so that one bad project holds up no other."""
        if not batch:
            return
        try:
            self._recorded(batch)
        except KoscheyError as error:
            if len(batch) == 1:
                self._not_recorded(batch[0], error)
                return
            log.warning("sync.batch_failed", upstream=self._source.name, pages=len(batch), problem=str(error))
            for answer in batch:
                self._record([answer])

    def _not_recorded(self, answer: _Answer, error: KoscheyError) -> None:
        with self._pages._database.transaction() as tx:
            failures(tx, self._source.id, {answer.due.name: str(error)})
            count(tx, self._source.id, Counted(projects_failed=1))

    def _recorded(self, batch: Sequence[_Answer]) -> None:
        source, pages = self._source, self._pages
        answered = [answer.seen for answer in batch if answer.seen is not None]
        failpoint("sync.before_record")
        with pages._database.transaction() as tx:
            recorded = Recorded({}, work_came=False, ids={})
            if answered:
                recorded = record(tx, source, answered, pages._judging, pages._configuration)
            problems = {a.due.name: p for a in batch if (p := _problem(a, recorded)) is not None}
            finished = [a.due.name for a in batch if a.due.name not in problems]
            done(tx, source.id, finished)
            failures(tx, source.id, problems)
            for name, problem in problems.items():
                log.warning("sync.page_failed", upstream=source.name, project=name, problem=problem)
            files = self._choose_files(tx, batch, recorded) if source.mode is Mode.FULL else 0
            requests, unchanged, received = self._tally.taken()
            counted = Counted(
                projects_done=len(finished),
                projects_changed=sum(look is Look.CHANGED for look in recorded.looks.values()),
                projects_failed=len(problems),
                files_due=files,
                requests=requests,
                unchanged=unchanged,
                bytes=received,
            )
            count(tx, source.id, counted)
        failpoint("sync.after_record")
        self.work_came = self.work_came or recorded.work_came

    def _choose_files(self, tx: Transaction, batch: Sequence[_Answer], recorded: Recorded) -> int:
        """What of the pages is to be stored."""
        filters, chosen = self._source.filters, 0
        whole: list[int] = []
        for answer in batch:
            if answer.seen is None or recorded.looks.get(answer.due.name) is not Look.CHANGED:
                continue
            outcome, project_id = answer.seen.outcome, recorded.ids.get(answer.due.name)
            if project_id is None or not isinstance(outcome, PageFetched):
                continue
            specifiers = self._names.get(answer.due.name)
            if not filters.by_file and (specifiers is None or "" in specifiers):
                whole.append(project_id)
                continue
            kept = wanted(filters or EVERYTHING, outcome.page.files, specifiers)
            chosen += add_files_named(tx, self._source.id, project_id, [file.filename for file in kept])
        return chosen + add_files_of(tx, self._source.id, whole)


def wants_peace(problem: KoscheyError) -> float | None:
    """For how long (seconds) the whole upstream is to be left alone, if that is longer than a sync waits.

    What one page or file asks for itself concerns that one.
    """
    if isinstance(problem, UpstreamUnavailable) and problem.whole and (problem.retry_after or 0) > PATIENCE:
        return problem.retry_after
    return None


def _is_stale(due: Due, outcome: object) -> bool:
    """Whether a cache on the way answered with an older page than the root list promises."""
    if due.serial is None:
        return False
    if isinstance(outcome, PageUnchanged):
        return (due.synced or 0) < due.serial
    return (
        isinstance(outcome, PageFetched)
        and outcome.page.serial is not None
        and outcome.page.serial < due.serial
    )


def _problem(answer: _Answer, recorded: Recorded) -> str | None:
    """Why a project stays due, None when it does not."""
    if answer.problem is not None:
        return None if isinstance(answer.problem, NameOwned) else str(answer.problem)
    look = recorded.looks[answer.due.name]
    if answer.stale and look in (Look.CHANGED, Look.UNCHANGED):
        return f"its page is older than serial {answer.due.serial} of the root list"
    if look is Look.SHARED:
        return None if answer.due.serial is None else "it was looked at from elsewhere meanwhile"
    return None if look in _SETTLED else f"its page is {look}: what is stored stays"


def _files_in(answer: _Answer) -> int:
    outcome = None if answer.seen is None else answer.seen.outcome
    return len(outcome.page.files) if isinstance(outcome, PageFetched) else 0
