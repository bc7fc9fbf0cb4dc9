"""The projects that a sync is to look at.

Each stays on record until the transaction that records its page. Whoever is killed anywhere is followed by
one that goes on there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import batched
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, case, delete, func, null, select, text
from sqlalchemy.dialects import postgresql, sqlite

from koschey.domain.page import Microseconds
from koschey.services.sync_retries import FAILED_AGAIN, FOREVER, LONGEST_PROBLEM, count_due
from koschey.stores.database import Database, Transaction, now
from koschey.stores.sync_rows import SyncDue

#: Rows in one statement, and in one transaction of those that only say what is due.
_AT_ONCE = 5_000


class DueProject(NamedTuple):
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

    @property
    def key(self) -> str:
        """What decides in whose share it is."""
        return self.name

    @property
    def project(self) -> str:
        """Normalised name of the project it belongs to."""
        return self.name

    @property
    def turn(self) -> tuple[int, int]:
        """Smaller ones come first: what failed seldom, then what was looked at longest ago."""
        return self.attempts, self.looked_at or 0

    @property
    def host(self) -> str:
        """Nothing: all pages of an upstream are at one host."""
        return ""


class DueProjects:
    """Reads and writes those rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, source_id: int, rows: Iterable[tuple[str, int | None, str]]) -> int:
        """Say that projects are to be looked at: name, serial of the root list, why. Returns how many."""
        added, batch = 0, list[dict[str, Any]]()
        for name, serial, why in rows:
            row = {"source_id": source_id, "name": name, "serial": serial, "why": why, "attempts": 0}
            batch.append(row)
            if len(batch) >= _AT_ONCE:
                added += self._insert(batch)
                batch = []
        return added + self._insert(batch)

    def add_unless_due(self, source_id: int, rows: Iterable[tuple[str, int | None, str]]) -> None:
        """The same, on no word of the root list: what is due already stays as it is.

        With the serial that was promised, or a page older than that would be taken for the latest; with what
        went wrong, or a page that fails would come before others each time.
        """
        for batch in batched(rows, _AT_ONCE):
            values = [
                {"source_id": source_id, "name": name, "serial": serial, "why": why, "attempts": 0}
                for name, serial, why in batch
            ]
            with self._database.transaction() as tx:
                made = _upsert(tx.connection, _DUE)
                tx.connection.execute(made.on_conflict_do_nothing(), values)

    def _insert(self, rows: Sequence[Mapping[str, Any]]) -> int:
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

    def drop(self, source_id: int) -> None:
        """Forget what is due: it is chosen anew."""
        with self._database.transaction() as tx:
            tx.connection.execute(delete(SyncDue).where(SyncDue.source_id == source_id))

    def due(self, source_id: int, after: str, limit: int, by: Microseconds = FOREVER) -> list[DueProject]:
        """Projects that are to be looked at, in the database's order of names, behind ``after``.

        Args:
            by: what is left alone until after that is left out.
        """
        values = {"source_id": source_id, "after": after, "limit": limit, "by": by}
        with self._database.reading() as session:
            return [DueProject(*row) for row in session.execute(_DUE_ROWS, values)]

    def count(self, source_id: int, by: Microseconds = FOREVER) -> int:
        """How many projects are due; ``by``: as of ``due``."""
        return count_due(self._database, SyncDue, source_id, by)

    def lowest_serial(self, source_id: int) -> int | None:
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


def projects_done(tx: Transaction, source_id: int, names: Sequence[str]) -> None:
    """Those projects are due no more."""
    for start in range(0, len(names), 500):
        values = {"source_id": source_id, "names": names[start : start + 500]}
        tx.connection.execute(_DONE, values)


def project_failures(tx: Transaction, source_id: int, problems: Mapping[str, str]) -> None:
    """Those projects could not be looked at, and stay due."""
    rows = [
        {"_source_id": source_id, "_name": name, "problem": problem[:LONGEST_PROBLEM], "at": now()}
        for name, problem in problems.items()
    ]
    if rows:
        tx.connection.execute(_NOT_DONE, rows)


def _upsert(connection: Connection, table: Any) -> Any:
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


_DUE = SyncDue.__table__
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
_NAMES: Any = bindparam("names", expanding=True)
_DONE = text("DELETE FROM sync_due WHERE source_id = :source_id AND name IN :names").bindparams(_NAMES)
_NOT_DONE = text(f"UPDATE sync_due SET {FAILED_AGAIN} WHERE source_id = :_source_id AND name = :_name")  # noqa: S608 - our own
