"""Turns among the threads of a process, in the order in which they came."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """So many threads at once, and the others in a queue.

    ``threading.Semaphore`` has none: who gives a turn back and wants another one overtakes those who wait.
    In a forked child nobody has a turn and nobody waits: the threads of its parent are not there.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._mutex = threading.Lock()
        self._free = self._at_once
        self._waiting: deque[threading.Lock] = deque()

    @contextmanager
    def turn(self, patience: float) -> Iterator[bool]:
        """A turn, until the block ends; False: there was none within ``patience`` seconds."""
        mine = self._take(patience)
        try:
            yield mine
        finally:
            if mine:
                self._give()

    def _take(self, patience: float) -> bool:
        with self._mutex:
            if self._free:
                self._free -= 1
                return True
            mine = threading.Lock()
            mine.acquire()  # until somebody who is ready hands over
            self._waiting.append(mine)
        if mine.acquire(timeout=patience):
            return True
        with self._mutex:
            if mine in self._waiting:
                self._waiting.remove(mine)
                return False
        return True  # it came at the last moment

    def _give(self) -> None:
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1
