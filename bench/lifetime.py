"""How fast Koschey starts on what it has, and what memory it takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from bench.ground import Ground
from bench.processes import memory
from bench.report import Goal, Row

_SETTLE_SECONDS = 2.0


def start_up(ground: Ground) -> Iterator[Row]:
    """From the start of the command to the last byte of the first page, on existing data."""
    ground.koschey()
    seconds = [ground.restarted().first_page for _ in range(ground.effort.starts)]
    yield Row("start to first page", "s", None, statistics.median(seconds), goal=Goal("limit", 1.5, 0.5))


def memory_use(ground: Ground) -> Iterator[Row]:
    """All processes of Koschey: after a start and one page, and the highest of this run so far.

    Pages that processes share count in each of them in RSS, and once in PSS.
    """
    pid = ground.restarted().pid
    time.sleep(_SETTLE_SECONDS)
    idle, peak = memory(pid), ground.peak.peak
    yield Row("memory idle, RSS", "MiB", None, idle.rss, goal=Goal("limit", 160))
    yield Row("memory peak, RSS", "MiB", None, peak.rss, goal=Goal("limit", 260))
    yield Row("memory idle, PSS", "MiB", None, idle.pss)
    yield Row("memory peak, PSS", "MiB", None, peak.pss)
