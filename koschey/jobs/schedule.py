"""Periodic jobs: one process of all does each, and tells no queue what it can derive again."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence

import structlog

from koschey.errors import KoscheyError
from koschey.jobs.queue import Queue
from koschey.jobs.schedule_entry import Periodic
from koschey.stores.locks import Locks

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Whoever has this lock submits the periodic jobs, a web process or a ``koschey worker``.
LOCK = "schedule"
#: Seconds until another process takes over from one that died, at the most.
TAKE_OVER_SECONDS = 10.0


class Schedule:
    """A thread that submits periodic jobs while it holds the lock of the schedule.

    Every process has one; the lock sees to it that one of them works, and another takes over when
    that process dies. A forked child starts its own.
    """

    def __init__(self, queue: Queue, locks: Locks, periodic: Sequence[Periodic], *, lock: str = LOCK) -> None:
        self._queue = queue
        self._locks = locks
        self._periodic = periodic
        self._lock = lock
        self._stopped = threading.Event()

    @property
    def periodic(self) -> Sequence[Periodic]:
        """What this process submits while it leads."""
        return self._periodic

    def start(self) -> None:
        """Begin, in this process and in each that is forked from it."""
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def close(self) -> None:
        """Submit nothing more."""
        self._stopped.set()

    def _begin(self) -> None:
        if not self._stopped.is_set():
            threading.Thread(target=self._run, name="schedule", daemon=True).start()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with self._locks.hold(self._lock, 0.0):
                    self._lead()
            except KoscheyError:
                pass  # another process leads, or the database is away
            except Exception:
                log.exception("schedule.crashed")
            self._stopped.wait(TAKE_OVER_SECONDS)

    def _lead(self) -> None:
        start = time.monotonic()
        due = {p.task: start + (p.seconds if p.first is None else p.first) for p in self._periodic}
        while not self._stopped.wait(1.0):
            for entry in self._periodic:
                if time.monotonic() >= due[entry.task]:
                    due[entry.task] = time.monotonic() + entry.seconds
                    self._queue.submit(entry.task)
