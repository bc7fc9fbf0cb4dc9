"""Blobs that no row refers to: marked, left alone for a time of grace, looked at again, and deleted.

Orphans are what crashes leave between a publication and its commit, and what eviction gives up. Whoever
publishes a blob takes its mark away first (``Orphans.spare``), and a blob is deleted only under a lock and
with its mark still there: so a publication either finds the blob and keeps it, or finds none and writes it.
That holds as long as the time from a publication to its commit is shorter than the grace.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import structlog
from sqlalchemy import Connection, bindparam, text

from koschey.errors import Busy
from koschey.failpoints import failpoint
from koschey.stores.blobs import BlobStore
from koschey.stores.database import Database, now
from koschey.stores.locks import Locks
from koschey.stores.lookup import Lookup

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Blobs that are looked up in one query.
_AT_ONCE = 500
#: Seconds after which a sweep leaves the rest to the next one.
_LONGEST_RUN = 45.0
#: Seconds that a publication waits for a deletion of the same blob.
_WAIT = 60.0
#: Digits of a digest that a counter can keep.
_DIGITS = 15
_CURSOR = "sweep_blobs"
#: Counters of all blobs as the last whole round found them, and as the round that goes on has found so far.
BLOBS, BYTES = "blobs", "blobs:bytes"
_SO_FAR, _BYTES_SO_FAR = "blobs:round", "blobs:round:bytes"


@dataclass
class Swept:
    """What a sweep did."""

    looked_at: int = 0
    marked: int = 0
    spared: int = 0
    deleted: int = 0
    bytes: int = 0
    """Of the deleted ones."""


class Orphans:
    """Finds and deletes them. ``grace``: in seconds."""

    def __init__(
        self, database: Database, lookup: Lookup, locks: Locks, store: BlobStore, *, grace: float
    ) -> None:
        self._database = database
        self._lookup = lookup
        self._locks = locks
        self._store = store
        self._grace = grace

    def spare(self, digests: Sequence[str]) -> None:
        """Take blobs' marks away before they are published.

        Raises:
            Busy: one is being deleted, and that takes long. StoreUnavailable: the database failed.
        """
        # Whoever marks another one from now on leaves it alone for the time of grace.
        for sha256 in self._lookup.orphans_among(digests):
            with self._locks.hold(_lock(sha256), _WAIT), self._database.transaction() as tx:
                tx.connection.execute(_UNMARK, {"digests": [sha256]})

    def mark(self, connection: Connection, digests: Iterable[str]) -> None:
        """Mark blobs, in an open transaction."""
        rows = [{"sha256": digest, "at": now()} for digest in sorted(set(digests))]
        if rows:
            connection.execute(_MARK, rows)

    def sweep(self, *, longest: float = _LONGEST_RUN) -> Swept:
        """Delete what has been marked for long, and look for more from where the last sweep stopped.

        Raises:
            StoreUnavailable: database or store failed; what was done before stays.
        """
        swept = Swept()
        ends = time.monotonic() + longest
        with suppress(Busy), self._locks.hold("sweep:blobs", 0.0):
            self._delete_due(swept, ends)
            self._look(swept, ends)
            if swept.marked or swept.deleted:
                log.info("blobs.swept", **vars(swept))
        return swept

    def referenced(self, digests: Sequence[str]) -> set[str]:
        """Those of the digests that a row refers to."""
        with self._database.reading() as session:
            return set(session.scalars(_REFERENCED, {"digests": list(digests)}))

    def _delete_due(self, swept: Swept, ends: float) -> None:
        tried: set[str] = set()
        while time.monotonic() < ends:
            with self._database.reading() as session:
                due = session.scalars(
                    _DUE, {"before": now() - round(self._grace * 1e6), "limit": _AT_ONCE}
                ).all()
            if not set(due) - tried:
                return
            for sha256 in due:
                tried.add(sha256)
                if time.monotonic() > ends:
                    return
                with suppress(Busy), self._locks.hold(_lock(sha256), 0.0):
                    self._delete(sha256, swept)

    def _delete(self, sha256: str, swept: Swept) -> None:
        """Under the blob's lock: look at its mark and at who refers to it once more."""
        if not self._lookup.orphans_among([sha256]):
            return
        if self.referenced([sha256]):
            swept.spared += 1
        else:
            size = self._store.size(sha256)
            failpoint("orphan.before-delete")
            self._store.delete(sha256)
            swept.deleted += 1
            swept.bytes += size or 0
        with self._database.transaction() as tx:
            tx.connection.execute(_UNMARK, {"digests": [sha256]})

    def _look(self, swept: Swept, ends: float) -> None:
        """Mark the orphans among the next blobs."""
        with self._database.reading() as session:
            known: dict[str, int] = {row.name: row.value for row in session.execute(_COUNTERS)}
        cursor = known.get(_CURSOR, 0)
        blobs, size = (known.get(name, 0) if cursor else 0 for name in (_SO_FAR, _BYTES_SO_FAR))
        listed = iter(self._store.blobs(_digest_of(cursor) if cursor else ""))
        while time.monotonic() < ends:
            batch = list(islice(listed, _AT_ONCE))
            blobs, size = blobs + len(batch), size + sum(blob.size for blob in batch)
            swept.looked_at += len(batch)
            settled = time.time() - self._grace  # younger ones may be about to be referred to
            old = [blob.sha256 for blob in batch if blob.modified < settled]
            orphans = set(old) - self.referenced(old) if old else set()
            cursor = int(batch[-1].sha256[:_DIGITS], 16) if len(batch) == _AT_ONCE else 0
            with self._database.transaction() as tx:
                self.mark(tx.connection, orphans)
                counters = {_CURSOR: cursor, _SO_FAR: blobs, _BYTES_SO_FAR: size}
                if not cursor:
                    counters |= {BLOBS: blobs, BYTES: size}
                tx.connection.execute(_SET, [{"name": k, "value": v} for k, v in counters.items()])
            swept.marked += len(orphans)
            if not cursor:
                return


def _lock(sha256: str) -> str:
    return f"blob:{sha256}"


def _digest_of(cursor: int) -> str:
    """A digest behind every one that begins with the cursor's digits."""
    return f"{cursor:0{_DIGITS}x}" + "f" * (64 - _DIGITS)


_MARK = text("INSERT INTO orphan (sha256, marked_at) VALUES (:sha256, :at) ON CONFLICT (sha256) DO NOTHING")
_DUE = text("SELECT sha256 FROM orphan WHERE marked_at <= :before ORDER BY marked_at LIMIT :limit")
_COUNTERS = text(
    "SELECT name, value FROM counter WHERE name IN ('sweep_blobs', 'blobs:round', 'blobs:round:bytes')"
)
_SET = text(
    "INSERT INTO counter (name, value) VALUES (:name, :value) "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
_UNMARK = text("DELETE FROM orphan WHERE sha256 IN :digests").bindparams(bindparam("digests", expanding=True))
# Each part by the index of such rows.
_REFERENCED = text(
    "SELECT sha256 FROM file WHERE stored_at IS NOT NULL AND sha256 IN :digests "
    "UNION SELECT metadata_sha256 FROM file WHERE metadata_stored AND metadata_sha256 IN :digests "
    "UNION SELECT provenance_sha256 FROM file "
    "WHERE provenance_sha256 IS NOT NULL AND provenance_sha256 IN :digests"
).bindparams(bindparam("digests", expanding=True))
