"""Downloads on record: who got which file in which index, counted by day.

Counting is one change of a dictionary, because it stands in every download's way; what was counted is
written every few seconds by a thread of its own, and at the end. A crash loses the last seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import structlog
from sqlalchemy import delete, text

from koschey.domain.page import Microseconds
from koschey.domain.policy import DAY
from koschey.errors import Busy, KoscheyError, NotFound
from koschey.services.batching import BatchWriter
from koschey.services.configuration import Configuration
from koschey.stores.database import Database, now
from koschey.stores.models import Download

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Days for which downloads stay on record.
KEPT_DAYS = 400
_FLUSH_SECONDS = 3.0
_AT_ONCE = 500
#: How often a batch is tried while files that it names are being deleted.
_TRIES = 3
_LONGEST_ACTOR = 200
UNKNOWN = "unknown"

#: Day (since 1970), name of the index, id of the file, who.
_Key = tuple[int, str, int, str]
#: How often, and when last.
_Count = tuple[int, Microseconds]


class Usage:
    """Counts downloads in memory and writes them down.

    Args:
        limit: so many different (day, index, file, client) are kept in memory, a few hundred bytes each;
            with half of them the thread is woken early, and further ones than that are not counted.
        flush_seconds: time between two writes.
        on_written: is told how many downloads were just written down.
    """

    def __init__(
        self,
        database: Database,
        configuration: Configuration,
        *,
        limit: int = 10_000,
        flush_seconds: float = _FLUSH_SECONDS,
        on_written: Callable[[int], None] | None = None,
    ) -> None:
        self._closed = False
        self._database = database
        self._configuration = configuration
        self._limit = limit
        self._flush_seconds = flush_seconds
        self._on_written = on_written
        self._writer = BatchWriter("usage", self._flush_and_rest, self._empty, seconds=flush_seconds)

    def _empty(self) -> None:
        self._counts: dict[_Key, _Count] = {}
        self._dropped = 0
        self._guard = threading.Lock()
        self._flushing = threading.Lock()

    def add(self, index: str, file_id: int, actor: str) -> None:
        """Count one download. ``actor``: a user's name or a client's address."""
        at = time.time_ns() // 1000
        key = (at // DAY, index, file_id, actor)
        with self._guard:
            known = self._counts.get(key)
            if known is None and len(self._counts) >= self._limit:
                self._dropped += 1
                return
            self._counts[key] = (known[0] + 1 if known else 1, at)
            crowded = len(self._counts) * 2 > self._limit
        if not self._writer.started:
            self._writer.start()
        if crowded:
            self._writer.wake()

    def flush(self) -> None:
        """Write down what was counted; what cannot be written now is kept for the next time."""
        with self._flushing:
            with self._guard:
                counts, self._counts = self._counts, {}
                dropped, self._dropped = self._dropped, 0
            if dropped:
                log.warning(
                    "usage.dropped", downloads=dropped, problem="too many to keep until the next write"
                )
            # By file first: the order in which everybody locks files.
            waiting = sorted(counts, key=lambda key: (key[2], key[0], key[1], key[3]))
            while waiting:
                batch, rest = waiting[:_AT_ONCE], waiting[_AT_ONCE:]
                try:
                    self._write([(key, counts[key]) for key in batch])
                except KoscheyError as error:
                    log.warning("usage.not_written", downloads=len(waiting), problem=str(error))
                    self._put_back({key: counts[key] for key in waiting})
                    return
                if self._on_written is not None:
                    self._on_written(sum(counts[key][0] for key in batch))
                waiting = rest

    def sweep(self) -> None:
        """Forget what is older than ``KEPT_DAYS``."""
        oldest = now() // DAY - KEPT_DAYS
        with self._database.transaction() as tx:
            tx.connection.execute(delete(Download).where(Download.day < oldest))

    def close(self) -> None:
        """Write down what is left, and count nothing more in a thread."""
        self._closed = True
        self._writer.close()

    def _flush_and_rest(self) -> None:
        self.flush()
        # While the database is away the memory stays full, and must not keep the thread spinning.
        if len(self._counts) * 2 > self._limit and not self._closed:
            time.sleep(self._flush_seconds)

    def _put_back(self, counts: dict[_Key, _Count]) -> None:
        with self._guard:
            for key, (count, at) in counts.items():
                known = self._counts.get(key)
                if known is None and len(self._counts) >= self._limit:
                    self._dropped += count
                else:
                    self._counts[key] = (count + known[0], max(at, known[1])) if known else (count, at)

    def _write(self, counted: Sequence[tuple[_Key, _Count]]) -> None:
        rows = list(self._rows(counted))
        if not rows:
            return
        for attempt in range(1, _TRIES + 1):
            try:
                with self._database.transaction() as tx:
                    tx.connection.execute(_UPSERT, rows)
                return
            except Busy:  # a file went between the look for it and its foreign key's
                if attempt == _TRIES:
                    raise

    def _rows(self, counted: Sequence[tuple[_Key, _Count]]) -> Iterator[dict[str, Any]]:
        for (day, index, file_id, actor), (count, at) in counted:
            try:
                index_id = self._configuration.index(index).id
            except NotFound:
                continue  # it was removed, and its downloads with it
            yield {
                "day": day,
                "index_id": index_id,
                "file_id": file_id,
                "actor": actor[:_LONGEST_ACTOR] or UNKNOWN,
                "count": count,
                "at": at,
            }


#: A file or index that went away meanwhile takes its row along, not the others'.
_UPSERT = text(
    "INSERT INTO download (day, index_id, file_id, actor, count, last_at) "
    "SELECT :day, :index_id, :file_id, :actor, :count, :at "
    "WHERE EXISTS (SELECT 1 FROM file WHERE id = :file_id) "
    'AND EXISTS (SELECT 1 FROM "index" WHERE id = :index_id) '
    "ON CONFLICT (day, index_id, file_id, actor) DO UPDATE SET count = download.count + excluded.count, "
    "last_at = CASE WHEN excluded.last_at > download.last_at THEN excluded.last_at ELSE download.last_at END"
)
