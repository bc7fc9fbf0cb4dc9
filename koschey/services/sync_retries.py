"""When a sync asks again for what it could not have, and how many things wait for that."""

from __future__ import annotations

from sqlalchemy import func, select

from koschey.domain.page import Microseconds
from koschey.stores.database import Database
from koschey.stores.sync_rows import SyncDue, SyncFile

#: Later than any time (microseconds).
FOREVER: Microseconds = 2**62
#: So much of a problem is kept.
LONGEST_PROBLEM = 500
#: What could not be had twice is asked for again by the schedule after so long (microseconds), then after
#: twice that, up to a day.
_FIRST_PAUSE: Microseconds = 300_000_000
_LONGEST_PAUSE: Microseconds = 86_400_000_000
_DOUBLINGS = 8
#: What a failure sets in the row of what is due, with the parameters ``problem`` and ``at``.
FAILED_AGAIN = (
    "attempts = attempts + 1, problem = :problem, retry_at = :at + "
    f"CASE WHEN attempts = 0 THEN 0 WHEN attempts > {_DOUBLINGS} THEN {_LONGEST_PAUSE} "
    f"ELSE CAST({_FIRST_PAUSE} AS BIGINT) * (1 << (attempts - 1)) END"
)


def count_due(
    database: Database, table: type[SyncDue | SyncFile], source_id: int, by: Microseconds = FOREVER
) -> int:
    """How many rows of an upstream are due, without those that are left alone until after ``by``."""
    query = select(func.count()).select_from(table)
    query = query.where(table.source_id == source_id, func.coalesce(table.retry_at, 0) <= by)
    with database.reading() as session:
        return int(session.execute(query).scalar_one())
