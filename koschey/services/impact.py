"""What another policy would do to what is visible in an index now; counted without changing anything."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import msgspec
from sqlalchemy import ColumnElement, func, or_, select, true
from sqlalchemy.orm import Session

from koschey.domain.explanation import sentence
from koschey.domain.page import Microseconds
from koschey.domain.policy import DAY, Policy
from koschey.services.configuration import IndexConfig
from koschey.services.gate import Judge
from koschey.services.known import (
    AT_ONCE,
    KnownFile,
    KnownProject,
    batches,
    decisions_about,
    files_of,
    judge,
    owners,
    projects_named,
)
from koschey.stores.database import Database, now
from koschey.stores.models import Download, File, Project, ProjectState, SourceKind

RECENT_DAYS = 30
_EXAMPLES = 20
#: Names in one look, few enough for their files to fit into memory.
_NAMES = 100


class Example(msgspec.Struct, frozen=True):
    """One version that a change concerns."""

    project: str
    version: str | None
    appears: bool
    """Whether files of it would become visible; else they would vanish."""
    downloads: int
    """In this index in the last 30 days, of the files concerned."""
    reason: str
    """Why, in the sentence of the verdict that a file of it would have."""


class Impact(msgspec.Struct, frozen=True):
    """How many versions have files that would become visible or vanish, and how many of those are in use."""

    appear: int = 0
    vanish: int = 0
    appear_downloaded: int = 0
    """Of those that appear, how many have been downloaded in the last 30 days."""
    vanish_downloaded: int = 0
    projects: int = 0
    """How many projects were looked at."""
    complete: bool = True
    """False: time was up before all projects were looked at."""
    examples: tuple[Example, ...] = ()
    """Those that are in use first."""


def impact_of(
    database: Database,
    index: IndexConfig,
    policy: Callable[[str], Policy],
    concerned: Callable[[str], bool],
    *,
    exact: str | None,
    seconds: float,
) -> Impact:
    """Judge the files of the names that are concerned by the policy that holds and by another one.

    Args:
        policy: what would hold for a name.
        concerned: whether a name's policy could change.
        exact: the only name that is concerned, when there is but one.
        seconds: when to stop.
    """
    deadline = time.monotonic() + seconds
    tally = _Tally()
    after = ""
    while True:
        with database.reading() as session:
            names = [exact] if exact is not None else _names(session, index, after)
            wanted = [name for name in names if concerned(name)]
            for batch in _few(wanted):
                _weigh(session, index, policy, batch, tally)
                if time.monotonic() > deadline:
                    return tally.impact(complete=batch[-1] == wanted[-1] and len(names) < AT_ONCE)
        if len(names) < AT_ONCE:
            return tally.impact(complete=True)
        after = names[-1]
        if time.monotonic() > deadline:
            return tally.impact(complete=False)


def _names(session: Session, index: IndexConfig, after: str) -> list[str]:
    """The next names that upstreams of the index have, in order."""
    found: set[str] = set()
    for source in index.sources:
        if source.kind is SourceKind.HOSTED:
            continue
        query = select(Project.name).where(Project.source_id == source.id, Project.name > after)
        query = query.where(Project.state != ProjectState.ABSENT).order_by(Project.name).limit(AT_ONCE)
        found.update(session.scalars(query))
    return sorted(found)[:AT_ONCE]


def _few(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _NAMES):
        yield names[start : start + _NAMES]


class _Tally:
    """What has been counted until now."""

    def __init__(self) -> None:
        self.projects = 0
        self._counts = {(appears, used): 0 for appears in (True, False) for used in (True, False)}
        self._used: list[Example] = []
        self._unused: list[Example] = []

    def add(self, example: Example) -> None:
        used = example.downloads > 0
        self._counts[example.appears, used] += 1
        kept = self._used if used else self._unused
        if len(kept) < _EXAMPLES:
            kept.append(example)

    def impact(self, *, complete: bool) -> Impact:
        counts = self._counts
        return Impact(
            appear=counts[True, True] + counts[True, False],
            vanish=counts[False, True] + counts[False, False],
            appear_downloaded=counts[True, True],
            vanish_downloaded=counts[False, True],
            projects=self.projects,
            complete=complete,
            examples=tuple((self._used + self._unused)[:_EXAMPLES]),
        )


def _weigh(
    session: Session,
    index: IndexConfig,
    policy: Callable[[str], Policy],
    names: Sequence[str],
    tally: _Tally,
) -> None:
    connection = session.connection()
    by_name: dict[str, list[KnownProject]] = {}
    for project in projects_named(connection, names):
        by_name.setdefault(project.name, []).append(project)
    # Only what comes from outside is held: of a merged name the last part.
    found = [parts[-1] for one in by_name.values() if (parts := owners(index, one))]
    tally.projects += len(found)
    decisions = decisions_about(connection, [project.name for project in found if project.decided])
    pairs = [
        (project, judge(index, project, decisions), judge(index, project, decisions, policy))
        for project in found
    ]
    pairs = [pair for pair in pairs if _differ(pair[1].policy, pair[2].policy)]
    at = now()
    could_change = _could_change(pairs)
    files = files_of(connection, [project.id for project, _, _ in pairs], could_change)
    changed: list[tuple[KnownProject, KnownFile, bool, str]] = []
    for project, before, after in pairs:
        for file in files[project.id]:
            verdict = after.verdict(file, at)
            if verdict.visible != before.verdict(file, at).visible:
                changed.append((project, file, verdict.visible, sentence(verdict, after.policy, at)))
    downloads = _downloads(session, index, [file.id for _, file, _, _ in changed], at)
    versions: dict[tuple[str, str | None, bool], Example] = {}
    for project, file, appears, reason in changed:
        key = (project.name, file.version, appears)
        known = versions.get(key)
        count = downloads.get(file.id, 0) + (known.downloads if known else 0)
        versions[key] = Example(*key, count, reason)
    for example in versions.values():
        tally.add(example)


def _differ(one: Policy, other: Policy) -> bool:
    return (one.hold, one.clock, one.required) != (other.hold, other.clock, other.required)


def _could_change(pairs: Sequence[tuple[KnownProject, Judge, Judge]]) -> ColumnElement[bool]:
    """Which files need to be judged: most are so old that no length of a hold says anything of them."""
    holds: list[Microseconds] = [0]
    for _, before, after in pairs:
        if (before.policy.clock, before.policy.required) != (after.policy.clock, after.policy.required):
            return true()
        holds += [before.policy.hold, after.policy.hold]
    believed_from = File.previous_look - max((pair[1].policy.tolerance for pair in pairs), default=0)
    return or_(
        File.upload_time.is_(None),
        File.upload_time + max(holds) > File.first_seen,
        File.upload_time < believed_from,
    )


def _downloads(
    session: Session, index: IndexConfig, file_ids: Sequence[int], at: Microseconds
) -> dict[int, int]:
    """How often each file was downloaded in the index lately; those that were not are left out."""
    found: dict[int, int] = {}
    since = at // DAY - RECENT_DAYS
    for batch in batches(file_ids):
        query = select(Download.file_id, func.sum(Download.count)).where(
            Download.file_id.in_(batch), Download.day >= since, Download.index_id == index.id
        )
        found.update((file, int(count)) for file, count in session.execute(query.group_by(Download.file_id)))
    return found
