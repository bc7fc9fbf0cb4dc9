"""What a sync keeps in the database: what is due, how far it came, and what it came to.

Everything that is due stays on record until the transaction that does it. Whoever is killed anywhere is
followed by one that goes on there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, case, delete, func, insert, null, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from koschey.domain.page import Microseconds
from koschey.domain.root_diff import Synced
from koschey.stores.database import Database, Transaction, now
from koschey.stores.models import Project, ProjectState
from koschey.stores.sync_rows import SyncDue, SyncFile, SyncState

#: Later than any time (microseconds).
FOREVER: Microseconds = 2**62
#: Rows in one statement, and in one transaction of those that only say what is due.
AT_ONCE = 5_000
_LONGEST_PROBLEM = 500
#: What could not be had twice is asked for again by the schedule after so long (microseconds), then after
#: twice that, up to a day.
_FIRST_PAUSE: Microseconds = 300_000_000
_LONGEST_PAUSE: Microseconds = 86_400_000_000


class Due(NamedTuple):
    """A project that is to be looked at, and what is known of it."""

    name: str
    serial: int | None
    """What the root list said."""
    why: str
    attempts: int
    etag: str | None
    synced: int | None
    looked_at: Microseconds | None
    state: str | None


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


@dataclass(frozen=True)
class Counted:
    """What a batch came to, to be added to what the sync came to."""

    projects_done: int = 0
    projects_changed: int = 0
    projects_failed: int = 0
    files_due: int = 0
    files_done: int = 0
    files_failed: int = 0
    requests: int = 0
    unchanged: int = 0
    bytes: int = 0


class SyncStore:
    """Reads and writes those rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def state(self, source_id: int) -> dict[str, Any]:
        """The row of an upstream, with the defaults of one that was never synced."""
        with self._database.reading() as session:
            row = session.get(SyncState, source_id)
            values = _BLANK if row is None else {c.name: getattr(row, c.name) for c in _STATE.columns}
        return dict(values) | {"source_id": source_id}

    def put(self, source_id: int, **values: Any) -> None:
        """Set columns of an upstream's row, which is made when it is not there."""
        with self._database.transaction() as tx:
            put(tx, source_id, **values)

    def known(self, source_id: int, after: str = "") -> list[Synced]:
        """Projects of a source in the database's order of names, behind ``after``; empty at the end."""
        with self._database.reading() as session:
            rows = session.execute(_KNOWN, {"source_id": source_id, "after": after, "limit": AT_ONCE})
            return [Synced(name, serial, state == ProjectState.PRESENT) for name, serial, state in rows]

    def count_known(self, source_id: int, bound: int) -> int:
        """How many projects of a source are there, counted up to ``bound``."""
        with self._database.reading() as session:
            return int(session.execute(_COUNT, {"source_id": source_id, "bound": bound}).scalar_one())

    def looked_before(self, source_id: int, before: Microseconds, after: str) -> list[str]:
        """Names of projects whose page was looked at before that, in pieces as ``known``."""
        values = {"source_id": source_id, "before": before, "after": after, "limit": AT_ONCE}
        with self._database.reading() as session:
            return list(session.execute(_AGED, values).scalars())

    def add_due(self, source_id: int, rows: Iterable[tuple[str, int | None, str]]) -> int:
        """Say that projects are to be looked at: name, serial of the root list, why. Returns how many."""
        added, batch = 0, list[dict[str, Any]]()
        for name, serial, why in rows:
            row = {"source_id": source_id, "name": name, "serial": serial, "why": why, "attempts": 0}
            batch.append(row)
            if len(batch) >= AT_ONCE:
                added += self._insert_due(batch)
                batch = []
        return added + self._insert_due(batch)

    def _insert_due(self, rows: Sequence[Mapping[str, Any]]) -> int:
        if rows:
            with self._database.transaction() as tx:
                made = _upsert(tx.connection, _DUE)
                values = {"serial": made.excluded.serial, "why": made.excluded.why}
                another = SyncDue.serial.is_distinct_from(made.excluded.serial)
                values |= {
                    # Of another serial is another page: what failed says nothing of it.
                    "attempts": case((another, 0), else_=SyncDue.attempts),
                    "problem": case((another, null()), else_=SyncDue.problem),
                    "retry_at": case((another, null()), else_=SyncDue.retry_at),
                }
                tx.connection.execute(
                    made.on_conflict_do_update(index_elements=["source_id", "name"], set_=values), rows
                )
        return len(rows)

    def drop_due(self, source_id: int) -> None:
        """Forget what is due: it is chosen anew."""
        with self._database.transaction() as tx:
            tx.connection.execute(delete(SyncDue).where(SyncDue.source_id == source_id))

    def due(self, source_id: int, after: str, limit: int, by: Microseconds = FOREVER) -> list[Due]:
        """Projects that are to be looked at, in the database's order of names, behind ``after``.

        Args:
            by: what is left alone until after that is left out.
        """
        values = {"source_id": source_id, "after": after, "limit": limit, "by": by}
        with self._database.reading() as session:
            return [Due(*row) for row in session.execute(_DUE_ROWS, values)]

    def count_due(self, source_id: int, by: Microseconds = FOREVER) -> int:
        """How many projects are due; ``by``: as of ``due``."""
        return self._count(SyncDue, source_id, by)

    def count_files(self, source_id: int, by: Microseconds = FOREVER) -> int:
        """How many files are due; ``by``: as of ``due``."""
        return self._count(SyncFile, source_id, by)

    def _count(self, table: Any, source_id: int, by: Microseconds) -> int:
        query = select(func.count()).select_from(table)
        query = query.where(table.source_id == source_id, func.coalesce(table.retry_at, 0) <= by)
        with self._database.reading() as session:
            return int(session.execute(query).scalar_one())

    def lowest_due(self, source_id: int) -> int | None:
        """The lowest serial of the root list that is not synced yet."""
        with self._database.reading() as session:
            query = select(func.min(SyncDue.serial)).where(SyncDue.source_id == source_id)
            return session.execute(query).scalar()

    def failed(self, source_id: int, limit: int = 20) -> list[tuple[str, int, str | None]]:
        """Projects that could not be looked at: name, how often it was tried, what was wrong."""
        with self._database.reading() as session:
            rows = session.execute(_FAILED, {"source_id": source_id, "limit": limit})
            return [(row.name, row.attempts, row.problem) for row in rows]

    def promised(self, source_id: int) -> list[tuple[str, int]]:
        """Projects that could not be looked at, with the serial that the root list had for them."""
        query = select(SyncDue.name, SyncDue.serial).where(
            SyncDue.source_id == source_id, SyncDue.problem.is_not(None), SyncDue.serial.is_not(None)
        )
        with self._database.reading() as session:
            return [(name, serial or 0) for name, serial in session.execute(query)]

    def failed_files(self, source_id: int, limit: int = 20) -> list[tuple[str, str, int, str | None]]:
        """Files that could not be stored: project, filename, how often it was tried, what was wrong.

        It goes through what is due: for after a sync, when nothing else is.
        """
        with self._database.reading() as session:
            rows = session.execute(_FAILED_FILES, {"source_id": source_id, "limit": limit})
            return [(row.name, row.filename, row.attempts, row.problem) for row in rows]

    def files(self, source_id: int, after: int, limit: int, by: Microseconds = FOREVER) -> list[DueFile]:
        """Files that are to be stored, by id, behind ``after``; ``by``: as of ``due``."""
        values = {"source_id": source_id, "after": after, "limit": limit, "by": by}
        with self._database.reading() as session:
            return [DueFile(*row) for row in session.execute(_DUE_FILES, values)]


