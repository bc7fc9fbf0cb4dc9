"""Numbers about the queue, as the database has them: the same whichever process is asked.

Each is found by an index, at a price that does not grow with the tables: counters that are kept, first
entries, and counts that stop at a bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from koschey.domain.page import Microseconds
from koschey.domain.quarantine import Rule
from koschey.services.configuration import Configuration
from koschey.services.holds import held_counter
from koschey.stores.database import Database, now

#: Counts go so far; more than this is as alarming.
COUNTED = 100_000


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
class Numbers:
    """All indexes by name, upstreams that were synced, and the files that are to be stored and checked."""

    indexes: tuple[IndexNumbers, ...]
    checks_due: int
    """At most ``COUNTED``."""
    checks_lag: float
    """How overdue the oldest of them is, in seconds."""
    syncs: tuple[SyncNumbers, ...] = ()


class Metrics:
    """Asks for the numbers."""

    def __init__(self, database: Database, configuration: Configuration) -> None:
        self._database = database
        self._configuration = configuration

    def numbers(self) -> Numbers:
        """The numbers of this moment."""
        at = now()
        indexes = self._configuration.indexes()
        with self._database.reading() as session:
            return Numbers(
                indexes=tuple(_index(session, index.id, index.name, at) for index in indexes),
                checks_due=_one(session, _DUE, now=at, bound=COUNTED) or 0,
                checks_lag=_age(_one(session, _OLDEST_DUE, now=at), at),
                syncs=tuple(_sync(session, row, at) for row in session.execute(_SYNCS)),
            )


def _sync(session: Session, row: Any, at: Microseconds) -> SyncNumbers:
    lowest = _one(session, _LOWEST_DUE, source=row.id)
    behind = 0 if lowest is None or row.root_serial is None else max(0, row.root_serial - lowest + 1)
    return SyncNumbers(
        name=row.name,
        requests=row.requests,
        unchanged=row.unchanged,
        bytes=row.bytes,
        failures=row.failures,
        left=_one(session, _LEFT, source=row.id, bound=COUNTED) or 0,
        serials_behind=behind,
        seconds_behind=_age(row.in_step_at, at),
        alarm=row.alarm is not None,
    )


def _index(session: Session, index_id: int, name: str, at: Microseconds) -> IndexNumbers:
    rules = session.execute(_REVIEW, {"index": index_id, "bound": COUNTED}).all()
    review: dict[str, int] = {row.rule: row.number for row in rules}
    return IndexNumbers(
        name=name,
        hidden=_one(session, _HIDDEN, name=held_counter(index_id)) or 0,
        review=sum(review.values()),
        failed_checks=review.get(Rule.FAILED_CHECK.value, 0),
        oldest=_age(_one(session, _OLDEST, index=index_id), at),
        oldest_review=_age(_one(session, _OLDEST_REVIEW, index=index_id), at),
        sweep_lag=_age(_one(session, _OVERDUE, index=index_id, now=at), at),
    )


_SYNCS = text(
    "SELECT s.id, s.name, COALESCE(t.requests, 0) AS requests, COALESCE(t.unchanged, 0) AS unchanged, "
    "COALESCE(t.bytes, 0) AS bytes, COALESCE(t.failures, 0) AS failures, t.root_serial, t.in_step_at, "
    "t.alarm FROM source s LEFT JOIN sync_state t ON t.source_id = s.id "
    "WHERE s.kind = 'upstream' ORDER BY s.name"
)
_LOWEST_DUE = text(
    "SELECT serial FROM sync_due WHERE source_id = :source AND serial IS NOT NULL ORDER BY serial LIMIT 1"
)
_LEFT = text(
    "SELECT count(*) FROM (SELECT 1 FROM sync_due WHERE source_id = :source LIMIT :bound) AS waiting"
)
_HIDDEN = text("SELECT value FROM counter WHERE name = :name")
_REVIEW = text(
    "SELECT rule, count(*) AS number FROM "
    "(SELECT rule FROM hold WHERE index_id = :index AND review LIMIT :bound) AS waiting GROUP BY rule"
)
_OLDEST_REVIEW = text("SELECT since FROM hold WHERE index_id = :index AND review ORDER BY since LIMIT 1")
# What was rejected stays in the table; ``ix_hold_held`` has only what is held.
_OLDEST = text("SELECT since FROM hold WHERE index_id = :index AND state = 'held' ORDER BY since LIMIT 1")
_OVERDUE = text(
    "SELECT until FROM hold WHERE until IS NOT NULL AND until <= :now AND index_id = :index "
    "ORDER BY until LIMIT 1"
)
_DUE = text(
    "SELECT count(*) FROM (SELECT 1 FROM file WHERE due_at IS NOT NULL AND due_at <= :now LIMIT :bound) "
    "AS due"
)
_OLDEST_DUE = text(
    "SELECT due_at FROM file WHERE due_at IS NOT NULL AND due_at <= :now ORDER BY due_at LIMIT 1"
)


def _one(session: Session, statement: Any, **values: Any) -> int | None:
    value: int | None = session.execute(statement, values).scalar()
    return value


def _age(since: Microseconds | None, at: Microseconds) -> float:
    return 0.0 if since is None else max(0, at - since) / 1e6
