"""A thread that writes down every few seconds what requests only noted in memory."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class BatchWriter:
    """Calls ``flush`` every ``seconds``, and at the end; the thread begins with the first note.

    Args:
        name: of the thread, and of its line in the log.
        flush: writes down what was noted, and forgets it.
        empty: forgets what was noted and writes nothing: a forked child must not write its parent's notes.
    """

    def __init__(
        self, name: str, flush: Callable[[], None], empty: Callable[[], None], *, seconds: float
    ) -> None:
        self._name = name
        self._flush = flush
        self._empty = empty
        self._seconds = seconds
        self._closed = False
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._empty()
        self._guard = threading.Lock()
        self._wake = threading.Event()
        self.started = False

    def start(self) -> None:
        """Begin, if it has not; whoever notes something looks at ``started`` first."""
        with self._guard:
            if self.started or self._closed:
                return
            self.started = True
        atexit.register(self.close)  # a server that is not ours ends without closing the application
        threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def wake(self) -> None:
        """Write earlier than the time."""
        self._wake.set()

    def close(self) -> None:
        """Write down what is left, and nothing more in a thread."""
        self._closed = True
        self._wake.set()
        self._flush()

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait(self._seconds)
            self._wake.clear()
            try:
                self._flush()
            except Exception:
                log.exception(f"{self._name}.crashed")
