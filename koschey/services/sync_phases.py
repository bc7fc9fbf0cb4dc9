"""The phases of a sync: choosing, pages, dependencies, files."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import structlog

from koschey.domain.filters import Mode
from koschey.domain.page import Microseconds
from koschey.services.configuration import SourceConfig
from koschey.services.sync_choosing import Choosing
from koschey.services.sync_dependencies import Dependencies, Told
from koschey.services.sync_due import DueProjects
from koschey.services.sync_due_files import DueFiles
from koschey.services.sync_files import StoredBySync
from koschey.services.sync_pages import Pages
from koschey.services.sync_pass import Share, Stopped
from koschey.services.sync_progress import Progress
from koschey.services.sync_retries import FOREVER
from koschey.stores.database import now

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: More rounds of dependencies than any tree is deep.
_ROUNDS = 30


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
    """Look at every page, whatever serials and the ETag of the root list say."""
    seconds: float | None = None
    """After so long it ends, and another one goes on."""
    many: Many = alone
    patient: bool = False
    """Leave alone for a while what could not be had before; what a person starts asks for it at once."""


class Timing:
    """How long each phase took, in seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._begun = time.monotonic()

    def ended(self, phase: str) -> None:
        """A phase is over, and the next one begins."""
        at = time.monotonic()
        self.seconds[phase] = round(at - self._begun, 2)
        self._begun = at


class Phases:
    """Goes through them."""

    def __init__(
        self,
        progress: Progress,
        projects: DueProjects,
        files: DueFiles,
        choosing: Choosing,
        pages: Pages,
        storing: StoredBySync,
        dependencies: Dependencies,
        work_came: Callable[[], None],
        expect: Callable[[int], None],
    ) -> None:
        """
        Args:
            work_came: called when files came that are to be stored and checked.
            expect: is told how many threads will ask the database at once.
        """
        self._progress = progress
        self._projects = projects
        self._files = files
        self._choosing = choosing
        self._pages = pages
        self._storing = storing
        self._dependencies = dependencies
        self._work_came = work_came
        self._expect = expect

    def run(
        self,
        source: SourceConfig,
        options: Options,
        stopping: Callable[[], str | None],
        timing: Timing,
    ) -> dict[str, Any]:
        """All phases; returns how it ended.

        Raises:
            Stopped: before its end, by ``stopping`` or the upstream. UpstreamError: the root list could not
            be had. StoreUnavailable.
        """
        self._choose_again(source)
        alarm = self._choosing.choose(source, older_than=options.older_than, afresh=options.afresh)
        timing.ended("choosing")
        self._progress.put(source.id, alarm=alarm)
        told, looking = Told(), options
        for number in range(_ROUNDS):
            self._look(source, looking, stopping)
            looking = replace(options, patient=True)  # what failed twice now is not asked for in each round
            names = self._dependencies.expand(source, stopping, told)
            if not names:
                break
            self._add(source, names)
            log.info("sync.dependencies", upstream=source.name, round=number + 1)
        timing.ended("pages")
        if source.mode is Mode.FULL:
            self._fetch(source, options, stopping)
            self._work_came()  # not before: who checks a file would fetch it a second time
        timing.ended("files")
        left = (self._left(source), _untold(told.unread), alarm)
        if problems := [problem for problem in left if problem]:
            return {"outcome": "partial", "problem": "; ".join(problems)}
        return {"outcome": "ok"}

    def _left(self, source: SourceConfig) -> str | None:
        """What is left for the next time in a sentence, with the first of it and why; None: nothing."""
        projects = self._projects.count(source.id)
        files = self._files.count(source.id) if source.mode is Mode.FULL else 0
        words = [_counted(projects, "project"), _counted(files, "file")]
        told = " and ".join(word for word in words if word)
        if not told:
            return None
        named = [(name, problem) for name, _, problem in self._projects.failed(source.id, 1)]
        if files and not named:
            named = [(filename, problem) for _, filename, _, problem in self._files.failed(source.id, 1)]
        first = "".join(f", such as {name}: {problem}" for name, problem in named)
        return f"{told} {'is' if projects + files == 1 else 'are'} left{first}"

    def _add(self, source: SourceConfig, names: Collection[str]) -> None:
        """Of those names something new is asked: pages of new ones, and other files of known ones."""
        self._choosing.add(source, names)
        if source.mode is Mode.FULL:
            self._storing.choose_again(source, names)
        fingerprint = self._choosing.fingerprint(self._choosing.scope(source))
        self._progress.put(source.id, chosen=fingerprint)

    def _choose_again(self, source: SourceConfig) -> None:
        """Mode or filters changed: what was due by the old ones is forgotten, files are chosen anew."""
        fingerprint = self._choosing.fingerprint(self._choosing.scope(source))
        if self._progress.state(source.id)["chosen"] == fingerprint:
            return
        self._projects.drop(source.id)
        if source.mode is Mode.FULL:
            self._storing.choose_again(source)
        self._progress.put(source.id, chosen=fingerprint, root_etag=None)

    def _look(self, source: SourceConfig, options: Options, stopping: Callable[[], str | None]) -> None:
        """Every page that is due; those that failed once more, when most did not."""
        for attempt in range(2):
            by = _asked_by(options)
            due = self._projects.count(source.id, by)
            if not due:
                return
            state = self._progress.state(source.id)
            total = state["projects_done"] + due
            if attempt and due * 4 > total:
                return  # no accident of single pages
            failed = 0 if attempt else state["projects_failed"]
            self._progress.put(source.id, phase="pages", projects_due=total, projects_failed=failed)

            def part(share: Share, connections: int, by: Microseconds = by) -> None:
                if self._pages.run(source, share, connections, stopping, by) and source.mode is not Mode.FULL:
                    self._work_came()

            self._by_many(source, options, part, due)

    def _fetch(self, source: SourceConfig, options: Options, stopping: Callable[[], str | None]) -> None:
        """Every file that is due; those that failed once more."""
        self._storing.prepare(source)
        for attempt in range(2):
            by = _asked_by(options)
            due = self._files.count(source.id, by)
            if not due:
                return
            state = self._progress.state(source.id)
            if attempt and due * 4 > state["files_done"] + due:
                return
            total = state["files_done"] + due
            failed = 0 if attempt else state["files_failed"]
            self._progress.put(source.id, phase="files", files_due=total, files_failed=failed)

            def part(share: Share, connections: int, by: Microseconds = by) -> None:
                self._storing.run(source, share, connections, stopping, by)

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
                    self._progress.leave_alone(source.id, stop.retry_after)
                raise

        options.many(work, source.connections, due)


def _counted(number: int, noun: str) -> str:
    """Empty for none."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}" if number else ""


def _asked_by(options: Options) -> Microseconds:
    """What was to be left alone until after that is left alone."""
    return now() if options.patient else FOREVER


def _untold(unread: Mapping[int, str]) -> str | None:
    """Of which files it cannot be told what they require, in words; None: there are none."""
    if not unread:
        return None
    return f"what {_counted(len(unread), 'file')} requires cannot be told, such as {min(unread.values())}"
