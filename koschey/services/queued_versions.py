"""What is said of a version in the reviewers' queue, judged when it is looked at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import replace
from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from koschey.domain.checks import Outcome, outcomes
from koschey.domain.explanation import sentence
from koschey.domain.page import Microseconds
from koschey.domain.quarantine import Mark, Rule, State, clock_start, needs_review
from koschey.services.configuration import IndexConfig
from koschey.services.demand import downloads_lately, wishes_for
from koschey.services.gate import Judge
from koschey.services.known import (
    Decisions,
    KnownFile,
    KnownProject,
    decisions_about,
    judge,
    owners,
)
from koschey.services.sightings import Sighted, sighting
from koschey.stores.database import now
from koschey.stores.models import File, Project
from koschey.stores.quarantine_rows import Hold

_WORST = (Outcome.FAIL, Outcome.ERROR, Outcome.WARN)


class Risk(StrEnum):
    """How much there is to look at, in the words of a chip."""

    HIGH = "failed checks"
    SOME = "warnings"
    UNKNOWN = "not checked yet"
    NONE = "no warnings"


class QueuedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version that is hidden somewhere, as far as it is."""

    project: str
    version: str
    """As its files spell it; empty for files whose names state none."""
    since: Microseconds
    """Since when the first of its files is in the queue."""
    files: int
    """Hidden ones; each counts once, in how many indexes ever."""
    indexes: tuple[str, ...]
    state: State
    """As of now: of the recorded ones that became visible a moment ago nothing may be left."""
    review: bool
    reason: str
    """The sentence about the file that stands against it most."""
    clears_at: Microseconds | None
    """When the first of its files clears by itself, where time does that."""
    published: Microseconds | None
    """What the upstream says of the first of its files."""
    risk: Risk
    signals: tuple[tuple[str, Outcome], ...]
    """Checks that failed, broke or warned, the worst first."""
    back_dated: bool
    asking: int = 0
    """People whose wish for it has no answer yet."""
    downloads: int = 0
    """Of its hidden files in the last 30 days, before they were hidden or where they are visible."""
    seen: str
    """The mark of all this, for whoever decides about it."""


def queued_versions(
    session: Session, indexes: Sequence[IndexConfig], rows: Sequence[Any]
) -> dict[tuple[int, str], QueuedVersion]:
    """What is hidden of some versions now, judged."""
    since = {(row.project_id, row.release): row.since for row in rows}
    if not since:
        return {}
    by_id = {index.id: index for index in indexes}
    at, downloads = now(), dict[int, int]()
    columns = (Hold.index_id, Hold.release, downloads_lately(at))
    query = (
        select(*columns, *(getattr(File, name) for name in KnownFile._fields))
        .join(File, File.id == Hold.file_id)
        .where(or_(*(and_(Hold.project_id == p, Hold.release == r) for p, r in since)))
    )
    hidden: dict[tuple[int, str], list[tuple[IndexConfig, KnownFile]]] = defaultdict(list)
    named = _by_name(session, {project_id for project_id, _ in since})
    projects = {project.id: project for same in named.values() for project in same}
    wishes = wishes_for(session, {projects[p].name for p, _ in since if p in projects}, {r for _, r in since})
    for index_id, release, downloaded, *row in session.execute(query):
        file = KnownFile._make(row)
        downloads[file.id] = int(downloaded or 0)
        index = by_id.get(index_id)
        if index is not None:
            hidden[file.project_id, release].append((index, file))
    decisions = decisions_about(session.connection(), {p.name for p in projects.values() if p.decided})
    judges: dict[tuple[int, int], Judge | None] = {}
    found = {}
    for key, members in hidden.items():
        project, sighted = projects[key[0]], []
        for index, file in members:
            if (index.id, project.id) not in judges:
                judges[index.id, project.id] = _judge(index, project, named[project.name], decisions)
            judging = judges[index.id, project.id]
            if judging is not None:
                sighted.append((judging, Sighted(index.name, file, judging.verdict(file, at))))
        if sighted:
            version = members[0][1].version or ""
            queued = _queued(project.name, version, since[key], sighted, at)
            found[key] = replace(
                queued,
                asking=wishes.get((project.name, key[1]), 0),
                downloads=sum(downloads[file_id] for file_id in {file.id for _, file in members}),
            )
    return found


