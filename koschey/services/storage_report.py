"""The report of what is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from koschey.domain.explanation import iso
from koschey.services.eviction import BYTES as EVICTED_BYTES
from koschey.services.eviction import FILES as EVICTED
from koschey.services.orphans import BLOBS, BYTES
from koschey.services.tallies import Tallies
from koschey.stores.blobs import BlobStore
from koschey.stores.database import Database

#: Counts go so far.
COUNTED = 100_000


@dataclass(frozen=True)
class Report:
    """What takes how much room. Sizes in bytes, times in microseconds since 1970."""

    tallies: tuple[dict[str, Any], ...]
    """Rows of ``tallies.Tally``."""
    counted_at: int | None
    """When the oldest of them was counted."""
    blobs: int
    """In the store, as the last whole sweep found them; each digest counts once, and documents count."""
    blob_bytes: int
    orphans: int
    """Blobs that are marked to be deleted, ``COUNTED`` at the most."""
    evicted_files: int
    """Ever given up."""
    evicted_bytes: int
    spool_files: int
    """On their way in on this machine, or left by a process that died."""
    spool_bytes: int

    def sentences(self, size: Callable[[int], str]) -> Iterator[str]:
        """The same for people, but the tallies. ``size`` writes a number of bytes."""
        if self.blobs:
            yield f"in the store: {self.blobs:,} blobs, {size(self.blob_bytes)} (by the last whole sweep)"
        if self.orphans:
            yield f"to be deleted, because nothing refers to them: {self.orphans:,} blobs"
        if self.evicted_files:
            yield f"given up so far: {self.evicted_files:,} files, {size(self.evicted_bytes)}"
        if self.spool_files:
            yield f"on their way in here: {self.spool_files:,} files, {size(self.spool_bytes)}"
        if self.counted_at is not None:
            yield f"counted since {iso(self.counted_at)}"


class StorageReport:
    """Puts together what was counted."""

    def __init__(self, database: Database, tallies: Tallies, store: BlobStore) -> None:
        self._database = database
        self._tallies = tallies
        self._store = store

    def report(self) -> Report:
        """The numbers of this moment; nothing is counted for it but orphans, up to a bound."""
        with self._database.reading() as session:
            known = counters(session)
            orphans = session.scalar(_ORPHANS, {"bound": COUNTED}) or 0
        sizes = [path.stat().st_size for path in self._store.spool_dir.iterdir() if path.is_file()]
        return Report(
            tallies=tuple(tally._asdict() for tally in self._tallies.tallies()),
            counted_at=self._tallies.counted_at(),
            blobs=known.get(BLOBS, 0),
            blob_bytes=known.get(BYTES, 0),
            orphans=orphans,
            evicted_files=known.get(EVICTED, 0),
            evicted_bytes=known.get(EVICTED_BYTES, 0),
            spool_files=len(sizes),
            spool_bytes=sum(sizes),
        )


def counters(session: Session) -> dict[str, int]:
    """What sweeps and evictions left on record, by the counter's name."""
    return {row.name: row.value for row in session.execute(_COUNTERS)}


_COUNTERS = text(
    "SELECT name, value FROM counter WHERE name IN ('blobs', 'blobs:bytes', 'evicted', 'evicted:bytes')"
)
_ORPHANS = text("SELECT count(*) FROM (SELECT 1 FROM orphan LIMIT :bound) AS marked")
