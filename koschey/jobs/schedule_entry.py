"""What is done from time to time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Periodic:
    """A task without arguments and the seconds between two runs.

    ``first``: seconds from the start to the first run; None: one whole period.
    """

    task: str
    seconds: float
    first: float | None = None
