"""One flight: work that many want at once is done by one of them, in one of all processes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from koschey.errors import Busy
from koschey.stores.locks import Locks


class _Flight:
    def __init__(self) -> None:
        self.done = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None


class Flights:
    """Runs work under a key once for all threads that ask meanwhile, under a lock for all processes."""

    def __init__(self, locks: Locks) -> None:
        self._locks = locks
        self._guard = threading.Lock()
        self._flights: dict[str, _Flight] = {}

    def run[T](self, key: str, work: Callable[[], T], *, timeout: float) -> tuple[T, bool]:
        """The result of ``work``, ours or that of whoever runs it already; and whether it was ours.

        ``work`` must look again whether there is still something to do: another process may have
        done it while this one waited for the lock. An error of the leader is raised in all who wait.

        Raises:
            Busy: somebody else did not finish within ``timeout`` seconds.
        """
        with self._guard:
            flight = self._flights.get(key)
            leading = flight is None
            if flight is None:
                flight = self._flights[key] = _Flight()
        if not leading:
            if not flight.done.wait(timeout):
                raise Busy(key)
            if flight.error is not None:
                raise flight.error
            return flight.result, False
        try:
            with self._locks.hold(key, timeout):
                flight.result = work()
            return flight.result, True
        except BaseException as error:
            flight.error = error
            raise
        finally:
            with self._guard:
                del self._flights[key]
            flight.done.set()
