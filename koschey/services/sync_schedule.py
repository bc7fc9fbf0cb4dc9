"""Whose time for a sync has come: a query, so that an idle process carries no more than that."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import text

from koschey.stores.database import Database, now

#: A sync without a sign of life for so long (microseconds) has died.
DEAD = 120_000_000


def submit_due(database: Database, submit: Callable[[str, int], None]) -> None:
    """Have workers sync the upstreams whose time has come, and go on with what a part was done of.

    Raises:
        StoreUnavailable: the database failed.
    """
    with database.reading() as session:
        due = session.execute(_DUE, {"now": now(), "dead": DEAD}).scalars().all()
    for source_id in due:
        submit("sync_upstream", source_id)


# Name by name, nothing is due before a page is old enough or a name of a list was never looked at.
_DUE = text(
    "SELECT s.id FROM source s LEFT JOIN sync_state t ON t.source_id = s.id "
    "WHERE s.kind = 'upstream' AND s.mode <> 'proxy' AND s.sync_seconds > 0 "
    "AND s.paused_at IS NULL "
    "AND COALESCE(t.paused_until, 0) <= :now "
    "AND (t.phase IS NULL OR COALESCE(t.seen_at, 0) < :now - :dead) "
    "AND (t.outcome = 'continues' OR COALESCE(t.ended_at, 0) < :now - s.sync_seconds * 1000000) "
    "AND (s.mode <> 'known' OR t.outcome = 'continues' OR EXISTS (SELECT 1 FROM project p "
    "WHERE p.source_id = s.id AND p.state = 'present' "
    "AND COALESCE(p.looked_at, 0) < :now - s.sync_seconds * 1000000) "
    "OR EXISTS (SELECT 1 FROM kept_name k WHERE k.source_id = s.id AND NOT EXISTS ("
    "SELECT 1 FROM project p WHERE p.source_id = s.id AND p.name = k.name)))"
)
