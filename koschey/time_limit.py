"""Calls into code that may hang: a resolver, a plug-in."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class TimeLimit:
    """Runs each call in a daemon thread of its own and stops waiting when its time is up.

    Python cannot end a thread, so a call that hangs keeps its thread; ``threads`` bounds how many there
    can be. When all of them hang, further calls fail after their own time.
    """

    def __init__(self, threads: int = 32) -> None:
        self._free = threading.BoundedSemaphore(threads)

    def call[T](self, seconds: float, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """What ``function`` returns or raises.

        Raises:
            TimeoutError: it took longer than ``seconds``.
        """
        if not self._free.acquire(timeout=max(seconds, 0)):
            raise TimeoutError("too many calls hang already")
        outcome: Future[T] = Future()

        def work() -> None:
            try:
                outcome.set_result(function(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - handed over to the caller, whatever it is
                outcome.set_exception(error)
            finally:
                self._free.release()

        try:
            threading.Thread(target=work, name="koschey-time-limit", daemon=True).start()
        except RuntimeError:  # the system has no more threads now; it may have some later
            self._free.release()
            raise TimeoutError("no thread can be started") from None
        return outcome.result(timeout=seconds)
