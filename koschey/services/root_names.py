"""Which names a root list has: those of which the index shows something, or might if they had files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, Connection, bindparam, text

from koschey.domain.page import Microseconds
from koschey.services.configuration import IndexConfig
from koschey.services.known import KnownProject, batches, owners
from koschey.stores.models import ProjectState

#: Rows that the database hands over at a time: a list of 700,000 names never is in memory as rows.
_AT_ONCE = 2_000


class Name(NamedTuple):
    """A normalised name, and the serial of its page; None: it is not in the list."""

    name: str
    serial: int | None


def listed(
    connection: Connection, index: IndexConfig, at: Microseconds, names: Sequence[str] | None = None
) -> Iterator[Name]:
    """The names that the index's sources know, in the order of their code points.

    A project with files of which none is visible is not in the list, by what is recorded of its holds. One
    whose end has come counts as over: only checks that are not done could still hide its file, and then the
    sweep records that.

    Args:
        names: only these; what of them no source knows is said to be not in the list.
    """
    given = {"index": index.id, "sources": sorted(index.concerned), "now": at}
    if names is None:
        order = ' COLLATE "C"' if connection.dialect.name == "postgresql" else ""
        statement = text(f"{_ROWS} ORDER BY p.name{order}")
        rows: Iterable[Any] = connection.execute(
            statement.bindparams(_SOURCES), given, execution_options={"yield_per": _AT_ONCE}
        )
        yield from _owned(index, rows)
        return
    for batch in batches(sorted(names)):
        rows = connection.execute(_SOME, given | {"names": batch}).all()
        known = dict(_owned(index, sorted(rows, key=itemgetter(1))))
        yield from (Name(name, known.get(name)) for name in batch)


def _owned(index: IndexConfig, rows: Iterable[Any]) -> Iterator[Name]:
    for name, group in groupby(rows, key=itemgetter(1)):
        found = list(group)
        ids = {project.id for project in owners(index, [KnownProject._make(row[:6]) for row in found])}
        parts = [row for row in found if row[0] in ids]
        shown = any(row[3] == ProjectState.PRESENT and not row[7] for row in parts)
        yield Name(name, max(row[6] for row in parts) if shown else None)


_SOURCES: BindParameter[Any] = bindparam("sources", expanding=True)
# A project without a hold costs one look into an index.
_ROWS = """
SELECT p.id, p.name, p.source_id, p.state, p.status, p.decided, p.serial,
  CASE WHEN EXISTS (SELECT 1 FROM hold h WHERE h.index_id = :index AND h.project_id = p.id)
    AND NOT EXISTS (
      SELECT 1 FROM file f LEFT JOIN hold h ON h.index_id = :index AND h.file_id = f.id
      WHERE f.project_id = p.id AND f.deleted_at IS NULL AND (h.file_id IS NULL OR h.until <= :now))
  THEN 1 ELSE 0 END
FROM project p WHERE p.source_id IN :sources AND p.state <> 'absent'
"""
_SOME = text(f"{_ROWS} AND p.name IN :names").bindparams(_SOURCES, bindparam("names", expanding=True))
