"""Which files a sync stores: those of the projects that are kept which the filters and demands want."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import bindparam, text

from koschey.domain.filters import wanted
from koschey.services.configuration import SourceConfig
from koschey.services.looks import Recorded, Seen
from koschey.services.recording import Look
from koschey.services.sync_due_files import add_files_named, add_files_of
from koschey.services.sync_known import KnownProjects, known_files
from koschey.services.sync_progress import Counted, count
from koschey.stores.database import Database, Transaction
from koschey.upstream.client import PageFetched


def choose_files(
    tx: Transaction,
    source: SourceConfig,
    names: Mapping[str, list[str]],
    seen: Sequence[Seen],
    recorded: Recorded,
) -> int:
    """Say that files of pages that changed are to be stored; how many.

    Args:
        names: of lists and seeds, with what is asked of each.
        seen: the pages, as they came; recorded: what was made of them.
    """
    added = 0
    whole: list[int] = []
    for page in seen:
        outcome, project_id = page.outcome, recorded.ids.get(page.name)
        if recorded.looks.get(page.name) is not Look.CHANGED or not isinstance(outcome, PageFetched):
            continue
        if project_id is None:
            continue
        specifiers = names.get(page.name)
        if _all_of_it(source, specifiers):
            whole.append(project_id)
            continue
        kept = wanted(source.filters, outcome.page.files, specifiers)
        added += add_files_named(tx, source.id, project_id, [file.filename for file in kept])
    return added + add_files_of(tx, source.id, whole)


def choose_files_again(
    database: Database, known: KnownProjects, source: SourceConfig, names: Mapping[str, list[str]]
) -> None:
    """Say of every known file of an upstream anew whether it is to be stored: mode or filters changed."""
    after = 0
    while projects := known.by_id(source.id, after):
        after = projects[-1][0]
        with database.transaction() as tx:
            tx.connection.execute(_FORGET, {"ids": [project_id for project_id, _ in projects]})
            added = 0
            for project_id, name in projects:
                specifiers = names.get(name)
                if _all_of_it(source, specifiers):
                    added += add_files_of(tx, source.id, [project_id])
                    continue
                kept = wanted(source.filters, known_files(tx.connection, project_id), specifiers)
                added += add_files_named(tx, source.id, project_id, [file.filename for file in kept])
            count(tx, source.id, Counted(files_due=added))


def _all_of_it(source: SourceConfig, specifiers: Sequence[str] | None) -> bool:
    """Whether every file of a project is wanted, so that none needs a look."""
    return not source.filters.by_file and (specifiers is None or "" in specifiers)


_FORGET = text(
    "DELETE FROM sync_file WHERE file_id IN (SELECT id FROM file WHERE project_id IN :ids)"
).bindparams(bindparam("ids", expanding=True))
