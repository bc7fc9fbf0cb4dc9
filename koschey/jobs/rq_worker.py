"""RQ's worker and RQ's cron as Koschey runs them: without pickle, and not ended by Redis going away.

Imported by ``koschey worker`` only.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any

import redis
import structlog
from rq import Worker
from rq import worker_registration as registration
from rq.cron import CronJob, CronScheduler
from rq.exceptions import SchedulerNotFound, StopRequested
from rq.serializers import JSONSerializer
from rq.worker import BaseWorker

from koschey.errors import KoscheyError
from koschey.jobs.rq_queue import FILES, SWEEPS, RqQueue
from koschey.jobs.schedule import LOCK, TAKE_OVER_SECONDS
from koschey.jobs.schedule_entry import Periodic
from koschey.stores.locks import Locks

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds without a sign of life after which a worker counts as dead.
WORKER_TTL = 60
#: Seconds between two signs of life while a job runs.
_MONITORING = 10
#: Seconds between two looks for jobs whose worker died.
_MAINTENANCE = 30
#: Seconds between two tries to reach Redis.
_AGAIN = 2.0


class _Worker(Worker):
    """Works until SIGTERM; SIGINT is the terminal's word to the parent, who decides."""

    stopping = False
    max_connection_wait_time = 5

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Finish the job that runs, then end; a second signal ends that as well."""
        self.stopping = True
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    def set_shutdown_requested_date(self) -> None:
        """For people only; without Redis nobody reads it."""
        with contextlib.suppress(redis.RedisError):
            super().set_shutdown_requested_date()  # type: ignore[no-untyped-call]

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """A sign of life, and the registration again if Redis was emptied."""
        super().heartbeat(timeout, pipeline)
        if self.stopping and not self._stop_requested:
            raise StopRequested  # again: what the signal interrupted may have swallowed it
        if pipeline is None and not self.connection.hexists(self.key, "birth"):
            self.connection.hset(self.key, mapping=self.serialize())
            registration.register(self)

    def _install_signal_handlers(self) -> None:
        signal.signal(signal.SIGTERM, self.request_stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def work(redis_url: str, queues: Sequence[str], *, burst: bool) -> None:
    """Do jobs of those queues, the first ones first: until SIGTERM, or with ``burst`` until there are none.

    Raises: RedisError: with ``burst`` only; otherwise Redis is waited for.
    """
    for name in ("rq.worker", "rq.queue", "rq.job", "rq.registry"):
        logging.getLogger(name).setLevel(logging.WARNING)
    stopping = False
    while not stopping:
        worker = None
        try:
            worker = _Worker(
                list(queues),
                connection=redis.Redis.from_url(redis_url, socket_connect_timeout=5),
                serializer=JSONSerializer,
                worker_ttl=WORKER_TTL,
                job_monitoring_interval=_MONITORING,
                maintenance_interval=_MAINTENANCE,
                log_job_description=False,
            )
            worker.work(burst=burst, logging_level="WARNING")
        except redis.RedisError as error:
            if burst:
                raise
            log.warning("worker.waits", problem=f"Redis does not answer: {type(error).__name__}")
        except StopRequested:
            stopping = True
        if worker is not None:
            stopping = stopping or worker.stopping
            if worker.horse_pid:
                worker.wait_for_horse()  # Redis went away while it worked: it goes on, and nothing beside it
        if burst or stopping:
            return
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(_AGAIN)


class _Job(CronJob):
    """A periodic job that goes into the queue as every other: as JSON, and once for each time slot."""

    def __init__(self, queue: RqQueue, entry: Periodic) -> None:
        super().__init__(SWEEPS, func_name=entry.task, interval=int(entry.seconds))
        self._queue = queue

    def enqueue(self, connection: Any) -> Any:
        """Submit it now."""
        self._queue.put(self.func_name)


class _Cron(CronScheduler):
    """RQ's scheduler of periodic jobs."""

    def register_death(self, pipeline: Any = None) -> None:
        """Say goodbye to a Redis that may be away, or may have forgotten us."""
        with contextlib.suppress(redis.RedisError, SchedulerNotFound):
            super().register_death(pipeline)

    def _install_signal_handlers(self) -> None:
        signal.signal(signal.SIGTERM, self._request_stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def schedule(queue: RqQueue, locks: Locks, periodic: Sequence[Periodic]) -> None:
    """Submit periodic jobs until SIGTERM, while no other process of all has the schedule."""
    logging.getLogger("rq.cron").setLevel(logging.WARNING)
    while True:
        pause = _AGAIN
        try:
            with locks.hold(LOCK, 0.0):
                cron = _Cron(queue.client)
                cron.get_jobs().extend(_Job(queue, entry) for entry in periodic)
                cron.start()  # type: ignore[no-untyped-call]
                return
        except KoscheyError:
            pause = TAKE_OVER_SECONDS  # another one has it, or the database or Redis is away
        except redis.RedisError:
            pass
        except StopRequested:
            return
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(pause)


def problem(queue: RqQueue, *, hostname: str, longest_lag: float) -> str | None:
    """What keeps this machine's workers from working; None when one is alive and the sweeps are done.

    Args:
        longest_lag: seconds since the last sweep that are still well.
    """
    try:
        workers = [worker for worker in Worker.all(connection=queue.client) if worker.hostname == hostname]
        swept = queue.ran_at("release_due")
    except redis.RedisError as error:
        return f"Redis does not answer: {type(error).__name__}"
    if not any(_alive(worker) for worker in workers):
        return "no worker is alive on this machine"
    if swept is None or time.time() - swept > longest_lag:
        return f"the last sweep was not within {longest_lag:g} seconds"
    return None


def _alive(worker: BaseWorker) -> bool:
    beat = worker.last_heartbeat
    if beat is None or datetime.now(UTC) - beat > timedelta(seconds=2 * WORKER_TTL):
        return False
    try:
        os.kill(int(worker.pid or 0), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's, and alive
    return True


def answers(queue: RqQueue) -> bool:
    """Whether Redis answers now."""
    try:
        queue.client.ping()
    except redis.RedisError:
        return False
    return True


#: What each kind of child works on. One has the sweeps to itself: slow files keep no release waiting.
SWEEPERS, WORKERS = (SWEEPS,), (SWEEPS, FILES)
