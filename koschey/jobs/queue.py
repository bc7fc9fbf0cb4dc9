"""Jobs: named work with plain arguments, and the runner that does it in threads of this process."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from koschey.errors import KoscheyError, StoreUnavailable
from koschey.jobs.schedule_entry import Periodic
from koschey.jobs.standing import LaneStanding, QueueStanding, TaskStanding

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

Argument = int | str
Task = Callable[..., object]
Job = tuple[str, tuple[Argument, ...]]


class Queue(Protocol):
    """Takes jobs. A job may be lost, and is then derived again from the database; it is idempotent."""

    def submit(self, task: str, *arguments: Argument) -> None:
        """Do ``task`` soon; the same job that still waits or runs is not taken twice. Never blocks."""

    def check(self) -> None:
        """Prove that jobs can be taken. Raises: StoreUnavailable."""

    def standing(self, periodic: Sequence[Periodic]) -> QueueStanding:
        """How it stands, for people, beside what is done from time to time. Raises: StoreUnavailable."""

    def close(self) -> None:
        """Take nothing more, and leave what waits."""


@dataclass(frozen=True)
class Lane:
    """Tasks that share threads, and so keep nobody waiting but each other."""

    tasks: frozenset[str]
    threads: int


class ThreadQueue:
    """Bounded queues and a few threads each, started with the first job (a forked worker starts its own).

    Args:
        threads: for the tasks that no lane has.
        limit: jobs that may wait in each lane.
    """

    def __init__(
        self,
        tasks: Mapping[str, Task],
        *,
        threads: int = 4,
        lanes: Sequence[Lane] = (),
        limit: int = 10_000,
    ) -> None:
        self._tasks = tasks
        self._plan = (*lanes, Lane(frozenset(), threads))
        self._limit = limit
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        """Empty and without threads: a forked child has its parent's jobs, but nobody who does them."""
        self._closing = False
        self._lanes = [_Threads(self._do, lane.threads, self._limit) for lane in self._plan]

    def submit(self, task: str, *arguments: Argument) -> None:
        """See ``Queue``. A full lane drops the job, and says so."""
        lanes = (threads for lane, threads in zip(self._plan, self._lanes, strict=True) if task in lane.tasks)
        next(lanes, self._lanes[-1]).submit((task, arguments))

    def check(self) -> None:
        """See ``Queue``."""
        if any(threads.full for threads in self._lanes):
            raise StoreUnavailable("queue", "it is full")

    def standing(self, periodic: Sequence[Periodic]) -> QueueStanding:
        """How its lanes stand; what is done from time to time is nobody's record here."""
        names = [", ".join(sorted(lane.tasks)) or "everything else" for lane in self._plan]
        lanes = zip(names, self._lanes, strict=True)
        return QueueStanding(
            shared=False,
            lanes=tuple(LaneStanding(name, threads.waiting) for name, threads in lanes),
            periodic=tuple(TaskStanding(entry.task, entry.seconds) for entry in periodic),
        )

    def close(self) -> None:
        """See ``Queue``. A job that runs may lose what it works with; it is derived again."""
        self._closing = True
        for threads in self._lanes:
            threads.close()

    def _do(self, job: Job) -> None:
        task, arguments = job
        try:
            self._tasks[task](*arguments)
        except Exception as error:
            known = isinstance(error, KoscheyError)
            if self._closing:
                problem = str(error) if known else type(error).__name__
                log.info("job.left", task=task, arguments=arguments, problem=problem)
            elif known:
                log.warning("job.failed", task=task, arguments=arguments, problem=str(error))
            else:
                log.exception("job.crashed", task=task, arguments=arguments)


class _Threads:
    """One lane at work."""

    def __init__(self, do: Callable[[Job], None], threads: int, limit: int) -> None:
        self._do = do
        self._threads = threads
        self._waiting: queue.Queue[Job | None] = queue.Queue(limit)
        self._known: set[Job] = set()
        self._guard = threading.Lock()
        self._started = False
        self._closed = False

    @property
    def waiting(self) -> int:
        return self._waiting.qsize()

    @property
    def full(self) -> bool:
        return self._waiting.full()

    def submit(self, job: Job) -> None:
        with self._guard:
            if job in self._known:
                return
            self._known.add(job)
            if not self._started:
                self._started = True
                for number in range(self._threads):
                    threading.Thread(target=self._work, name=f"job-{number}", daemon=True).start()
        try:
            self._waiting.put_nowait(job)
        except queue.Full:
            with self._guard:
                self._known.discard(job)
            log.warning("job.dropped", task=job[0], arguments=job[1])

    def close(self) -> None:
        with self._guard:
            started, self._started, self._closed = self._started, True, True
        if started:
            for _ in range(self._threads):
                try:
                    self._waiting.put_nowait(None)
                except queue.Full:
                    return  # the threads are daemons and go with the process

    def _work(self) -> None:
        while (job := self._waiting.get()) is not None and not self._closed:
            try:
                self._do(job)
            finally:
                with self._guard:
                    self._known.discard(job)
