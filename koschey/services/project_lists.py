"""The names that are known here, page by page, and all about one, for those who look after them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from koschey.domain.decisions import Kind
from koschey.domain.names import NormalizedName
from koschey.domain.page import Microseconds
from koschey.domain.policy import DAY
from koschey.services.keyset import PAGE, Keyset, Page
from koschey.services.search import Search, beginning
from koschey.stores.browsing_rows import NameWord
from koschey.stores.database import Database, now
from koschey.stores.models import Download, File, IndexRow, Project, Source, SourceKind
from koschey.stores.quarantine_rows import DecisionRow, Hold

_ALL = Keyset("projects", NameWord.word, NameWord.name)
_BY_NAME = Keyset("projects by name", Project.name, Project.source_id)
_TRUSTED = Keyset("trusted projects", DecisionRow.id, descending=True)
_RECENT_DAYS = 30
_CLIENTS = 20


class Which(StrEnum):
    """Lists of projects."""

    ALL = "all"
    OWN = "own"  # the company's: those of hosted sources
    UNUSUAL = "unusual"  # archived, deprecated or quarantined, by their source's word or ours


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """A name in one source."""

    source: str
    hosted: bool
    state: str
    """present, absent or deleted."""
    status: str
    looked_at: Microseconds | None


class ListedProject(msgspec.Struct, frozen=True, kw_only=True):
    """A name in a list."""

    name: str
    origins: list[Origin]
    held: int
    """Files that are not visible in some index, once for each."""


class Trusted(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody's trust in a project."""

    id: int
    name: str
    index: str | None
    source: str | None
    reason: str
    actor: str
    at: Microseconds
    expires_at: Microseconds | None
    standing: str
    """in force, expired or taken back."""


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who got files of a project lately."""

    actor: str
    index: str
    count: int
    last_at: Microseconds


class ProjectLists:
    """Answers; other services decide about projects."""

    def __init__(self, database: Database, search: Search) -> None:
        self._database = database
        self._search = search

    def page(
        self, which: Which, *, prefix: str = "", at: str | None = None, limit: int = PAGE
    ) -> Page[ListedProject]:
        """Names in order. ``prefix``: only those that begin so; of all only. Raises: RequestInvalid."""
        if which is Which.ALL:
            self._search.catch_up()
        with self._database.reading() as session:
            page: Page[Any]
            if which is Which.ALL:
                page = _ALL.page(session, _named(prefix), at=at, limit=limit)
            else:
                page = _BY_NAME.page(session, _some(session, which), at=at, limit=limit)
            names = list(dict.fromkeys(str(row[0]) for row in page.rows))
            listed = {project.name: project for project in _listed(session, names)}
        rows = tuple(listed[name] for name in names if name in listed)
        return Page(rows, page.newer, page.older)

    def project(self, name: NormalizedName) -> ListedProject | None:
        """One of them; None: nobody has it."""
        with self._database.reading() as session:
            return next(iter(_listed(session, [name])), None)

    def trusted(self, *, at: str | None = None, limit: int = PAGE) -> Page[Trusted]:
        """What people trusted, the newest first, in force or not. Raises: RequestInvalid."""
        query = select(DecisionRow).where(DecisionRow.kind == Kind.TRUST)
        seen_at = now()
        with self._database.reading() as session:
            page: Page[Any] = _TRUSTED.page(session, query, at=at, limit=limit)
            taken_back = select(DecisionRow.reverts).where(
                DecisionRow.name.in_({row[0].name for row in page.rows}), DecisionRow.kind == Kind.REVERT
            )
            reverted = set(session.scalars(taken_back))
            return page.of(lambda row: _trust(row[0], seen_at, taken_back=row[0].id in reverted))

    def held_by_index(self, name: NormalizedName) -> dict[str, int]:
        """How many of its files are not visible, by name of the index."""
        counted = (
            select(IndexRow.name, func.count())
            .join(Hold, Hold.index_id == IndexRow.id)
            .where(Hold.project_id.in_(select(Project.id).where(Project.name == name)))
            .group_by(IndexRow.name)
        )
        with self._database.reading() as session:
            return dict(session.execute(counted).all())

    def clients(self, name: NormalizedName) -> list[Client]:
        """Who got files of it in the last 30 days, those who got most first."""
        files = select(File.id).join(Project).where(Project.name == name)
        query = (
            select(Download.actor, IndexRow.name, func.sum(Download.count), func.max(Download.last_at))
            .join(IndexRow, IndexRow.id == Download.index_id)
            .where(Download.file_id.in_(files), Download.day >= now() // DAY - _RECENT_DAYS)
            .group_by(Download.actor, IndexRow.name)
            .order_by(func.sum(Download.count).desc(), Download.actor)
            .limit(_CLIENTS)
        )
        with self._database.reading() as session:
            return [
                Client(actor=actor, index=index, count=int(count), last_at=int(last))
                for actor, index, count, last in session.execute(query)
            ]


def _named(prefix: str) -> Select[Any]:
    query: Any = select(NameWord.name).where(NameWord.part.is_(False))
    if prefix:
        wanted = beginning(prefix)
        query = query.where(NameWord.word >= wanted, NameWord.word < wanted[:-1] + chr(ord(wanted[-1]) + 1))
    selected: Select[Any] = query
    return selected


def _some(session: Session, which: Which) -> Select[Any]:
    query: Any = select(Project.name)
    if which is Which.UNUSUAL:
        query = query.where(Project.status != "active")
    else:
        hosted = session.scalars(select(Source.id).where(Source.kind == SourceKind.HOSTED)).all()
        query = query.where(Project.source_id.in_(hosted))
    selected: Select[Any] = query
    return selected


def _listed(session: Session, names: Sequence[str]) -> list[ListedProject]:
    """What is known of some names, in their order."""
    rows = session.execute(
        select(Project, Source.name, Source.kind)
        .join(Source, Source.id == Project.source_id)
        .where(Project.name.in_(names))
        .order_by(Source.kind, Source.name)
    ).all()
    held = dict(
        session.execute(
            select(Hold.project_id, func.count())
            .where(Hold.project_id.in_([row[0].id for row in rows]))
            .group_by(Hold.project_id)
        ).all()
    )
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row[0].name, []).append(row)
    return [
        ListedProject(
            name=name,
            origins=[
                Origin(
                    source=source,
                    hosted=kind == SourceKind.HOSTED,
                    state=project.state,
                    status=project.status,
                    looked_at=project.looked_at,
                )
                for project, source, kind in found[name]
            ],
            held=sum(held.get(project.id, 0) for project, _, _ in found[name]),
        )
        for name in names
        if name in found
    ]


def _trust(row: DecisionRow, at: Microseconds, *, taken_back: bool) -> Trusted:
    expired = row.expires_at is not None and row.expires_at <= at
    return Trusted(
        id=row.id,
        name=row.name,
        index=row.index,
        source=row.source,
        reason=row.reason,
        actor=row.actor,
        at=row.at,
        expires_at=row.expires_at,
        standing="taken back" if taken_back else "expired" if expired else "in force",
    )
