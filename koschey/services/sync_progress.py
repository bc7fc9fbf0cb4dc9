"""How far the syncs of an upstream came, and what they came to: one row for each upstream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, text, update

from koschey.stores.database import Database, Transaction, now
from koschey.stores.sync_rows import SyncState
from koschey.upstream.manners import LONGEST_PAUSE


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


class Progress:
    """Reads and writes that row."""

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
            changed = update(SyncState).where(SyncState.source_id == source_id)
            changed = changed.values(**values, seen_at=now())
            if tx.connection.execute(changed).rowcount == 0:
                row = dict(_BLANK) | values | {"source_id": source_id, "seen_at": now()}
                tx.connection.execute(insert(SyncState), row)

    def leave_alone(self, source_id: int, seconds: float) -> None:
        """No sync before that: the upstream asked for it."""
        self.put(source_id, paused_until=now() + round(min(seconds, LONGEST_PAUSE) * 1e6))


def count(tx: Transaction, source_id: int, counted: Counted) -> None:
    """Add what a batch came to. Every process of a sync does: it locks the row, so do it last."""
    said = {f"_{name}": value for name, value in vars(counted).items()}
    tx.connection.execute(_COUNT_UP, said | {"_source_id": source_id, "_at": now()})


_STATE = SyncState.__table__
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
