"""Keeping an upstream's chosen projects in step: the verb, its progress, and what it came to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import structlog

from koschey.domain.filters import Mode
from koschey.domain.page import Microseconds
from koschey.errors import (
    Busy,
    Conflict,
    KoscheyError,
    NotFound,
    StoreUnavailable,
    UpstreamError,
    UpstreamUnavailable,
)
from koschey.services.configuration import Configuration, SourceConfig
from koschey.services.indexes import Indexes
from koschey.services.sync_pass import Stopped
from koschey.services.sync_phases import Options, Phases, Timing
from koschey.services.sync_progress import NEW_RUN, Progress
from koschey.services.sync_schedule import LOCK_SECONDS, TIME_IS_UP, lock_name, runs
from koschey.services.sync_summary import Summaries, running
from koschey.stores.database import now
from koschey.stores.locks import Locks

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds between two looks whether the upstream was paused.
_PAUSE_LOOK_SECONDS = 5.0


class Sync:
    """Runs syncs and says how they stand."""

    def __init__(
        self,
        progress: Progress,
        summaries: Summaries,
        configuration: Configuration,
        phases: Phases,
        locks: Locks,
        indexes: Indexes,
        submit: Callable[[str, int], None],
    ) -> None:
        self._progress = progress
        self._summaries = summaries
        self._configuration = configuration
        self._phases = phases
        self._locks = locks
        self._indexes = indexes
        self._submit = submit
        self._stop: str | None = None

    def start(self, upstream: str) -> None:
        """Have a worker sync an upstream soon, as ``asked`` does.

        Raises:
            NotFound: no such upstream. Conflict: one runs, it is paused, or asked to be left alone, or its
            mode keeps nothing in step.
        """
        source = _not_paused(self.source(upstream))
        _keeps_something(source)
        state = self._progress.state(source.id)
        if runs(self._locks, source.id, state["phase"], state["seen_at"]):
            raise Conflict(running(source, state))
        if peace := _peace(state):
            raise Conflict(f"{upstream} asked to be left alone for {peace:.0f} more seconds")
        self._submit("sync_asked", source.id)

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

    def asked(self, source_id: int) -> None:
        """One sync that a person began and does not wait for. It looks at everything.

        What could not be had before is asked for at once. Raises: UpstreamError, StoreUnavailable.
        """
        source = self._configuration.source(source_id)
        try:
            self.run(source.name, Options(seconds=600.0))
        except Conflict as error:
            log.info("sync.not_begun", upstream=source.name, problem=str(error))

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
        _keeps_something(source)
        with ExitStack() as held:
            try:
                held.enter_context(self._locks.hold(lock_name(source.id), LOCK_SECONDS))
            except Busy:
                raise Conflict(running(source, self._progress.state(source.id))) from None
            return self._run(source, options or Options())

    def reset(self, upstream: str, *, actor: str) -> None:
        """See ``Indexes.reset_upstream``; while no sync runs, which would put back what it read before.

        Raises: NotFound. Conflict: one runs.
        """
        source = self.source(upstream)
        try:
            with self._locks.hold(lock_name(source.id), LOCK_SECONDS):
                self._indexes.reset_upstream(upstream, actor=actor)
        except Busy:
            told = running(source, self._progress.state(source.id))
            raise Conflict(f"{told}; reset it when that has ended, or pause it first") from None

    def status(self, upstream: str | None = None) -> list[dict[str, Any]]:
        """How every upstream stands, or one, as plain values; times in microseconds since 1970."""
        sources = [self.source(upstream)] if upstream else self._configuration.upstreams()
        return [self._summaries.of(source) for source in sources]

    def _run(self, source: SourceConfig, options: Options) -> dict[str, Any]:
        """One run with the lock held: however it ends, its outcome is on record. Raises: as ``run``."""
        ends = None if options.seconds is None else time.monotonic() + options.seconds
        begun = self._begin(source)
        paused = self._paused(source)

        def stopping() -> str | None:
            if ends is not None and time.monotonic() > ends:
                return TIME_IS_UP
            return self._stop or paused()

        ended: dict[str, Any] = {}
        phase: dict[str, Any] = {"phase": None}
        timing = Timing()
        try:
            ended = self._phases.run(source, options, stopping, timing)
        except Stopped as stop:
            outcome = "continues" if stop.outcome == "stopped" else stop.outcome
            ended = {"outcome": outcome, "problem": stop.problem}
            phase = {} if stop.ours else phase
        except UpstreamError as error:
            ended = {"outcome": "failed", "problem": error.problem}
            if isinstance(error, UpstreamUnavailable) and error.whole and error.retry_after is not None:
                ended = {"outcome": "paused", "problem": error.problem}
                self._progress.leave_alone(source.id, error.retry_after)
            raise
        except KoscheyError as error:
            ended = {"outcome": "failed", "problem": str(error)}
            # As one that was killed: it is gone on with as soon as somebody looks.
            phase = {} if isinstance(error, StoreUnavailable) else phase
            raise
        finally:
            ended = ended or {"outcome": "failed", "problem": "it crashed; the log says where"}
            if ended["outcome"] == "ok":
                ended["in_step_at"] = begun
            self._progress.put(source.id, **phase, ended_at=now(), **ended)
            log.info("sync.ended", upstream=source.name, **ended)
        return self._summaries.of(source) | {"phases": timing.seconds}

    def _begin(self, source: SourceConfig) -> Microseconds:
        """When it begins, anew or where the last one ended too early. Raises: UpstreamUnavailable."""
        before = self._progress.state(source.id)
        if peace := _peace(before):
            problem = f"it asked to be left alone for {peace:.0f} more seconds"
            raise UpstreamUnavailable(source.name, problem, retry_after=peace)
        begun = now()
        goes_on = before["outcome"] == "continues"
        fresh: Mapping[str, Any] = {} if goes_on else dict(NEW_RUN) | {"begun_at": begun}
        self._progress.put(source.id, **fresh, phase="choosing", outcome=None, problem=None)
        return begun

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


def _not_paused(source: SourceConfig) -> SourceConfig:
    """The source. Raises: Conflict."""
    if source.endpoint is not None and source.endpoint.paused is not None:
        raise Conflict(
            f"{source.name} is paused ({source.endpoint.paused}); koschey upstream resume {source.name}"
        )
    return source


def _keeps_something(source: SourceConfig) -> None:
    """Raises: Conflict."""
    if source.mode is Mode.PROXY:
        raise Conflict(
            f"the mode of {source.name} is proxy, which keeps nothing in step; "
            f"koschey upstream edit {source.name} --mode known|index|full"
        )


def _peace(state: Mapping[str, Any]) -> float:
    """For how many more seconds an upstream is to be left alone; 0: it may be asked."""
    return max(0.0, ((state["paused_until"] or 0) - now()) / 1e6)
