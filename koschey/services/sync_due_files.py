"""The files that a sync is to store.

Each stays on record until the transaction that says it is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from sqlalchemy import bindparam, text

from koschey.domain.page import Microseconds
from koschey.services.sync_retries import FAILED_AGAIN, FOREVER, LONGEST_PROBLEM, count_due
from koschey.stores.database import Database, Transaction, now
from koschey.stores.sync_rows import SyncFile


class DueFile(NamedTuple):
    """A file that is to be stored, as far as it takes no closer look."""

    id: int
    filename: str
    url: str | None
    sha256: str | None
    size: int | None
    due_at: Microseconds | None
    attempts: int
    project: str
    """Normalised name."""

    @property
    def key(self) -> int:
        """What decides in whose share it is."""
        return self.id

    @property
    def turn(self) -> tuple[int, int]:
        """Smaller ones come first: what failed seldom."""
        return self.attempts, self.id

    @property
    def host(self) -> str:
        """Host and port of its URL."""
        return urlsplit(self.url or "").netloc


class DueFiles:
    """Reads those rows; they are written with what they belong to, by the functions below."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, source_id: int, after: int, limit: int, by: Microseconds = FOREVER) -> list[DueFile]:
        """Files that are to be stored, by id, behind ``after``.

        Args:
            by: what is left alone until after that is left out.
        """
        values = {"source_id": source_id, "after": after, "limit": limit, "by": by}
        with self._database.reading() as session:
            return [DueFile(*row) for row in session.execute(_DUE_FILES, values)]

    def count(self, source_id: int, by: Microseconds = FOREVER) -> int:
        """How many files are due; ``by``: as of ``due``."""
        return count_due(self._database, SyncFile, source_id, by)

    def failed(self, source_id: int, limit: int = 20) -> list[tuple[str, str, int, str | None]]:
        """Files that could not be stored: project, filename, how often it was tried, what was wrong.

        It goes through what is due: for after a sync, when nothing else is.
        """
        with self._database.reading() as session:
            rows = session.execute(_FAILED_FILES, {"source_id": source_id, "limit": limit})
            return [(row.name, row.filename, row.attempts, row.problem) for row in rows]


def files_done(tx: Transaction, file_ids: Sequence[int]) -> None:
    """Those files are due no more."""
    for start in range(0, len(file_ids), 500):
        tx.connection.execute(_FILES_DONE, {"ids": file_ids[start : start + 500]})


def file_failures(tx: Transaction, problems: Mapping[int, str]) -> None:
    """Those files could not be stored, and stay due."""
    rows = [
        {"_id": file_id, "problem": text_[:LONGEST_PROBLEM], "at": now()}
        for file_id, text_ in problems.items()
    ]
    if rows:
        tx.connection.execute(_FILES_NOT_DONE, rows)


def add_files_named(tx: Transaction, source_id: int, project_id: int, filenames: Sequence[str]) -> int:
    """Say that those files of a project are to be stored; those that are, or are withdrawn, are left out."""
    added = 0
    for start in range(0, len(filenames), 500):
        values = {"source_id": source_id, "project": project_id, "ids": filenames[start : start + 500]}
        added += tx.connection.execute(_ADD_FILES_NAMED, values).rowcount
    return added


def add_files_of(tx: Transaction, source_id: int, project_ids: Sequence[int]) -> int:
    """As ``add_files_named``, with all files of some projects."""
    added = 0
    for start in range(0, len(project_ids), 500):
        values = {"source_id": source_id, "ids": project_ids[start : start + 500]}
        added += tx.connection.execute(_ADD_FILES_OF, values).rowcount
    return added


_IDS: Any = bindparam("ids", expanding=True)
_FAILED_FILES = text(
    "SELECT p.name, f.filename, s.attempts, s.problem "
    "FROM sync_file s JOIN file f ON f.id = s.file_id JOIN project p ON p.id = f.project_id "
    "WHERE s.source_id = :source_id AND s.problem IS NOT NULL ORDER BY s.file_id LIMIT :limit"
)
_DUE_FILES = text(
    "SELECT f.id, f.filename, f.url, f.sha256, f.size, f.due_at, s.attempts, p.name "
    "FROM sync_file s JOIN file f ON f.id = s.file_id JOIN project p ON p.id = f.project_id "
    "WHERE s.source_id = :source_id AND s.file_id > :after AND COALESCE(s.retry_at, 0) <= :by "
    "ORDER BY s.file_id LIMIT :limit"
)
_FILES_DONE = text("DELETE FROM sync_file WHERE file_id IN :ids").bindparams(_IDS)
_FILES_NOT_DONE = text(f"UPDATE sync_file SET {FAILED_AGAIN} WHERE file_id = :_id")  # noqa: S608 - our own
_TO_STORE = (
    "INSERT INTO sync_file (file_id, source_id, attempts) "
    "SELECT id, :source_id, 0 FROM file WHERE {column} IN :ids AND stored_at IS NULL "
    "AND withdrawn_at IS NULL AND url IS NOT NULL ON CONFLICT (file_id) DO NOTHING"
)
_ADD_FILES_NAMED = text(_TO_STORE.format(column="project_id = :project AND filename")).bindparams(_IDS)
_ADD_FILES_OF = text(_TO_STORE.format(column="project_id")).bindparams(_IDS)