def put(tx: Transaction, source_id: int, **values: Any) -> None:
    """``SyncStore.put`` inside a transaction."""
    changed = update(SyncState).where(SyncState.source_id == source_id).values(**values, seen_at=now())
    if tx.connection.execute(changed).rowcount == 0:
        row = dict(_BLANK) | values | {"source_id": source_id, "seen_at": now()}
        tx.connection.execute(insert(SyncState), row)


def done(tx: Transaction, source_id: int, names: Sequence[str]) -> None:
    """Those projects are due no more."""
    for start in range(0, len(names), 500):
        values = {"source_id": source_id, "names": names[start : start + 500]}
        tx.connection.execute(_DONE, values)


def failures(tx: Transaction, source_id: int, problems: Mapping[str, str]) -> None:
    """Those projects could not be looked at, and stay due."""
    rows = [
        {"_source_id": source_id, "_name": name, "problem": problem[:_LONGEST_PROBLEM], "at": now()}
        for name, problem in problems.items()
    ]
    if rows:
        tx.connection.execute(_NOT_DONE, rows)


def files_done(tx: Transaction, file_ids: Sequence[int]) -> None:
    """Those files are due no more."""
    for start in range(0, len(file_ids), 500):
        tx.connection.execute(_FILES_DONE, {"ids": file_ids[start : start + 500]})


