"""Which names a root list has: those of which the index shows something, or might if they had files."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import batched, groupby
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, Connection, bindparam, select, text

from koschey.domain.page import Microseconds
from koschey.services.configuration import IndexConfig
from koschey.services.known import (
    AT_ONCE,
    KnownProject,
    batches,
    decisions_about,
    files_of,
    judge,
    owners,
)
from koschey.services.lapses import lapsed
from koschey.stores.models import File, ProjectState
from koschey.stores.quarantine_rows import Hold

#: Rows that the database hands over at a time: a list of 700,000 names never is in memory as rows.
_ROWS_AT_ONCE = 2_000


class Name(NamedTuple):
    """A normalised name, and the serial of its page; None: it is not in the list."""

    name: str
    serial: int | None


def listed(
    connection: Connection, index: IndexConfig, at: Microseconds, names: Sequence[str] | None = None
) -> Iterator[Name]:
    """The names that the index's sources know, in the order of their code points.

    A project with files of which none is visible is not in the list, by what is recorded of its holds. Where
    the end of one has come and no sweep has recorded what follows, its file is judged: checks that are not
    done may hide it further. So is each file of a project about which a decision ran out lately.

    Args:
        names: only these; what of them no source knows is said to be not in the list.
    """
    given = {"index": index.id, "sources": sorted(index.concerned), "now": at}
    if names is None:
        order = ' COLLATE "C"' if connection.dialect.name == "postgresql" else ""
        statement = text(f"{_ROWS} ORDER BY p.name{order}")
        rows: Iterable[Any] = connection.execute(
            statement.bindparams(_SOURCES), given, execution_options={"yield_per": _ROWS_AT_ONCE}
        )
        yield from _owned(connection, index, rows, at)
        return
    for batch in batches(sorted(names)):
        rows = connection.execute(_SOME, given | {"names": batch}).all()
        known = dict(_owned(connection, index, sorted(rows, key=itemgetter(1)), at))
        yield from (Name(name, known.get(name)) for name in batch)


#: What the records say of a project: it shows something, or nothing, or what a hold hid that has ended.
_SHOWN, _HIDDEN, _ENDED = 0, 1, 2


def _owned(
    connection: Connection, index: IndexConfig, rows: Iterable[Any], at: Microseconds
) -> Iterator[Name]:
    over = frozenset(lapsed(connection, at))
    for batch in batched(((name, list(group)) for name, group in groupby(rows, key=itemgetter(1))), AT_ONCE):
        owning = []
        for name, found in batch:
            ids = {project.id for project in owners(index, [KnownProject._make(row[:6]) for row in found])}
            doubtful = (_SHOWN, _ENDED) if name in over else (_ENDED,)
            parts = [row for row in found if row[0] in ids]
            owning.append((name, parts, [row for row in parts if row[7] in doubtful]))
        judged = [(parts, doubted) for _, parts, doubted in owning if doubted]
        visible = _visible(connection, index, judged, over, at) if judged else frozenset[int]()
        for name, parts, doubted in owning:
            present = [row for row in parts if row[3] == ProjectState.PRESENT]
            shown = any(row[0] in visible if row in doubted else row[7] == _SHOWN for row in present)
            yield Name(name, max(row[6] for row in parts) if shown else None)


def _visible(
    connection: Connection,
    index: IndexConfig,
    judged: Sequence[tuple[Sequence[Any], Sequence[Any]]],
    over: Container[str],
    at: Microseconds,
) -> frozenset[int]:
    """Of the doubtful projects those that show something.

    Args:
        judged: of each name its projects, and which of them are to be judged: by the files that an ended hold
            hid, for all others are hidden.
        over: names about which a decision ran out; of these each file is judged.
    """
    ended = select(Hold.file_id).where(Hold.index_id == index.id, Hold.until <= at)
    rows = [row for _, doubted in judged for row in doubted]
    there = File.deleted_at.is_(None)
    files = files_of(connection, [row[0] for row in rows if row[1] not in over], File.id.in_(ended), there)
    files |= files_of(connection, [row[0] for row in rows if row[1] in over], there)
    decisions = decisions_about(connection, {row[1] for row in rows if row[5]})
    visible = set()
    for parts, doubted in judged:
        quarantined = parts[0][4] == "quarantined"
        for project in (KnownProject._make(row[:6]) for row in doubted):
            judging = judge(index, project, decisions, quarantined=quarantined)
            if any(judging.verdict(file, at).visible for file in files.get(project.id, ())):
                visible.add(project.id)
    return frozenset(visible)


_SOURCES: BindParameter[Any] = bindparam("sources", expanding=True)
# A project without a hold costs one look into an index.
_ROWS = """
SELECT p.id, p.name, p.source_id, p.state, p.status, p.decided, p.serial,
  CASE WHEN NOT EXISTS (SELECT 1 FROM hold h WHERE h.index_id = :index AND h.project_id = p.id) THEN 0
    WHEN EXISTS (
      SELECT 1 FROM file f LEFT JOIN hold h ON h.index_id = :index AND h.file_id = f.id
      WHERE f.project_id = p.id AND f.deleted_at IS NULL AND h.file_id IS NULL) THEN 0
    WHEN EXISTS (
      SELECT 1 FROM hold h WHERE h.index_id = :index AND h.project_id = p.id AND h.until <= :now) THEN 2
    ELSE 1 END
FROM project p WHERE p.source_id IN :sources AND p.state <> 'absent'
"""
_SOME = text(f"{_ROWS} AND p.name IN :names").bindparams(_SOURCES, bindparam("names", expanding=True))