def _by_name(session: Session, ids: set[int]) -> dict[str, list[KnownProject]]:
    """What every source has of the names of some projects.

    By the names of those ids, apart from their files: joined, PostgreSQL would go through them all.
    """
    names = select(Project.name).where(Project.id.in_(ids))
    query = select(*(getattr(Project, column) for column in KnownProject._fields))
    found: dict[str, list[KnownProject]] = defaultdict(list)
    for row in session.execute(query.where(Project.name.in_(names)).order_by(Project.id)):
        found[row.name].append(KnownProject._make(row))
    return found


def _judge(
    index: IndexConfig, project: KnownProject, named: Sequence[KnownProject], decisions: Decisions
) -> Judge | None:
    """The judge of a project in an index; None where the name is another source's: nothing shows it there."""
    parts = owners(index, named)
    if project not in parts:
        return None
    return judge(index, project, decisions, quarantined=parts[0].status == "quarantined")


def _queued(
    name: str, version: str, since: Microseconds, judged: Sequence[tuple[Judge, Sighted]], at: Microseconds
) -> QueuedVersion:
    judging, worst = min(judged, key=lambda pair: _rank(pair[1]))
    policy = judging.policy
    ends = [seen.verdict.clears for _, seen in judged]
    signals = _signals([seen.file for _, seen in judged])
    dated = [seen.file.upload_time for _, seen in judged if seen.file.upload_time is not None]
    checked = all(policy.required <= outcomes(seen.file.checks).keys() for _, seen in judged)
    hidden = [seen for _, seen in judged if not seen.verdict.visible]
    return QueuedVersion(
        project=name,
        version=version,
        since=since,
        files=len({seen.file.id for seen in hidden}),
        indexes=tuple(sorted({seen.index_name for seen in hidden})),
        state=worst.verdict.state,
        review=needs_review(worst.verdict),
        reason=sentence(worst.verdict, policy, at),
        clears_at=min((end for end in ends if end is not None), default=None),
        published=min(dated, default=None),
        risk=_risk(signals, checked=checked),
        signals=signals,
        back_dated=any(clock_start(seen.file, policy)[1] is Mark.BACK_DATED for _, seen in judged),
        seen=sighting(hidden),
    )


def _rank(seen: Sighted) -> tuple[int, int]:
    """What stands against a version most comes first."""
    rules = (Rule.FAILED_CHECK, Rule.HOLD, Rule.MISSING_CHECK, Rule.TIME, Rule.REJECT, Rule.WITHDRAWN)
    rule = seen.verdict.rule
    return (int(seen.verdict.visible), rules.index(rule) if rule in rules else len(rules))


def _signals(files: Sequence[KnownFile]) -> tuple[tuple[str, Outcome], ...]:
    worst: dict[str, Outcome] = {}
    for file in files:
        for check, outcome in outcomes(file.checks).items():
            if outcome in _WORST and (check not in worst or _worse(outcome, worst[check])):
                worst[check] = outcome
    return tuple(sorted(worst.items(), key=lambda item: (_WORST.index(item[1]), item[0])))


def _worse(one: Outcome, other: Outcome) -> bool:
    return _WORST.index(one) < _WORST.index(other)


def _risk(signals: Sequence[tuple[str, Outcome]], *, checked: bool) -> Risk:
    said = {outcome for _, outcome in signals}
    if said & {Outcome.FAIL, Outcome.ERROR}:
        return Risk.HIGH
    if not checked:
        return Risk.UNKNOWN
    return Risk.SOME if said else Risk.NONE