def file_failures(tx: Transaction, problems: Mapping[int, str]) -> None:
    """Those files could not be stored, and stay due."""
    rows = [
        {"_id": file_id, "problem": text_[:_LONGEST_PROBLEM], "at": now()}
        for file_id, text_ in problems.items()
    ]
    if rows:
        tx.connection.execute(_FILES_NOT_DONE, rows)


def add_files(tx: Transaction, source_id: int, file_ids: Sequence[int]) -> int:
    """Say that files are to be stored; those that are stored already, or withdrawn, are left out."""
    added = 0
    for start in range(0, len(file_ids), 500):
        values = {"source_id": source_id, "ids": file_ids[start : start + 500]}
        added += tx.connection.execute(_ADD_FILES, values).rowcount
    return added


def add_files_named(tx: Transaction, source_id: int, project_id: int, filenames: Sequence[str]) -> int:
    """Say that those files of a project are to be stored; those that are, or are withdrawn, are left out."""
    added = 0
    for start in range(0, len(filenames), 500):
        values = {"source_id": source_id, "project": project_id, "ids": filenames[start : start + 500]}
        added += tx.connection.execute(_ADD_FILES_NAMED, values).rowcount
    return added


def add_files_of(tx: Transaction, source_id: int, project_ids: Sequence[int]) -> int:
    """The same with all files of some projects."""
    added = 0
    for start in range(0, len(project_ids), 500):
        values = {"source_id": source_id, "ids": project_ids[start : start + 500]}
        added += tx.connection.execute(_ADD_FILES_OF, values).rowcount
    return added


def count(tx: Transaction, source_id: int, counted: Counted) -> None:
    """Add what a batch came to. Every process of a sync does: it locks the row, so do it last."""
    said = {f"_{name}": value for name, value in vars(counted).items()}
    tx.connection.execute(_COUNT_UP, said | {"_source_id": source_id, "_at": now()})


def _upsert(connection: Connection, table: Any) -> Any:
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


