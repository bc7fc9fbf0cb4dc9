"""How much happened in each hour, for the plots of the overview.

What requests do is counted in memory, which costs one change of a dictionary, and written every half minute;
what is in the journal is counted from there, by its numbers. A crash loses the last half minute.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

import structlog
from sqlalchemy import bindparam, text

from koschey.errors import Busy, KoscheyError
from koschey.services.batching import BatchWriter
from koschey.services.tallies import Tallies
from koschey.stores.database import Database, now
from koschey.stores.locks import Locks

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

HOUR = 3_600_000_000
_FLUSH_SECONDS = 30.0
KEPT_HOURS = 400 * 24
#: Events of one step of the counting, and the age (microseconds) by which those before have committed.
_EVENTS, _SETTLED = 20_000, 60_000_000
_CURSOR = "hourly:event"

#: Names of what is counted.
DOWNLOAD, FETCHED = "download", "file.fetched"
ASKED, UNCHANGED, FAILED = "upstream.request", "upstream.unchanged", "upstream.failure"
DECIDED, RELEASED = "decision", "release"
STORED_BYTES = "stored.bytes"
UPSTREAM_BYTES = "upstream.bytes"
"""Of pages and files that clients waited for, or a job; what syncs fetch is counted by itself."""
SYNC_REQUESTS, SYNC_BYTES = "sync.request", "sync.bytes"
QUEUE = ("queue.1", "queue.7", "queue.30", "queue.older")
"""Held files by their age when they were counted: up to a day, a week, 30 days, and older ones."""
_AGES = (1, 7, 30)


class Hourly:
    """Counts in memory and writes down. ``flush_seconds``: time between two writes."""

    def __init__(self, database: Database, *, flush_seconds: float = _FLUSH_SECONDS) -> None:
        self._database = database
        self._writing = threading.Lock()
        self._watched: dict[str, Callable[[], int]] = {}
        self._writer = BatchWriter("hourly", self.flush, self._empty, seconds=flush_seconds)

    def _empty(self) -> None:
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._seen = {name: read() for name, read in self._watched.items()}

    def watch(self, name: str, read: Callable[[], int]) -> None:
        """Count what another one counts, by how much it rises between two writes.

        For what must not even cost a call. The thread that writes does not begin with it.
        """
        self._watched[name] = read
        self._seen[name] = read()

    def add(self, name: str, number: int = 1) -> None:
        """Count something, now. Two threads at once may lose one: it is for plots."""
        self._counts[name] += number
        if not self._writer.started:
            self._writer.start()

    def flush(self) -> None:
        """Write down what was counted; what cannot be written now is kept for the next time."""
        with self._writing:
            counts, self._counts = self._counts, defaultdict(int)
            for name, read in self._watched.items():
                seen, self._seen[name] = self._seen[name], read()
                if self._seen[name] > seen:
                    counts[name] += self._seen[name] - seen
            if not counts:
                return
            hour = time.time_ns() // 1000 // HOUR
            rows = [{"name": name, "hour": hour, "count": counts[name]} for name in sorted(counts)]
            try:
                with self._database.transaction() as tx:
                    tx.connection.execute(_ADD, rows)
            except KoscheyError as error:
                log.warning("hourly.not_written", problem=str(error))
                for name, count in counts.items():
                    self._counts[name] += count

    def close(self) -> None:
        """Write down what is left."""
        self._writer.close()

    def series(self, names: Collection[str], since: int) -> dict[str, dict[int, int]]:
        """By name and hour, from an hour (since 1970) on."""
        found: dict[str, dict[int, int]] = {name: {} for name in names}
        with self._database.reading() as session:
            for row in session.execute(_SERIES, {"names": list(names), "since": since}):
                found[row.name][row.hour] = row.number
        return found


class Rollup:
    """The job that counts what is on record: events, storage, ages of the queue."""

    def __init__(self, database: Database, tallies: Tallies, locks: Locks) -> None:
        self._database = database
        self._tallies = tallies
        self._locks = locks

    def run(self) -> None:
        """Count what came since the last time; another one who does it is enough."""
        with suppress(Busy), self._locks.hold("sweep:hourly", 0.0):
            while self._events():
                pass
            self._syncs()
            self._snapshots()

    def _syncs(self) -> None:
        """What syncs asked and got since the last time; they count in all, and not by the hour."""
        with self._database.transaction() as tx:
            now_at = tx.connection.execute(_SYNCED).one()
            for name, total in ((SYNC_REQUESTS, now_at.requests), (SYNC_BYTES, now_at.bytes)):
                cursor = {"name": f"hourly:{name}"}
                last = tx.session.scalar(text("SELECT value FROM counter WHERE name = :name"), cursor)
                grown = 0 if last is None else int(total) - last  # less: an upstream was removed
                if grown > 0:
                    tx.connection.execute(_ADD, {"name": name, "hour": now() // HOUR, "count": grown})
                tx.connection.execute(_REMEMBER, cursor | {"value": int(total)})

    def _events(self) -> bool:
        """One step through the journal; False: there is no more."""
        with self._database.transaction() as tx:
            last = tx.session.scalar(text("SELECT value FROM counter WHERE name = :name"), {"name": _CURSOR})
            if last is None:  # what was before is history: plots begin now
                last = (tx.session.scalar(text("SELECT max(id) FROM event")) or 0) - _EVENTS
            given = {
                "last": max(0, last),
                "to": max(0, last) + _EVENTS,
                "settled": now() - _SETTLED,
                "hour": HOUR,
            }
            reached = tx.session.scalar(_REACHED, given)
            if reached is None:
                return False
            given["to"] = reached
            rows = [row._asdict() for row in tx.session.execute(_DECISIONS, given)]
            if rows:
                tx.connection.execute(_ADD, rows)
            tx.connection.execute(_REMEMBER, {"name": _CURSOR, "value": reached})
        return True

    def _snapshots(self) -> None:
        at = now()
        with self._database.reading() as session:
            bounds = [at - days * 24 * HOUR for days in _AGES]
            ages = [
                session.scalar(_HELD, {"begin": begin, "end": end}) or 0
                for begin, end in zip([*bounds, 0], [at + HOUR, *bounds], strict=True)
            ]
        stored = sum(tally.bytes for tally in self._tallies.tallies() if tally.state != "listed")
        values: Sequence[tuple[str, int]] = [*zip(QUEUE, ages, strict=True), (STORED_BYTES, stored)]
        rows = [{"name": name, "hour": at // HOUR, "count": value} for name, value in sorted(values)]
        with self._database.transaction() as tx:
            tx.connection.execute(_SET, rows)
            tx.connection.execute(_FORGET, {"oldest": at // HOUR - KEPT_HOURS})


_ADD = text(
    "INSERT INTO tally (name, hour, count) VALUES (:name, :hour, :count) "
    "ON CONFLICT (name, hour) DO UPDATE SET count = tally.count + excluded.count"
)
_SET = text(
    "INSERT INTO tally (name, hour, count) VALUES (:name, :hour, :count) "
    "ON CONFLICT (name, hour) DO UPDATE SET count = excluded.count"
)
_FORGET = text("DELETE FROM tally WHERE hour < :oldest")
_SERIES = text(
    "SELECT name, hour, count AS number FROM tally WHERE name IN :names AND hour >= :since ORDER BY hour"
).bindparams(bindparam("names", expanding=True))
_REACHED = text(
    "SELECT max(id) FROM (SELECT id, at FROM event WHERE id > :last AND id <= :to ORDER BY id) AS step "
    "WHERE at < :settled"
)
_DECISIONS = text(
    "SELECT CASE WHEN action = 'file.released' THEN 'release' ELSE 'decision' END AS name, "
    "CAST(at / :hour AS INTEGER) AS hour, count(*) AS count FROM event "
    "WHERE id > :last AND id <= :to AND (action = 'file.released' OR action LIKE 'decision.%') "
    "GROUP BY 1, 2 ORDER BY 1, 2"
)
_HELD = text(
    "SELECT count(*) FROM hold WHERE state = 'held' AND since >= :begin AND since < :end "
    'AND index_id IN (SELECT id FROM "index")'
)
_SYNCED = text(
    "SELECT COALESCE(sum(requests), 0) AS requests, COALESCE(sum(bytes), 0) AS bytes FROM sync_state"
)
_REMEMBER = text(
    "INSERT INTO counter (name, value) VALUES (:name, :value) "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
