"""How the queues stand, for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from koschey.domain.page import Microseconds
from koschey.errors import StoreUnavailable
from koschey.jobs.schedule_entry import Periodic


@dataclass(frozen=True)
class LaneStanding:
    """A queue. ``failed``: jobs that are kept because they failed; None: nobody keeps them."""

    name: str
    waiting: int
    failed: int | None = None


@dataclass(frozen=True)
class WorkerStanding:
    """A worker process."""

    name: str
    doing: str
    """The job's name, or ``waits``."""
    seen_at: Microseconds | None


@dataclass(frozen=True)
class TaskStanding:
    """A task that is done from time to time. ``ran_at``: as far as anybody knows."""

    name: str
    seconds: float
    ran_at: Microseconds | None = None


@dataclass(frozen=True)
class QueueStanding:
    """All queues that this process knows of."""

    shared: bool
    """Whether they are those of all machines."""
    lanes: tuple[LaneStanding, ...]
    workers: tuple[WorkerStanding, ...] = ()
    periodic: tuple[TaskStanding, ...] = field(default=())
    problem: str = ""
    """Why nothing is known; empty when it is."""


class Standing(Protocol):
    """A queue that says how it stands."""

    def standing(self, periodic: Sequence[Periodic]) -> QueueStanding:
        """Raises: StoreUnavailable."""


def standing_of(queue: Standing, periodic: Sequence[Periodic]) -> QueueStanding:
    """How a queue stands; a queue that cannot be asked is one with a problem."""
    try:
        return queue.standing(periodic)
    except StoreUnavailable as error:
        return QueueStanding(shared=True, lanes=(), problem=error.problem)
