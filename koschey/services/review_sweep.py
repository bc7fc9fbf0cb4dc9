"""Forgets what reviewing leaves behind: old comparisons, which are made again, and results of decisions."""

from __future__ import annotations

from sqlalchemy import text

from koschey.domain.policy import DAY
from koschey.stores.database import Database, now

#: Days for which a comparison is kept, and what became of each version of a decision about many; the
#: decisions themselves and their events stay.
COMPARISONS_KEPT_DAYS, RESULTS_KEPT_DAYS = 90, 400


def sweep(database: Database) -> None:
    """Forget what is older. Raises: StoreUnavailable."""
    at = now()
    with database.transaction() as tx:
        tx.connection.execute(_COMPARISONS, {"before": at - COMPARISONS_KEPT_DAYS * DAY})
        ended = {"before": at - RESULTS_KEPT_DAYS * DAY}
        tx.connection.execute(_RESULTS, ended)
        tx.connection.execute(_BULKS, ended)


_COMPARISONS = text("DELETE FROM comparison WHERE made_at < :before")
_ENDED = "finished_at IS NOT NULL AND finished_at < :before"
_RESULTS = text(f"DELETE FROM bulk_result WHERE bulk_id IN (SELECT id FROM bulk WHERE {_ENDED})")  # noqa: S608 - our own words
_BULKS = text(f"DELETE FROM bulk WHERE {_ENDED}")  # noqa: S608 - our own words
