"""The reviewers' queue: versions that indexes hide, in the order in which they came.

What is recorded in ``hold`` says which versions and in what order; what is said of each is judged now. A
version stands where the first of its files does. It stands in one tab: what only a person can end comes
before what time ends, and that before what was rejected.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, func, not_, select, true
from sqlalchemy.orm import Session, aliased

from koschey.domain.decisions import canonical
from koschey.domain.page import Microseconds
from koschey.services.configuration import Configuration, IndexConfig
from koschey.services.keyset import PAGE, Keyset, Page, prefixed
from koschey.services.queued_versions import QueuedVersion, queued_versions
from koschey.stores.database import Database
from koschey.stores.models import Project
from koschey.stores.quarantine_rows import Hold

#: Projects that a search may find; who sees so many types another letter.
_FOUND = 500


class Tab(StrEnum):
    """A part of the queue."""

    REVIEW = "review"
    WAITING = "waiting"
    REJECTED = "rejected"


_KEYS = (Hold.since, Hold.file_id, Hold.index_id)
_ORDERS = {
    Tab.REVIEW: Keyset("review", *_KEYS),
    Tab.WAITING: Keyset("waiting", *_KEYS),
    Tab.REJECTED: Keyset("rejected", *_KEYS, descending=True),
}


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
            found = queued_versions(session, indexes, page.rows)
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
            found = queued_versions(session, self._configuration.indexes(number=number), rows)
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
