"""The queues: what each index hides, why, since when, and until when."""

from __future__ import annotations

import heapq
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Row, Select, and_, or_, select
from sqlalchemy.orm import Session

from koschey.domain.checks import Outcome, outcomes
from koschey.domain.explanation import sentence
from koschey.domain.names import is_valid_name, normalize
from koschey.domain.page import Microseconds
from koschey.domain.quarantine import needs_review
from koschey.errors import RequestInvalid
from koschey.services.audit import like
from koschey.services.configuration import Configuration, IndexConfig
from koschey.services.known import KnownFile, KnownProject, decisions_about, judge, projects_named
from koschey.services.policies import checked_pattern
from koschey.stores.database import Database, now
from koschey.stores.models import File, Project
from koschey.stores.quarantine_rows import Hold

MOST = 1000
_CURSOR = re.compile(r"([0-9]{1,18})\.([0-9]{1,18})\.([0-9]{1,18})")


class HiddenFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file that an index hides."""

    project: str
    version: str | None
    filename: str
    index: str
    state: str
    """As of now: a file whose hold has just ended is visible though it is still recorded."""
    rule: str
    reason: str
    since: Microseconds
    until: Microseconds | None
    """When it is visible by time alone (``Verdict.clears``); None: by an event only."""
    review: bool
    """Whether only a person can end it."""
    failed_checks: tuple[str, ...]


class HiddenPage(NamedTuple):
    """A part of the queue; ``next`` is where to go on, None at the end."""

    files: tuple[HiddenFile, ...]
    next: str | None


class _Place(NamedTuple):
    """Where a hold stands in the queue."""

    since: int
    file_id: int
    index_id: int


class Waiting:
    """Reads the queues of the indexes, by their recorded order and with the verdicts of now."""

    def __init__(self, database: Database, configuration: Configuration) -> None:
        self._database = database
        self._configuration = configuration

    def page(
        self,
        *,
        index: str | None = None,
        project: str | None = None,
        review: bool = False,
        oldest_first: bool = False,
        limit: int = 50,
        after: str | None = None,
    ) -> HiddenPage:
        """Hidden files, the ones that came last first.

        Args:
            project: a name, or a glob over normalised names.
            review: only what waits for a person.
            after: ``next`` of the page before.

        Raises:
            NotFound: no such index. RequestInvalid: a pattern, limit or cursor that cannot be.
        """
        if not 1 <= limit <= MOST:
            raise RequestInvalid(f"limit: from 1 to {MOST}")
        place = None if after is None else _place(after)
        indexes = self._configuration.indexes() if index is None else [self._configuration.index(index)]
        with self._database.reading() as session:
            parts = []
            for config in indexes:
                query = _queue(config.id, place, oldest_first=oldest_first).limit(limit + 1)
                if review:
                    query = query.where(Hold.review)
                if project is not None:
                    query = query.where(_named(project))
                parts.append(session.execute(query).all())
            merged = heapq.merge(*parts, key=lambda row: row[:3], reverse=not oldest_first)
            rows = [row for row, _ in zip(merged, range(limit + 1), strict=False)]
            files = self._judged(session, indexes, rows[:limit])
        more = len(rows) > limit
        return HiddenPage(files, ".".join(str(part) for part in rows[limit - 1][:3]) if more else None)

    @staticmethod
    def _judged(
        session: Session, indexes: Sequence[IndexConfig], rows: Sequence[Row[Any]]
    ) -> tuple[HiddenFile, ...]:
        by_id = {index.id: index for index in indexes}
        width = len(_Place._fields)
        middle = width + len(KnownProject._fields)
        projects = [KnownProject._make(row[width:middle]) for row in rows]
        names = {project.name for project in projects if project.decided}
        decisions = decisions_about(session.connection(), names)
        having: dict[str, set[int]] = defaultdict(set)
        for project in projects_named(session.connection(), list({project.name for project in projects})):
            having[project.name].add(project.source_id)
        judges = {}
        at = now()
        found = []
        for row, project in zip(rows, projects, strict=True):
            file = KnownFile._make(row[middle:])
            place = _Place._make(row[:width])
            index = by_id[place.index_id]
            if not any(source.id == project.source_id for source in index.sources):
                continue  # the source left the index just now; its holds go with the next sweep
            outside = index.outside(project.name, having[project.name])
            if project.source_id not in index.hosted and not outside.asked:
                continue  # the name is the company's own: there is nothing to decide until it is not
            key = (index.id, project.id)
            if key not in judges:
                judges[key] = judge(index, project, decisions)
            verdict = judges[key].verdict(file, at)
            said = outcomes(file.checks)
            found.append(
                HiddenFile(
                    project=project.name,
                    version=file.version,
                    filename=file.filename,
                    index=index.name,
                    state=verdict.state,
                    rule=verdict.rule,
                    reason=sentence(verdict, judges[key].policy, at),
                    since=place.since,
                    until=verdict.clears,
                    review=needs_review(verdict),
                    failed_checks=tuple(c for c in said if said[c] in (Outcome.FAIL, Outcome.ERROR)),
                )
            )
        return tuple(found)


def _queue(index_id: int, place: _Place | None, *, oldest_first: bool) -> Select[Any]:
    """One index's holds in order, with what their verdicts need."""
    query = (
        select(
            Hold.since,
            Hold.file_id,
            Hold.index_id,
            *(getattr(Project, name) for name in KnownProject._fields),
            *(getattr(File, name) for name in KnownFile._fields),
        )
        .join(File, File.id == Hold.file_id)
        .join(Project, Project.id == File.project_id)
        .where(Hold.index_id == index_id)
    )
    if place is not None:
        query = query.where(_beyond(index_id, place, oldest_first=oldest_first))
    if oldest_first:
        return query.order_by(Hold.since, Hold.file_id)
    return query.order_by(Hold.since.desc(), Hold.file_id.desc())


def _beyond(index_id: int, place: _Place, *, oldest_first: bool) -> Any:
    """What comes after a place. Spelled so that both databases go by the index from there on."""
    since, file_id, at_index = place
    if oldest_first:
        later = Hold.file_id >= file_id if index_id > at_index else Hold.file_id > file_id
        return and_(Hold.since >= since, or_(Hold.since > since, later))
    later = Hold.file_id <= file_id if index_id < at_index else Hold.file_id < file_id
    return and_(Hold.since <= since, or_(Hold.since < since, later))


def _named(project: str) -> Any:
    if is_valid_name(project):
        return Project.name == normalize(project)
    pattern = checked_pattern(project)
    if "[" in pattern:
        raise RequestInvalid(f"pattern {project!r}: a queue is searched by * and ? only")
    return Project.name.like(like(pattern), escape="\\")


def _place(cursor: str) -> _Place:
    parts = _CURSOR.fullmatch(cursor)
    if parts is None:
        raise RequestInvalid("not a place in the queue: take it from the page before")
    return _Place(*map(int, parts.groups()))
