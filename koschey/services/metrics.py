"""Numbers about the queue, as the database has them: the same whichever process is asked.

Each is found by an index, at a price that does not grow with the tables: counters that are kept, first
entries, and counts that stop at a bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from koschey.domain.page import Microseconds
from koschey.domain.quarantine import Rule
from koschey.services.eviction import BYTES as EVICTED_BYTES
from koschey.services.eviction import FILES as EVICTED
from koschey.services.orphans import BLOBS
from koschey.services.orphans import BYTES as BLOB_BYTES
from koschey.services.storage_report import counters
from koschey.services.tallies import Tallies, Tally
from koschey.stores.database import Database, now

#: Counts go so far; more than this is as alarming.
COUNTED = 10_000


@dataclass(frozen=True)
class IndexNumbers:
    """One index. Ages are in seconds, 0 where there is nothing."""

    name: str
    hidden: int
    """Files that are not visible, held or rejected."""
    review: int
    """Files that wait for a person, at most ``COUNTED``."""
    failed_checks: int
    """Those of them that failed a check."""
    oldest: float
    """Age of the longest hold."""
    oldest_review: float
    sweep_lag: float
    """How overdue the oldest hold is whose end has come and is not recorded yet."""


@dataclass(frozen=True)
class SyncNumbers:
    """The syncs of one upstream; counts are of all of them together."""

    name: str
    requests: int
    unchanged: int
    """Requests that were answered by 304."""
    bytes: int
    failures: int
    """Projects and files that could not be had, each time they were tried."""
    left: int
    """Projects that are due, at most ``COUNTED``."""
    serials_behind: int
    seconds_behind: float
    """Since the begin of the last sync that left nothing undone."""
    alarm: bool


@dataclass(frozen=True)
class StorageNumbers:
    """What is stored, as it was counted last; sizes in bytes."""

    tallies: tuple[Tally, ...]
    """Empty before the first count."""
    age: float
    """Seconds since the oldest of the tallies was counted, 0 where there is none."""
    blobs: int
    """In the store, as the last whole sweep found them."""
    blob_bytes: int
    evicted_files: int
    """Ever given up."""
    evicted_bytes: int


@dataclass(frozen=True)
class Numbers:
    """All indexes by name, upstreams that were synced, and the files that are to be stored and checked."""

    indexes: tuple[IndexNumbers, ...]
    checks_due: int
    """At most ``COUNTED``."""
    checks_lag: float
    """How overdue the oldest of them is, in seconds."""
    failing: int
    """Files whose storing or checking was begun in vain, at most ``COUNTED``."""
    syncs: tuple[SyncNumbers, ...]


class Metrics:
    """Asks for the numbers."""

    def __init__(self, database: Database, tallies: Tallies) -> None:
        self._database = database
        self._tallies = tallies

    def numbers(self) -> Numbers:
        """The numbers of this moment."""
        at = now()
        given = {"now": at, "bound": COUNTED, "failed": Rule.FAILED_CHECK.value}
        with self._database.reading() as session:
            checks = session.execute(_CHECKS, given).one()
            return Numbers(
                indexes=tuple(_index(row, at) for row in session.execute(_INDEXES, given)),
                checks_due=checks.due,
                checks_lag=_age(checks.oldest, at),
                failing=checks.failing,
                syncs=tuple(_sync(row, at) for row in session.execute(_SYNCS, given)),
            )

    def storage(self) -> StorageNumbers:
        """What is stored: sums of some rows for each twenty thousand files, nothing is counted for it."""
        with self._database.reading() as session:
            known = counters(session)
        return StorageNumbers(
            tallies=tuple(self._tallies.tallies()),
            age=_age(self._tallies.counted_at(), now()),
            blobs=known.get(BLOBS, 0),
            blob_bytes=known.get(BLOB_BYTES, 0),
            evicted_files=known.get(EVICTED, 0),
            evicted_bytes=known.get(EVICTED_BYTES, 0),
        )


def _sync(row: Any, at: Microseconds) -> SyncNumbers:
    known = row.lowest is not None and row.root_serial is not None
    return SyncNumbers(
        name=row.name,
        requests=row.requests,
        unchanged=row.unchanged,
        bytes=row.bytes,
        failures=row.failures,
        left=row.waiting,
        serials_behind=max(0, row.root_serial - row.lowest + 1) if known else 0,
        seconds_behind=_age(row.in_step_at, at),
        alarm=row.alarm is not None,
    )


def _index(row: Any, at: Microseconds) -> IndexNumbers:
    review, failed = map(int, row.review.split())
    return IndexNumbers(
        name=row.name,
        hidden=row.hidden or 0,
        review=review,
        failed_checks=failed,
        oldest=_age(row.oldest, at),
        oldest_review=_age(row.oldest_review, at),
        sweep_lag=_age(row.overdue, at),
    )


# One question for all indexes, and one for all upstreams: each part of it is a first entry, or a count up to
# a bound, found by an index. One pass over what waits for review gives both of its counts, as a text;
# counters are named as by ``koschey.services.holds.held_counter``.
_INDEXES = text(
    "SELECT i.name, "
    "(SELECT value FROM counter WHERE name = 'held:' || i.id) AS hidden, "
    "(SELECT count(*) || ' ' || count(CASE WHEN rule = :failed THEN 1 END) FROM "
    "(SELECT rule FROM hold WHERE index_id = i.id AND review ORDER BY since LIMIT :bound) AS waiting) "
    "AS review, "
    "(SELECT since FROM hold WHERE index_id = i.id AND review ORDER BY since LIMIT 1) AS oldest_review, "
    # What was rejected stays in the table; ``ix_hold_held`` has only what is held.
    "(SELECT since FROM hold WHERE index_id = i.id AND state = 'held' ORDER BY since LIMIT 1) AS oldest, "
    "(SELECT until FROM hold WHERE until IS NOT NULL AND until <= :now AND index_id = i.id "
    "ORDER BY until LIMIT 1) AS overdue "
    'FROM "index" i ORDER BY i.name'
)
_SYNCS = text(
    "SELECT s.name, COALESCE(t.requests, 0) AS requests, COALESCE(t.unchanged, 0) AS unchanged, "
    "COALESCE(t.bytes, 0) AS bytes, COALESCE(t.failures, 0) AS failures, t.root_serial, t.in_step_at, "
    "t.alarm, (SELECT d.serial FROM sync_due d WHERE d.source_id = s.id AND d.serial IS NOT NULL "
    "ORDER BY d.serial LIMIT 1) AS lowest, (SELECT count(*) FROM "
    "(SELECT 1 FROM sync_due d WHERE d.source_id = s.id LIMIT :bound) AS due) AS waiting "
    "FROM source s LEFT JOIN sync_state t ON t.source_id = s.id WHERE s.kind = 'upstream' ORDER BY s.name"
)
_CHECKS = text(
    "SELECT (SELECT count(*) FROM (SELECT 1 FROM file WHERE due_at IS NOT NULL AND due_at <= :now "
    "LIMIT :bound) AS waiting) AS due, (SELECT due_at FROM file WHERE due_at IS NOT NULL AND due_at <= :now "
    "ORDER BY due_at LIMIT 1) AS oldest, "
    "(SELECT count(*) FROM (SELECT 1 FROM file WHERE attempts > 0 LIMIT :bound) AS failed) AS failing"
)


def _age(since: Microseconds | None, at: Microseconds) -> float:
    return 0.0 if since is None else max(0, at - since) / 1e6
