"""Jobs: named work with plain arguments, and the runner that does it in threads of this process."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from koschey.errors import KoscheyError, StoreUnavailable

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

Argument = int | str
Task = Callable[..., None]


class Queue(Protocol):
    """Takes jobs. A job may be lost, and is then derived again from the database; it is idempotent."""

    def submit(self, task: str, *arguments: Argument) -> None:
        """Do ``task`` soon; the same job that still waits or runs is not taken twice."""

    def check(self) -> None:
        """Prove that jobs can be taken. Raises: StoreUnavailable."""

    def close(self) -> None:
        """Take nothing more, and leave what waits."""


class ThreadQueue:
    """A bounded queue and a few threads, started with the first job (a forked worker starts its own)."""

    def __init__(self, tasks: Mapping[str, Task], *, threads: int = 4, limit: int = 10_000) -> None:
        self._tasks = tasks
        self._threads = threads
        self._limit = limit
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        """Empty and without threads: a forked child has its parent's jobs, but nobody who does them."""
        self._waiting: queue.Queue[tuple[str, tuple[Argument, ...]] | None] = queue.Queue(self._limit)
        self._known: set[tuple[str, tuple[Argument, ...]]] = set()
        self._guard = threading.Lock()
        self._started = False

    def submit(self, task: str, *arguments: Argument) -> None:
        """See ``Queue``. A full queue drops the job, and says so."""
        job = (task, arguments)
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
            log.warning("job.dropped", task=task, arguments=arguments)

    def check(self) -> None:
        """See ``Queue``."""
        if self._waiting.full():
            raise StoreUnavailable("queue", "it is full")

    def close(self) -> None:
        """See ``Queue``."""
        with self._guard:
            started, self._started = self._started, True
        if started:
            for _ in range(self._threads):
                try:
                    self._waiting.put_nowait(None)
                except queue.Full:
                    return  # the threads are daemons and go with the process

    def _work(self) -> None:
        while (job := self._waiting.get()) is not None:
            task, arguments = job
            try:
                self._tasks[task](*arguments)
            except KoscheyError as error:
                log.warning("job.failed", task=task, arguments=arguments, problem=str(error))
            except Exception:
                log.exception("job.crashed", task=task, arguments=arguments)
            finally:
                with self._guard:
                    self._known.discard(job)
