"""What jobs do: the name of each task, and the service that does it.

Services of rare tasks are loaded when there is something for them to do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import text

from koschey.domain.policy import DAY
from koschey.jobs import tasks as jobs
from koschey.jobs.queue import Task
from koschey.services.attempts import Attempts
from koschey.services.hourly import Rollup
from koschey.services.sweeps import Sweeps
from koschey.services.sync_schedule import submit_due
from koschey.stores.database import Database
from koschey.web.current import Koschey

if TYPE_CHECKING:
    from koschey.services.telling import Telling


def all_tasks(
    koschey: Koschey, *, sweeps: Sweeps, attempts: Attempts, rollup: Rollup, telling: Callable[[], Telling]
) -> dict[str, Task]:
    """Every task by its name.

    Args:
        koschey: the services that do them.
        sweeps, attempts, rollup: those that nothing else asks for.
        telling: makes the one that sends mail.
    """
    database = koschey.database
    frequent = jobs.make_tasks(
        koschey.catalog,
        koschey.checking,
        sweeps,
        koschey.usage,
        koschey.root_builder,
        attempts,
        koschey.store,
        koschey.settings.file_deadline,
    )
    storage = jobs.storage_tasks(koschey.orphans, koschey.tallies, koschey.eviction)
    rare: dict[str, Task] = {
        "count_hourly": rollup.run,
        "sweep_deleted": lambda: _purge(koschey),
        "sync_due": lambda: submit_due(database, koschey.locks, koschey.queue.submit),
        "sync_upstream": lambda source_id: koschey.sync.scheduled(source_id),
        "sync_asked": lambda source_id: koschey.sync.asked(source_id),
        "settle_asks": _if_any(database, "ask", lambda: koschey.asks.settle()),
        "decide_bulk": lambda bulk_id: koschey.bulk.run(bulk_id),
        "resume_bulk": _if_any(database, "bulk", lambda: koschey.bulk.resume()),
        "sweep_review": lambda: _sweep_review(database),
        "compare_files": lambda before, after: koschey.comparisons.make(before, after),
        "tell": _if_any(database, "ask", lambda: telling().tell()),
    }
    return frequent | storage | rare


def _if_any(database: Database, table: str, task: Task) -> Task:
    """``task``, where its table has a row at all: what few deployments use is not loaded by the others."""
    one = text(f"SELECT 1 FROM {table} LIMIT 1")  # noqa: S608 - our own names

    def run() -> None:
        with database.reading() as session:
            if session.scalar(one) is None:
                return
        task()

    return run


def _purge(koschey: Koschey) -> None:
    while koschey.projects.purge(round(koschey.settings.deleted_days * DAY)):
        pass


def _sweep_review(database: Database) -> None:
    from koschey.services.review_sweep import sweep  # once in an hour

    sweep(database)
