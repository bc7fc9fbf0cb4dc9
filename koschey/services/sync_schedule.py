"""Whose time for a sync has come, and whether one runs: queries, so that an idle process carries no more."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import text

from koschey.domain.page import Microseconds
from koschey.errors import Busy
from koschey.stores.database import Database, now
from koschey.stores.locks import Locks

#: A sync that gave a sign of life within so long (microseconds) runs; of another one its lock tells. It waits
#: for an upstream for longer without a sign, and one that was killed shall not be in the way for as long.
FRESH = 10_000_000
#: Seconds that a sync waits for its lock: as long as somebody may have it to see whether one runs.
LOCK_SECONDS = 2.0
#: Why one that was begun by a worker ended before it was through.
TIME_IS_UP = "its time is up; the next one goes on"
#: One that could not find out anything is begun again after so long (microseconds), or when it is due anyhow.
_AFTER_FAILURE: Microseconds = 300_000_000


def lock_name(source_id: int) -> str:
    """The lock that a sync of an upstream holds from its begin to its end, or its death."""
    return f"sync:{source_id}"


def runs(locks: Locks, source_id: int, phase: str | None, seen_at: Microseconds | None) -> bool:
    """Whether a sync runs now. Raises: StoreUnavailable.

    Args:
        phase: what it was said to be about last; None: it has ended.
        seen_at: its last sign of life.
    """
    if phase is None:
        return False
    if now() - (seen_at or 0) < FRESH:
        return True
    try:
        with locks.hold(lock_name(source_id), 0.0):
            return False
    except Busy:
        return True


def submit_due(database: Database, locks: Locks, submit: Callable[[str, int], None]) -> None:
    """Have workers sync the upstreams whose time has come, and go on with what a part was done of.

    A sync that ended because its upstream asked for peace goes on when that is over.

    Raises:
        StoreUnavailable: the database failed.
    """
    with database.reading() as session:
        values = {"now": now(), "time_is_up": TIME_IS_UP, "after_failure": _AFTER_FAILURE}
        due = session.execute(_DUE, values).all()
    for source_id, phase, seen_at in due:
        if not runs(locks, source_id, phase, seen_at):
            submit("sync_upstream", source_id)


# Name by name, nothing is due before a page is old enough or a name of a list was never looked at. Where the
# schedule begins none, it still goes on with what was begun by command and is no more than a part: its time
# was up, or the upstream asked for peace.
_DUE = text(
    "SELECT s.id, t.phase, t.seen_at FROM source s LEFT JOIN sync_state t ON t.source_id = s.id "
    "WHERE s.kind = 'upstream' AND s.mode <> 'proxy' AND s.paused_at IS NULL "
    "AND (s.sync_seconds > 0 OR t.outcome = 'paused' "
    "OR (t.outcome = 'continues' AND t.problem = :time_is_up)) "
    "AND COALESCE(t.paused_until, 0) <= :now "
    "AND (t.phase IS NOT NULL OR t.outcome IN ('continues', 'paused') "
    "OR (t.outcome = 'failed' AND COALESCE(t.ended_at, 0) < :now - :after_failure) "
    "OR COALESCE(t.ended_at, 0) < :now - s.sync_seconds * 1000000) "
    "AND (s.mode <> 'known' OR t.phase IS NOT NULL OR t.outcome IN ('continues', 'paused') OR EXISTS ("
    "SELECT 1 FROM project p WHERE p.source_id = s.id AND p.state = 'present' "
    "AND COALESCE(p.looked_at, 0) < :now - s.sync_seconds * 1000000) "
    "OR EXISTS (SELECT 1 FROM kept_name k WHERE k.source_id = s.id AND NOT EXISTS ("
    "SELECT 1 FROM project p WHERE p.source_id = s.id AND p.name = k.name)))"
)
