"""Work that waits for a lull: done soon, but not beside the requests that caused it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_QUIET_SECONDS = 0.5
_LONGEST_SECONDS = 5.0


class Lull:
    """Collects numbers, and hands them on once none came for half a second, or after five at the latest.

    An installer asks for dozens of files at once; what is to be done about each of them afterwards would
    take the processor from the next one.
    """

    def __init__(self, work: Callable[[int], None]) -> None:
        self._work = work
        self._waiting: dict[int, None] = {}
        self._last = 0.0
        self._guard = threading.Lock()
        self._running = False
        self._stopped = threading.Event()

    def add(self, number: int) -> None:
        """Hand ``number`` on in the next lull; twice is once."""
        with self._guard:
            self._waiting[number] = None
            self._last = time.monotonic()
            if not self._running and not self._stopped.is_set():
                self._running = True
                threading.Thread(target=self._run, name="lull", daemon=True).start()

    def close(self) -> None:
        """Hand on nothing more."""
        self._stopped.set()

    def _run(self) -> None:
        begun = time.monotonic()
        while not self._stopped.wait(_QUIET_SECONDS / 5):
            at = time.monotonic()
            with self._guard:
                if at - self._last < _QUIET_SECONDS and at - begun < _LONGEST_SECONDS:
                    continue
                numbers, self._waiting = list(self._waiting), {}
                self._running = False
            for number in numbers:
                self._work(number)
            return
