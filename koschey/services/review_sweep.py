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
        tx.connection.execute(_BULKS, {"before": at - RESULTS_KEPT_DAYS * DAY})


_COMPARISONS = text("DELETE FROM comparison WHERE made_at < :before")
# Their results go with them.
_BULKS = text("DELETE FROM bulk WHERE finished_at IS NOT NULL AND finished_at < :before")
