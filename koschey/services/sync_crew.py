"""Many threads that work through what is waiting; what came of it is handed over in batches."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

#: How long who records waits for more to come, in seconds. Waking up for each would cost more than the work.
_GATHER_SECONDS = 0.05
_PAUSE_SECONDS = 0.01


class Crew[T, R]:
    """Works through ``waiting``, an iterator that only one thread at a time is in.

    Args:
        number: how many threads of ``pool`` work.
        most: results that may wait to be taken; while there are more, nothing new is begun.
    """

    def __init__(
        self, pool: ThreadPoolExecutor, number: int, work: Callable[[T], R], waiting: Iterator[T], most: int
    ) -> None:
        self._work = work
        self._waiting = waiting
        self._most = most
        self._taking = threading.Lock()
        self._landed: deque[R] = deque()
        self._halted = False
        self._working = number
        self._ended = threading.Event()
        self._futures = [pool.submit(self._run) for _ in range(number)]

    def landed(self) -> list[R] | None:
        """What came of some, after waiting a moment for it; None at the end. Raises: what ``work`` raises."""
        ended = self._ended.wait(_GATHER_SECONDS)
        results = self._taken()
        if not results and ended:
            for future in self._futures:
                future.result()
            return None
        return results

    def stop(self) -> list[R]:
        """Begin nothing new, wait for what is under way, and return what came of it."""
        self._halted = True
        self._ended.wait()
        return self._taken()

    def _taken(self) -> list[R]:
        results = []
        while self._landed:
            results.append(self._landed.popleft())
        return results

    def _run(self) -> None:
        try:
            while not self._halted:
                with self._taking:
                    item = next(self._waiting, _NOTHING)
                if isinstance(item, _Nothing):
                    return
                self._landed.append(self._work(item))
                while len(self._landed) > self._most and not self._halted:
                    time.sleep(_PAUSE_SECONDS)
        except BaseException:
            self._halted = True
            raise
        finally:
            with self._taking:
                self._working -= 1
                if not self._working:
                    self._ended.set()


class _Nothing:
    """The end of what is waiting."""


_NOTHING = _Nothing()
