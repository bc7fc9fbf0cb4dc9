"""Which files of an upstream are to be stored: of projects that are kept those that filters and demands want.

Each look at a page of an upstream in mode ``full`` chooses, whoever looked: a page that a client asked for is
not looked at again by the next sync, for its serial is no new one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import bindparam, text

from koschey.domain.filters import chosen, wanted
from koschey.services.configuration import SourceConfig
from koschey.services.keeping import asked_of
from koschey.services.looks import Recorded
from koschey.services.recording import Look
from koschey.services.sync_due_files import add_files_named, add_files_of
from koschey.services.sync_known import KnownProjects, known_files
from koschey.services.sync_progress import Counted, count
from koschey.stores.database import Database, Transaction


def choose_files(tx: Transaction, source: SourceConfig, recorded: Recorded) -> int:
    """Say which files of pages that changed are to be stored; returns how many more there are."""
    changed = (name for name, look in recorded.looks.items() if look is Look.CHANGED)
    return _choose(tx, source, [recorded.ids[name] for name in changed if name in recorded.ids])


def choose_files_again(
    database: Database, known: KnownProjects, source: SourceConfig, names: Collection[str] | None = None
) -> None:
    """Say of every known file of an upstream anew whether it is to be stored: mode or filters changed.

    Args:
        names: only of these, of which more is asked than before.
    """
    if names is not None:
        _choose_in_pieces(database, source, [known.present(source.id, names)])
        return
    with database.transaction() as tx:
        tx.connection.execute(_FORGET, {"source_id": source.id})
    _choose_in_pieces(database, source, known.pieces(source.id))


def _choose_in_pieces(
    database: Database, source: SourceConfig, pieces: Iterable[Collection[tuple[int, str]]]
) -> None:
    for piece in pieces:
        with database.transaction() as tx:
            added = _choose(tx, source, [project_id for project_id, _ in piece])
            count(tx, source.id, Counted(files_due=added))


def _choose(tx: Transaction, source: SourceConfig, project_ids: Collection[int]) -> int:
    if not project_ids:
        return 0
    connection = tx.connection
    connection.execute(_FORGET_GONE, {"ids": list(project_ids)})
    there = [(row.id, row.name) for row in connection.execute(_THERE, {"ids": list(project_ids)})]
    asked, names_given = asked_of(connection, source.id, [name for _, name in there])
    added = 0
    whole: list[int] = []
    for project_id, name in there:
        if not chosen(source.filters, name, named=name in asked, names_given=names_given):
            continue  # somebody asked for it: its page is kept in step, its files come on demand
        specifiers = asked.get(name)
        if not source.filters.by_file and (specifiers is None or "" in specifiers):
            whole.append(project_id)
            continue
        kept = wanted(source.filters, known_files(connection, project_id), specifiers)
        added += add_files_named(tx, source.id, project_id, [file.filename for file in kept])
    return added + add_files_of(tx, source.id, whole)


_IDS: Any = bindparam("ids", expanding=True)
_FORGET = text("DELETE FROM sync_file WHERE source_id = :source_id")
#: What a project's upstream has no more, or keeps back, cannot be had.
_FORGET_GONE = text(
    "DELETE FROM sync_file WHERE file_id IN (SELECT f.id FROM file f JOIN project p ON p.id = f.project_id "
    "WHERE f.project_id IN :ids "
    "AND (f.withdrawn_at IS NOT NULL OR p.state <> 'present' OR p.status = 'quarantined'))"
).bindparams(_IDS)
_THERE = text(
    "SELECT id, name FROM project WHERE id IN :ids AND state = 'present' AND status <> 'quarantined' "
    "ORDER BY id"
).bindparams(_IDS)