_STATE = SyncState.__table__
_DUE = SyncDue.__table__
_PROJECTS = Project.__table__
_BLANK: Mapping[str, Any] = {
    column.name: 0 if column.default is not None else None for column in _STATE.columns
}
#: What a batch came to, by the totals of a run and of all runs that it is added to. The statement is built
#: once: that takes SQLAlchemy longer than it takes a database to execute it.
_ADDED = {
    "projects_done": "projects_done",
    "projects_changed": "projects_changed",
    "projects_failed": "projects_failed",
    "files_due": "files_due",
    "files_done": "files_done",
    "files_failed": "files_failed",
    "run_requests": "requests",
    "run_unchanged": "unchanged",
    "run_bytes": "bytes",
    "requests": "requests",
    "unchanged": "unchanged",
    "bytes": "bytes",
}
_COUNT_UP = text(
    "UPDATE sync_state SET "  # noqa: S608 - our own names
    + "".join(f"{column} = {column} + :_{counted}, " for column, counted in _ADDED.items())
    + "failures = failures + :_projects_failed + :_files_failed, seen_at = :_at WHERE source_id = :_source_id"
)
#: For the first of several runs; the totals of all runs stay.
NEW_RUN: Mapping[str, Any] = dict.fromkeys(
    (
        "projects_due", "projects_done", "projects_changed", "projects_failed", "files_due", "files_done",
        "files_failed", "run_requests", "run_unchanged", "run_bytes",
    ),
    0,
)  # fmt: skip
_SOURCE = _PROJECTS.c.source_id == bindparam("source_id")
_KNOWN = (
    select(_PROJECTS.c.name, _PROJECTS.c.upstream_serial, _PROJECTS.c.state)
    .where(_SOURCE, _PROJECTS.c.name > bindparam("after"))
    .order_by(_PROJECTS.c.name)
    .limit(bindparam("limit"))
)
_AGED = (
    select(_PROJECTS.c.name)
    .where(
        _SOURCE,
        _PROJECTS.c.name > bindparam("after"),
        _PROJECTS.c.state == ProjectState.PRESENT,
        func.coalesce(_PROJECTS.c.looked_at, 0) < bindparam("before"),
    )
    .order_by(_PROJECTS.c.name)
    .limit(bindparam("limit"))
)
_COUNT = text(
    "SELECT count(*) FROM (SELECT 1 FROM project WHERE source_id = :source_id AND state = 'present' "
    "LIMIT :bound) AS known"
)
_DUE_ROWS = text(
    "SELECT d.name, d.serial, d.why, d.attempts, p.etag, p.upstream_serial, p.looked_at, p.state "
    "FROM sync_due d LEFT JOIN project p ON p.source_id = d.source_id AND p.name = d.name "
    "WHERE d.source_id = :source_id AND d.name > :after AND COALESCE(d.retry_at, 0) <= :by "
    "ORDER BY d.name LIMIT :limit"
)
_FAILED = text(
    "SELECT name, attempts, problem FROM sync_due WHERE source_id = :source_id AND problem IS NOT NULL "
    "ORDER BY name LIMIT :limit"
)
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
_NAMES: Any = bindparam("names", expanding=True)
_IDS: Any = bindparam("ids", expanding=True)
_DONE = text("DELETE FROM sync_due WHERE source_id = :source_id AND name IN :names").bindparams(_NAMES)
_DOUBLINGS = 8
_AGAIN = (
    "attempts = attempts + 1, problem = :problem, retry_at = :at + "
    f"CASE WHEN attempts = 0 THEN 0 WHEN attempts > {_DOUBLINGS} THEN {_LONGEST_PAUSE} "
    f"ELSE CAST({_FIRST_PAUSE} AS BIGINT) * (1 << (attempts - 1)) END"
)
_NOT_DONE = text(f"UPDATE sync_due SET {_AGAIN} WHERE source_id = :_source_id AND name = :_name")  # noqa: S608 - our own
_FILES_DONE = text("DELETE FROM sync_file WHERE file_id IN :ids").bindparams(_IDS)
_FILES_NOT_DONE = text(f"UPDATE sync_file SET {_AGAIN} WHERE file_id = :_id")  # noqa: S608 - our own
_TO_STORE = (
    "INSERT INTO sync_file (file_id, source_id, attempts) "
    "SELECT id, :source_id, 0 FROM file WHERE {column} IN :ids AND stored_at IS NULL "
    "AND withdrawn_at IS NULL AND url IS NOT NULL ON CONFLICT (file_id) DO NOTHING"
)
_ADD_FILES = text(_TO_STORE.format(column="id")).bindparams(_IDS)
_ADD_FILES_NAMED = text(_TO_STORE.format(column="project_id = :project AND filename")).bindparams(_IDS)
_ADD_FILES_OF = text(_TO_STORE.format(column="project_id")).bindparams(_IDS)
