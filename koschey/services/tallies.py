"""What is stored, in numbers: counted block by block in turn, so that a report costs nothing that grows.

A block is some thousand files with neighbouring ids. Its numbers are of the time when it was last counted; a
run counts the newest block and then as many others as it has time for, where the last one stopped.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import NamedTuple

from sqlalchemy import text

from koschey.errors import Busy
from koschey.stores.database import Database, now
from koschey.stores.locks import Locks

BLOCK = 20_000
_LONGEST_RUN = 20.0
_CURSOR = "tally_storage"


class Tally(NamedTuple):
    """Files of a source of one kind and in one state, with the bytes that their sources say they have."""

    source: str
    source_kind: str
    kind: str
    """wheel, sdist or other."""
    state: str
    """stored: visible; held: stored, and hidden in an index; withdrawn: stored, and not listed upstream any
    more; listed: not stored."""
    files: int
    bytes: int


class Tallies:
    """Counts, and sums what was counted. ``block``: files of a block."""

    def __init__(self, database: Database, locks: Locks, *, block: int = BLOCK) -> None:
        self._database = database
        self._locks = locks
        self._block = block

    def count(self, *, longest: float = _LONGEST_RUN) -> bool:
        """Count as many blocks as there is time for; whether that were all of them.

        Raises:
            StoreUnavailable: the database failed; what was counted before stays.
        """
        with suppress(Busy), self._locks.hold("sweep:tallies", 0.0):
            return self._count(time.monotonic() + longest)
        return False

    def _count(self, ends: float) -> bool:
        with self._database.reading() as session:
            last = (session.scalar(text("SELECT max(id) FROM file")) or 0) // self._block
            begin = session.scalar(text("SELECT value FROM counter WHERE name = :name"), {"name": _CURSOR})
        begin = min(begin or 0, last)
        self._one(last)
        counted = 0
        for place in range(last + 1):
            if time.monotonic() > ends:
                break
            self._one((begin + place) % (last + 1))
            counted += 1
        with self._database.transaction() as tx:
            tx.connection.execute(text("DELETE FROM storage_tally WHERE block > :last"), {"last": last})
            tx.connection.execute(_REMEMBER, {"name": _CURSOR, "value": (begin + counted) % (last + 1)})
        return counted == last + 1

    def _one(self, block: int) -> None:
        span = {"first": block * self._block, "next": (block + 1) * self._block}
        with self._database.reading() as session:
            rows = session.execute(_COUNT, span).all()
        with self._database.transaction() as tx:
            tx.connection.execute(text("DELETE FROM storage_tally WHERE block = :block"), {"block": block})
            if rows:
                at = now()
                tx.connection.execute(_ADD, [{"block": block, "at": at, **row._asdict()} for row in rows])

    def tallies(self) -> list[Tally]:
        """What was counted, by source, kind and state."""
        with self._database.reading() as session:
            return [Tally._make(row) for row in session.execute(_SUMS)]

    def counted_at(self) -> int | None:
        """When the oldest of the numbers was counted (microseconds since 1970); None: there is none."""
        with self._database.reading() as session:
            oldest: int | None = session.scalar(text("SELECT min(counted_at) FROM storage_tally"))
            return oldest

    def mirrored_bytes(self) -> int:
        """Bytes of the stored files of upstreams."""
        return sum(
            tally.bytes
            for tally in self.tallies()
            if tally.source_kind == "upstream" and tally.state != "listed"
        )


_COUNT = text("""
SELECT source_id, kind, state, count(*) AS files, COALESCE(sum(size), 0) AS bytes FROM (
  SELECT p.source_id, f.size,
    CASE WHEN f.filename LIKE '%.whl' THEN 'wheel'
      WHEN f.filename LIKE '%.tar.gz' OR f.filename LIKE '%.zip' THEN 'sdist' ELSE 'other' END AS kind,
    CASE WHEN f.stored_at IS NULL THEN 'listed'
      WHEN f.withdrawn_at IS NOT NULL OR p.state <> 'present' THEN 'withdrawn'
      WHEN EXISTS (SELECT 1 FROM hold h WHERE h.file_id = f.id) THEN 'held' ELSE 'stored' END AS state
  FROM file f JOIN project p ON p.id = f.project_id WHERE f.id >= :first AND f.id < :next
) AS counted GROUP BY source_id, kind, state
""")
_ADD = text(
    "INSERT INTO storage_tally (block, source_id, kind, state, files, bytes, counted_at) "
    "VALUES (:block, :source_id, :kind, :state, :files, :bytes, :at)"
)
_SUMS = text(
    "SELECT s.name, s.kind, t.kind, t.state, CAST(sum(t.files) AS BIGINT), CAST(sum(t.bytes) AS BIGINT) "
    "FROM storage_tally t JOIN source s ON s.id = t.source_id "
    "GROUP BY s.name, s.kind, t.kind, t.state ORDER BY s.name, t.kind, t.state"
)
_REMEMBER = text(
    "INSERT INTO counter (name, value) VALUES (:name, :value) "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
