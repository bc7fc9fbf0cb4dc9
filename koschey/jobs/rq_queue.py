"""Jobs in Redis, for worker processes (RQ). Whatever Redis loses is derived again from the database.

``redis`` and ``rq`` are imported where they are used: a web worker without Redis never carries them.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

import structlog

from koschey.errors import StoreUnavailable
from koschey.jobs.queue import Argument, Job, Queue
from koschey.jobs.schedule_entry import Periodic
from koschey.jobs.standing import LaneStanding, QueueStanding, TaskStanding, WorkerStanding

if TYPE_CHECKING:
    import redis
    import rq

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Names of RQ's queues: quick work that concerns everything, and slow work on single files.
SWEEPS, FILES = "koschey-sweeps", "koschey-files"
#: What a worker calls with a task's name and arguments.
RUN = "koschey.jobs.tasks.run"
#: Seconds that Redis keeps what is known of a failed job, for people; it is in the log as well.
FAILURE_TTL = 86_400
_RAN = "koschey:ran:"
_LONGEST_HANDED = 10_000
_QUIET_SECONDS = 30.0
#: Seconds for which Redis may say that the job of a killed worker runs.
_DEAD_SECONDS = 60.0


@dataclass(frozen=True)
class Terms:
    """How a task is queued. Times in seconds."""

    queue: str
    timeout: int
    """How long a run may take before its process is ended."""
    ttl: int
    """How long it may wait; what waits longer is derived again."""
    slot: float = 0.0
    """Of a task that runs again and again: one job for each such time, so that no dead one is in the way."""
    here: bool = False
    """Whether a process that submits it does it itself, and only ``put`` queues it."""
    alone: bool = False
    """Whether the task itself sees to it that it runs once. Who submits it knows then that it does not run,
    whatever Redis says: of a worker that was killed, that is the old state for a minute and more."""


class RqQueue:
    """Hands jobs over to Redis in a thread of its own, because ``submit`` is called on event loops.

    Without Redis a job is dropped, with one log line in half a minute: the sweeps submit it again.

    Args:
        local: does what must not hang on a worker: the tasks without terms.
    """

    def __init__(self, redis_url: str, local: Queue, terms: Mapping[str, Terms]) -> None:
        self._redis_url = redis_url
        self._local = local
        self._terms = terms
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        """A forked child shares neither its parent's connections nor its thread."""
        self._handed: queue.Queue[Job] = queue.Queue(_LONGEST_HANDED)
        self._client: redis.Redis | None = None
        self._guard = threading.Lock()
        self._started = False
        self._said = -_QUIET_SECONDS

    def submit(self, task: str, *arguments: Argument) -> None:
        """See ``Queue``."""
        if task not in self._terms or self._terms[task].here:
            self._local.submit(task, *arguments)
            return
        with self._guard:
            if not self._started:
                self._started = True
                threading.Thread(target=self._hand_over, name="rq", daemon=True).start()
        try:
            self._handed.put_nowait((task, arguments))
        except queue.Full:
            self._complain(1, "too many wait to be handed over")

    def put(self, task: str, *arguments: Argument) -> bool:
        """Enqueue a job now; False: the same one waits or runs already. Raises: StoreUnavailable."""
        import redis

        try:
            return self._enqueued(self._terms[task], task, arguments)
        except redis.RedisError as error:
            raise StoreUnavailable("queue", f"Redis does not answer: {type(error).__name__}") from error

    def drain(self, seconds: float) -> None:
        """Wait until everything submitted is handed over or dropped, for so many seconds at the most."""
        with self._handed.all_tasks_done:
            self._handed.all_tasks_done.wait_for(lambda: not self._handed.unfinished_tasks, seconds)

    def note(self, task: str) -> None:
        """Record that a task was just done, for ``ran_at``; without Redis nothing is recorded."""
        import redis

        with contextlib.suppress(redis.RedisError):
            self.client.set(_RAN + task, repr(time.time()), ex=FAILURE_TTL)

    def ran_at(self, task: str) -> float | None:
        """When a worker last did a task (seconds since 1970), as far as Redis knows. Raises: RedisError."""
        said: Any = self.client.get(_RAN + task)
        return None if said is None else float(said)

    def check(self) -> None:
        """See ``Queue``."""
        import redis

        try:
            with redis.Redis.from_url(self._redis_url, socket_timeout=2, socket_connect_timeout=2) as client:
                client.ping()
        except (redis.RedisError, ValueError) as error:
            raise StoreUnavailable("queue", f"Redis does not answer: {type(error).__name__}") from error
        self._local.check()

    def standing(self, periodic: Sequence[Periodic]) -> QueueStanding:
        """How the queues of all machines stand, and who works on them. Raises: StoreUnavailable."""
        import redis
        import rq

        try:
            lanes = []
            for name in (SWEEPS, FILES):
                jobs = self.rq(name)
                lanes.append(LaneStanding(name, jobs.count, jobs.failed_job_registry.count))
            workers = [
                WorkerStanding(
                    name=worker.name,
                    doing=worker.get_current_job_id() or "waits",
                    seen_at=_microseconds(worker.last_heartbeat),
                )
                for worker in rq.Worker.all(connection=self.client)
            ]
            tasks = [TaskStanding(p.task, p.seconds, _at(self.ran_at(p.task))) for p in periodic]
        except redis.RedisError as error:
            raise StoreUnavailable("queue", f"Redis does not answer: {type(error).__name__}") from error
        return QueueStanding(shared=True, lanes=tuple(lanes), workers=tuple(workers), periodic=tuple(tasks))

    def close(self) -> None:
        """See ``Queue``: what was submitted is still handed over, if Redis takes it at once."""
        self.drain(2.0)
        self._local.close()

    @property
    def client(self) -> redis.Redis:
        """The connection to Redis, opened when it is first used."""
        import redis

        if self._client is None:
            self._client = redis.Redis.from_url(
                self._redis_url, socket_timeout=5, socket_connect_timeout=2, health_check_interval=30
            )
        return self._client

    def rq(self, name: str) -> rq.Queue:
        """One of RQ's queues, without pickle."""
        import rq
        from rq.serializers import JSONSerializer

        return rq.Queue(name, connection=self.client, serializer=JSONSerializer)

    def _enqueued(self, terms: Terms, task: str, arguments: tuple[Argument, ...]) -> bool:
        from rq.exceptions import DuplicateJobError
        from rq.job import JobStatus

        jobs = self.rq(terms.queue)
        usual = job_id = job_name(terms, task, arguments, time.time())
        for _ in range(3):
            try:
                jobs.enqueue_call(
                    RUN,
                    args=(task, *arguments),
                    job_id=job_id,
                    unique=True,
                    timeout=terms.timeout,
                    ttl=terms.ttl,
                    result_ttl=0,
                    failure_ttl=FAILURE_TTL,
                    description=job_id,
                )
            except DuplicateJobError:
                known = jobs.fetch_job(job_id)
                status = None if known is None else known.get_status()
                if terms.alone and status == JobStatus.STARTED and job_id == usual:
                    job_id = f"{usual}-{int(time.time() / _DEAD_SECONDS)}"
                elif known is not None and status not in (JobStatus.FAILED, JobStatus.STOPPED):
                    return False
                elif known is not None:
                    # What failed is no reason not to try again. Runs of it whose own time to live is over are
                    # still listed for a minute, and RQ could not delete a job with one that it does not find.
                    self.client.delete(known.execution_registry.key)
                    known.delete()
            else:
                return True
        return False

    def _hand_over(self) -> None:
        handed = self._handed
        while True:
            task, arguments = handed.get()
            lost = 0
            try:
                self.put(task, *arguments)
            except StoreUnavailable as error:
                lost = 1 + self._drop_all(handed)
                self._complain(lost, error.problem)
            except Exception:
                log.exception("job.not_queued", task=task, arguments=arguments)
            finally:
                for _ in range(lost or 1):
                    handed.task_done()

    @staticmethod
    def _drop_all(handed: queue.Queue[Job]) -> int:
        """What waits would only wait for the next timeout; returns how many those were."""
        dropped = 0
        with contextlib.suppress(queue.Empty):
            while True:
                handed.get_nowait()
                dropped += 1
        return dropped

    def _complain(self, jobs: int, problem: str) -> None:
        if time.monotonic() - self._said >= _QUIET_SECONDS:
            self._said = time.monotonic()
            log.warning("job.dropped", jobs=jobs, problem=problem)


def _at(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1_000_000)


def _microseconds(moment: Any) -> int | None:
    """A time of RQ, which is UTC, said or not."""
    if moment is None:
        return None
    seconds: float = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    return round(seconds * 1_000_000)


def job_name(terms: Terms, task: str, arguments: tuple[Argument, ...], at: float) -> str:
    """The id of a job: the same for the same job, so that RQ takes it once. ``at``: seconds since 1970."""
    parts = [task, *map(str, arguments)]
    if terms.slot:
        parts.append(str(int(at / terms.slot)))
    return "-".join(parts)
