"""Keeping an upstream's chosen projects in step: the verb, its progress, and what it came to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from koschey.domain.filters import Mode
from koschey.domain.page import Microseconds
from koschey.errors import Busy, Conflict, KoscheyError, NotFound, UpstreamError, UpstreamUnavailable
from koschey.services.configuration import Configuration, SourceConfig
from koschey.services.indexes import Indexes
from koschey.services.keeping import Keeping
from koschey.services.sync_choosing import Choosing
from koschey.services.sync_dependencies import Dependencies
from koschey.services.sync_files import StoredBySync
from koschey.services.sync_pages import Pages, Share, Stopped
from koschey.services.sync_schedule import LOCK_SECONDS, lock_name, runs
from koschey.services.sync_store import FOREVER, NEW_RUN, SyncStore
from koschey.services.sync_summary import running, summary
from koschey.stores.database import Database, now
from koschey.stores.locks import Locks
from koschey.upstream.manners import LONGEST_PAUSE

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: More rounds of dependencies than any tree is deep.
_ROUNDS = 30
#: Seconds between two looks whether the upstream was paused.
_PAUSE_LOOK_SECONDS = 5.0


class Many(Protocol):
    """Does a phase; ``work`` does one share of it, over so many connections; ``due``: how much there is."""

    def __call__(self, work: Callable[[Share, int], None], connections: int, due: int) -> None:
        """Raises: Stopped, and what ``work`` raises."""


def alone(work: Callable[[Share, int], None], connections: int, due: int) -> None:
    """Do all of it in this process."""
    work(Share(), connections)


@dataclass(frozen=True)
class Options:
    """How to run a sync."""

    older_than: float = 0.0
    """Seconds; name by name, pages that were looked at later are left for the next time."""
    afresh: bool = False
    """Compare everything, whatever the ETag of the root list says."""
    seconds: float | None = None
    """After so long it ends, and another one goes on."""
    many: Many = alone
    patient: bool = False
    """Leave alone for a while what could not be had before; what a person starts asks for it at once."""


class Sync:
    """Runs syncs and says how they stand."""

    def __init__(
        self,
        database: Database,
        store: SyncStore,
        configuration: Configuration,
        indexes: Indexes,
        keeping: Keeping,
        choosing: Choosing,
        pages: Pages,
        files: StoredBySync,
        dependencies: Dependencies,
        locks: Locks,
        submit: Callable[[str, int], None],
        work_came: Callable[[], None],
        expect: Callable[[int], None],
    ) -> None:
        """``expect`` is told how many threads will ask the database at once."""
        self._database = database
        self._store = store
        self._configuration = configuration
        self._indexes = indexes
        self._keeping = keeping
        self._choosing = choosing
        self._pages = pages
        self._files = files
        self._dependencies = dependencies
        self._locks = locks
        self._submit = submit
        self._work_came = work_came
        self._expect = expect
        self._stop: str | None = None

    def start(self, upstream: str) -> None:
        """Have a worker sync an upstream soon. Raises: NotFound; Conflict: one runs, or it is paused."""
        source = _not_paused(self.source(upstream))
        state = self._store.state(source.id)
        if runs(self._locks, source.id, state["phase"], state["seen_at"]):
            raise Conflict(running(source, state))
        self._submit("sync_upstream", source.id)

    def stop(self, why: str) -> None:
        """Have the sync of this process end after what it is about; the next one goes on there."""
        self._stop = why

    def scheduled(self, source_id: int, seconds: float = 600.0) -> None:
        """One sync by the schedule, or a part of one. Raises: UpstreamError, StoreUnavailable."""
        source = self._configuration.source(source_id)
        options = Options(older_than=source.sync_seconds / 2, seconds=seconds, patient=True)
        try:
            self.run(source.name, options)
        except Conflict:
            log.info("sync.runs_already", upstream=source.name)

    def source(self, upstream: str) -> SourceConfig:
        """An upstream by its name. Raises: NotFound."""
        for source in self._configuration.upstreams():
            if source.name == upstream:
                return source
        raise NotFound("upstream", upstream)

    def run(self, upstream: str, options: Options | None = None) -> dict[str, Any]:
        """Bring an upstream's chosen projects in step; returns its summary, as ``status`` has it.

        Killed anywhere, the next one goes on there. What could not be had stays due, and is named in the
        summary; it holds up nothing else.

        Raises:
            NotFound: no such upstream. Conflict: one runs already, it is paused, or its mode keeps nothing in
            step.
            UpstreamError: nothing could be found out. StoreUnavailable: ours failed.
        """
        source = _not_paused(self.source(upstream))
        if source.mode is Mode.PROXY:
            raise Conflict(
                f"the mode of {upstream} is proxy, which keeps nothing in step; "
                f"koschey upstream edit {upstream} --mode known|index|full"
            )
        try:
            with self._locks.hold(lock_name(source.id), LOCK_SECONDS):
                return self._run(source, options or Options())
        except Busy:
            raise Conflict(running(source, self._store.state(source.id))) from None

    def reset(self, upstream: str, *, actor: str) -> None:
        """Forget serials, ETags and what is due, of an upstream that began to count anew."""
        source = self.source(upstream)
        self._indexes.reset_upstream(upstream, actor=actor)
        self._store.drop_due(source.id)
        self._store.put(source.id, root_etag=None, root_serial=None, compared_at=None, alarm=None)

    def status(self, upstream: str | None = None) -> list[dict[str, Any]]:
        """How every upstream stands, or one, as plain values; times in microseconds since 1970."""
        sources = [self.source(upstream)] if upstream else self._configuration.upstreams()
        return [summary(self._store, self._locks, source) for source in sources]

    def _run(self, source: SourceConfig, options: Options) -> dict[str, Any]:
        ends = None if options.seconds is None else time.monotonic() + options.seconds
        before = self._store.state(source.id)
        if (before["paused_until"] or 0) > now():
            left = (before["paused_until"] - now()) / 1e6
            problem = f"it asked to be left alone for {left:.0f} more seconds"
            raise UpstreamUnavailable(source.name, problem, retry_after=left)
        begun = now()
        goes_on = before["outcome"] == "continues"
        fresh: Mapping[str, Any] = {} if goes_on else dict(NEW_RUN) | {"begun_at": begun}
        self._store.put(source.id, **fresh, phase="choosing", outcome=None, problem=None)

        paused = self._paused(source)

        def stopping() -> str | None:
            if ends is not None and time.monotonic() > ends:
                return "its time is up; the next one goes on"
            return self._stop or paused()

        ended: dict[str, Any] = {}
        phases = _Phases()
        try:
            ended = self._through(source, options, stopping, phases)
        except Stopped as stop:
            outcome = "continues" if stop.outcome == "stopped" else stop.outcome
            ended = {"outcome": outcome, "problem": stop.problem}
        except UpstreamError as error:
            ended = {"outcome": "failed", "problem": error.problem}
            if isinstance(error, UpstreamUnavailable) and error.whole and error.retry_after is not None:
                ended = {"outcome": "paused", "problem": error.problem}
                self._leave_alone(source, error.retry_after)
            raise
        except KoscheyError as error:
            ended = {"outcome": "failed", "problem": str(error)}
            raise
        finally:
            ended = ended or {"outcome": "failed", "problem": "it crashed; the log says where"}
            if ended["outcome"] == "ok":
                ended["in_step_at"] = begun
            self._store.put(source.id, phase=None, ended_at=now(), **ended)
            log.info("sync.ended", upstream=source.name, **ended)
        return summary(self._store, self._locks, source) | {"phases": phases.seconds}

    def _paused(self, source: SourceConfig) -> Callable[[], str | None]:
        """Says whether it was paused meanwhile, by a look at the configuration every few seconds."""
        looked = time.monotonic()

        def paused() -> str | None:
            nonlocal looked
            if time.monotonic() < looked + _PAUSE_LOOK_SECONDS:
                return None
            looked = time.monotonic()
            return "it was paused" if self.source(source.name).paused else None

        return paused

    def _through(
        self,
        source: SourceConfig,
        options: Options,
        stopping: Callable[[], str | None],
        phases: _Phases,
    ) -> dict[str, Any]:
        """All phases; returns how it ended."""
        self._choose_again(source)
        choice = self._choosing.choose(source, older_than=options.older_than, afresh=options.afresh)
        phases.ended("choosing")
        self._store.put(source.id, alarm=choice.alarm)
        for number in range(_ROUNDS):
            self._look(source, options, stopping)
            if not self._dependencies.expand(source, stopping):
                break
            self._choosing.choose(source, older_than=1e9, afresh=False)
            log.info("sync.dependencies", upstream=source.name, round=number + 1)
        phases.ended("pages")
        if source.mode is Mode.FULL:
            self._fetch(source, options, stopping)
        phases.ended("files")
        left = self._store.count_due(source.id)
        files = self._store.count_files(source.id) if source.mode is Mode.FULL else 0
        if left or files:
            return {"outcome": "partial", "problem": f"{left} projects and {files} files are left"}
        return {"outcome": "ok"}

    def _choose_again(self, source: SourceConfig) -> None:
        """Mode or filters changed: what was due by the old ones is forgotten, files are chosen anew."""
        names = self._keeping.names(source.id)
        fingerprint = self._choosing.fingerprint(self._choosing.scope(source))
        if self._store.state(source.id)["chosen"] == fingerprint:
            return
        self._store.drop_due(source.id)
        if source.mode is Mode.FULL:
            self._files.choose_again(source, names)
        self._store.put(source.id, chosen=fingerprint, root_etag=None)

    def _leave_alone(self, source: SourceConfig, seconds: float) -> None:
        """No sync before that: the upstream asked for it."""
        self._store.put(source.id, paused_until=now() + round(min(seconds, LONGEST_PAUSE) * 1e6))

    def _look(self, source: SourceConfig, options: Options, stopping: Callable[[], str | None]) -> None:
        """Every page that is due; those that failed once more, when most did not."""
        names = self._keeping.names(source.id)
        for attempt in range(2):
            by = _asked_by(options)
            due = self._store.count_due(source.id, by)
            if not due:
                return
            state = self._store.state(source.id)
            total = state["projects_done"] + due
            if attempt and due * 4 > total:
                return  # no accident of single pages
            failed = 0 if attempt else state["projects_failed"]
            self._store.put(source.id, phase="pages", projects_due=total, projects_failed=failed)

            def part(share: Share, connections: int, by: Microseconds = by) -> None:
                if self._pages.run(source, names, share, connections, stopping, by):
                    self._work_came()

            self._by_many(source, options, part, due)

    def _fetch(self, source: SourceConfig, options: Options, stopping: Callable[[], str | None]) -> None:
        """Every file that is due; those that failed once more."""
        self._files.clear_spool(source)
        for attempt in range(2):
            by = _asked_by(options)
            due = self._store.count_files(source.id, by)
            if not due:
                return
            state = self._store.state(source.id)
            if attempt and due * 4 > state["files_done"] + due:
                return
            total = state["files_done"] + due
            failed = 0 if attempt else state["files_failed"]
            self._store.put(source.id, phase="files", files_due=total, files_failed=failed)

            def part(share: Share, connections: int, by: Microseconds = by) -> None:
                self._files.run(source, share, connections, stopping, by)

            self._by_many(source, options, part, due)

    def _by_many(
        self, source: SourceConfig, options: Options, part: Callable[[Share, int], None], due: int
    ) -> None:
        """Have a phase done; what one process is told by the upstream is for the others as well."""

        def work(share: Share, connections: int) -> None:
            self._expect(connections)
            try:
                part(share, connections)
            except Stopped as stop:
                if stop.retry_after is not None:
                    self._leave_alone(source, stop.retry_after)
                raise

        options.many(work, source.connections, due)


class _Phases:
    """How long each phase took, in seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._begun = time.monotonic()

    def ended(self, phase: str) -> None:
        """A phase is over, and the next one begins."""
        at = time.monotonic()
        self.seconds[phase] = round(at - self._begun, 2)
        self._begun = at


def _not_paused(source: SourceConfig) -> SourceConfig:
    """The source. Raises: Conflict."""
    if source.endpoint is not None and source.endpoint.paused is not None:
        raise Conflict(
            f"{source.name} is paused ({source.endpoint.paused}); koschey upstream resume {source.name}"
        )
    return source


def _asked_by(options: Options) -> Microseconds:
    """What was to be left alone until after that is left alone."""
    return now() if options.patient else FOREVER
