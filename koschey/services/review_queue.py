"""The reviewers' queue: versions that indexes hide, in the order in which they came.

What is recorded in ``hold`` says which versions and in what order; what is said of each is judged now. A
version stands where the first of its files does. It stands in one tab: what only a person can end comes
before what time ends, and that before what was rejected.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import replace
from sqlalchemy import ColumnElement, Select, and_, false, func, not_, or_, select, true
from sqlalchemy.orm import Session, aliased

from koschey.domain.checks import Outcome, outcomes
from koschey.domain.decisions import canonical
from koschey.domain.explanation import sentence
from koschey.domain.page import Microseconds
from koschey.domain.quarantine import Mark, Rule, State, clock_start, needs_review
from koschey.services.configuration import Configuration, IndexConfig
from koschey.services.demand import downloads_lately, wishes_for
from koschey.services.gate import Judge
from koschey.services.keyset import PAGE, Keyset, Page, prefixed
from koschey.services.known import (
    Decisions,
    KnownFile,
    KnownProject,
    decisions_about,
    judge,
    owners,
)
from koschey.services.sightings import Sighted, sighting
from koschey.stores.database import Database, now
from koschey.stores.models import File, Project
from koschey.stores.quarantine_rows import Hold

#: Projects that a search may find; who sees so many types another letter.
_FOUND = 500


class Tab(StrEnum):
    """A part of the queue."""

    REVIEW = "review"
    WAITING = "waiting"
    REJECTED = "rejected"


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


_KEYS = (Hold.since, Hold.file_id, Hold.index_id)
_ORDERS = {
    Tab.REVIEW: Keyset("review", *_KEYS),
    Tab.WAITING: Keyset("waiting", *_KEYS),
    Tab.REJECTED: Keyset("rejected", *_KEYS, descending=True),
}
_WORST = (Outcome.FAIL, Outcome.ERROR, Outcome.WARN)


class ReviewQueue:
    """Reads the queue, with the same few queries for each page."""

    def __init__(self, database: Database, configuration: Configuration) -> None:
        self._database = database
        self._configuration = configuration

    def page(
        self,
        tab: Tab,
        *,
        index: str | None = None,
        search: str = "",
        before: Microseconds | None = None,
        at: str | None = None,
        limit: int = PAGE,
    ) -> Page[QueuedVersion]:
        """A part of a tab.

        Args:
            index: only what this index hides; None: what any does.
            search: how the names of projects begin.
            before: only what was in the queue by then.
            at: the cursor of a page.

        Raises:
            NotFound: no such index. RequestInvalid: a cursor or limit that cannot be.
        """
        indexes = self._configuration.indexes()
        here = None if index is None else self._configuration.index(index)
        with self._database.reading() as session:
            query = _leads(tab, here, descending=tab is Tab.REJECTED)
            if search:
                query = query.where(Hold.project_id.in_(_projects(session, search)))
            if before is not None:
                query = query.where(Hold.since <= before)
            page = _ORDERS[tab].page(session, query, at=at, limit=limit)
            found = _versions(session, indexes, page.rows)
        rows = [found.get((row.project_id, row.release)) for row in page.rows]
        return Page(tuple(row for row in rows if row is not None), page.newer, page.older)

    def version(self, name: str, version: str, *, number: int | None = None) -> QueuedVersion | None:
        """One version of a normalised name, in any spelling, if something of it is recorded as hidden.

        ``number``: the configuration's, if the caller has just read it.
        """
        query = (
            select(Hold.project_id, Hold.release, Hold.since)
            .join(Project, Project.id == Hold.project_id)
            .where(Project.name == name, Hold.release == (canonical(version) if version else ""))
            .order_by(Hold.since)
        )
        with self._database.reading() as session:
            rows = session.execute(query.limit(1)).all()
            found = _versions(session, self._configuration.indexes(number=number), rows)
        return next(iter(found.values()), None)


def _leads(tab: Tab, index: IndexConfig | None, *, descending: bool) -> Select[Any]:
    """Of each version in a tab the hold that it stands at: the first one of it in the tab's order.

    By subqueries that are true or false, which both databases answer from ``ix_hold_release`` for each row
    that they come by in the tab's order. A join of the table with itself PostgreSQL would rather hash; of a
    subquery that it compares with a column it believes that hardly a row passes, and sorts the whole tab.
    """
    other, worse = aliased(Hold), aliased(Hold)
    same = and_(other.project_id == Hold.project_id, other.release == Hold.release, _of(tab, other))
    if index is not None:
        same = and_(same, other.index_id == index.id)
    keys = (other.since, other.file_id, other.index_id)
    order = [key.desc() if descending else key for key in keys]
    itself = and_(other.file_id == Hold.file_id, other.index_id == Hold.index_id)
    first = select(itself).where(same).order_by(*order).limit(1).correlate(Hold).scalar_subquery()
    query: Any = select(Hold.project_id, Hold.release).where(_of(tab, Hold), first)
    if index is not None:
        query = query.where(Hold.index_id == index.id)
    tabs = list(Tab)
    for before in tabs[: tabs.index(tab)]:
        above = select(true()).where(
            worse.project_id == Hold.project_id, worse.release == Hold.release, _of(before, worse)
        )
        if index is not None:
            above = above.where(worse.index_id == index.id)
        query = query.where(not_(func.coalesce(above.limit(1).correlate(Hold).scalar_subquery(), false())))
    leads: Select[Any] = query
    return leads


def _of(tab: Tab, hold: Any) -> ColumnElement[bool]:
    if tab is Tab.REVIEW:
        reviewed: ColumnElement[bool] = hold.review
        return reviewed
    if tab is Tab.WAITING:
        return and_(hold.state == "held", not_(hold.review))
    rejected: ColumnElement[bool] = hold.state == "rejected"
    return rejected


def _projects(session: Session, search: str) -> list[int]:
    """Ids of the projects whose names begin so."""
    prefix = re.sub(r"[-_.]+", "-", search.strip().lower())  # as PEP 503 does; a beginning need be no name
    dialect = session.get_bind().dialect.name
    query = select(Project.id).where(prefixed(Project.name, prefix, dialect)).order_by(Project.name)
    return list(session.scalars(query.limit(_FOUND)))


def _versions(
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
