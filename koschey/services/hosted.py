"""Hosted sources: where uploads are kept. An index's uploads go to the first one that it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select

from koschey.errors import Conflict, NotFound
from koschey.services.index_rows import (
    check_slug,
    index_row,
    raise_policy_versions,
    set_sources,
    source_row,
    sources_of,
)
from koschey.stores.database import Database, now
from koschey.stores.models import IndexRow, IndexSource, Project, Source, SourceKind


class Hosted:
    """The verbs that change hosted sources; each is one transaction with its event."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str, *, indexes: Sequence[str], actor: str) -> None:
        """Add a hosted source, to each of ``indexes`` behind the hosted ones that it has.

        Raises:
            RequestInvalid: a bad name. Conflict: the name is taken. NotFound: no such index.
        """
        check_slug("source", name)
        with self._database.transaction() as tx:
            if tx.session.scalar(select(Source.id).where(Source.name == name)):
                raise Conflict(f"a source named {name!r} exists already; choose another name")
            row = Source(name=name, kind=SourceKind.HOSTED, created_at=now())
            tx.session.add(row)
            tx.session.flush()
            given = [index_row(tx.session, index) for index in indexes]
            raise_policy_versions(tx, [index.id for index in given])
            for index in given:
                had = sources_of(tx.session, index)
                hosted = [source for source in had if source.kind == SourceKind.HOSTED]
                rest = [source for source in had if source.kind != SourceKind.HOSTED]
                set_sources(tx.session, index, [*hosted, row, *rest])
            tx.touch_configuration()
            tx.record("hosted.add", actor=actor, subject=name, after=", ".join(indexes) or None)

    def remove(self, name: str, *, actor: str) -> None:
        """Delete a hosted source that never had a project, and take it out of its indexes.

        Raises:
            NotFound: no such hosted source. Conflict: packages are, or were, kept there.
        """
        with self._database.transaction() as tx:
            row = source_row(tx.session, name)
            if row.kind != SourceKind.HOSTED:
                raise NotFound("hosted source", name)
            if tx.session.scalar(select(Project.id).where(Project.source_id == row.id).limit(1)):
                raise Conflict(
                    f"packages were uploaded to {name!r}, and their names are never forgotten; "
                    "take it out of its indexes instead, with koschey index edit"
                )
            members = select(IndexSource.index_id).where(IndexSource.source_id == row.id)
            raise_policy_versions(tx, list(tx.session.scalars(members)))
            tx.session.execute(delete(IndexSource).where(IndexSource.source_id == row.id))
            tx.session.delete(row)
            tx.touch_configuration()
            tx.record("hosted.remove", actor=actor, subject=name)

    def describe(self) -> list[dict[str, Any]]:
        """Every hosted source as plain values; ``uploads`` names the indexes whose uploads it takes."""
        with self._database.reading() as session:
            members = session.execute(
                select(IndexRow.name, IndexSource.source_id)
                .join(IndexSource, IndexSource.index_id == IndexRow.id)
                .join(Source, Source.id == IndexSource.source_id)
                .where(Source.kind == SourceKind.HOSTED)
                .order_by(IndexRow.name, IndexSource.position)
            ).all()
            first: dict[str, int] = {}
            for index, source in members:
                first.setdefault(index, source)
            return [
                {
                    "name": name,
                    "indexes": [index for index, source in members if source == source_id],
                    "uploads": [index for index, source in first.items() if source == source_id],
                }
                for source_id, name in session.execute(
                    select(Source.id, Source.name)
                    .where(Source.kind == SourceKind.HOSTED)
                    .order_by(Source.name)
                )
            ]
