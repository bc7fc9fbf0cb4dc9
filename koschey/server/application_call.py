"""One run of the WSGI application, in threads: called, iterated, closed (PEP 3333)."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any

from koschey.server.file_wrapper import FileWrapper
from koschey.server.response import ResponseHead, checked_head

log = logging.getLogger(__name__)

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class ApplicationFailed(Exception):
    """The application raised; the cause is chained."""


class ApplicationCall:
    """Drives one application run. Each method runs in some thread of the pool, one at a time.

    All of them share one ``contextvars`` context, so that a generator which holds Flask's request
    context may be resumed in another thread; no thread is held while a slow client is waited for.
    """

    def __init__(
        self, app: WsgiApp, environ: dict[str, Any], write: Callable[[ResponseHead, bytes], None]
    ) -> None:
        self._app = app
        self._environ = environ
        self._write_now = write
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        self._result: Iterable[bytes] | None = None
        self._blocks: Iterator[bytes] = iter(())
        self._written = False
        self.head: ResponseHead | None = None
        self.file: FileWrapper | None = None
        """The body, when it is a file that the kernel can send."""
        self.finished = False
        """Whether the last block has been produced."""

    def submit(self, pool: Executor, step: Callable[[], bytes]) -> Future[bytes]:
        """Run ``begin``, ``resume`` or ``close`` in ``pool``; the future raises ApplicationFailed only."""
        return pool.submit(self._guarded, step)

    def begin(self) -> bytes:
        """Call the application; the first block of its answer, b"" if there is none or it is a file."""
        self._result = self._app(self._environ, self._start_response)
        if isinstance(self._result, FileWrapper) and self.head is not None and self._result.region():
            self.file = self._result
            return b""
        self._blocks = iter(self._result)
        if self.head is not None and self._bodiless:
            return self._end(b"")
        block = self.resume()
        if self.head is None:
            raise RuntimeError("the application did not call start_response")
        if not self.finished and self._is_whole(block):
            return self._end(block)
        return block

    def resume(self) -> bytes:
        """The next block that is not empty; b"" at the end."""
        for block in self._blocks:
            if block:
                return b"" if self._bodiless else block
        return self._end(b"")

    def close(self) -> bytes:
        """Close the application's iterable, once; a failure here is only logged."""
        close = getattr(self._result, "close", None)
        self._result = None
        self.finished = True
        if close is not None:
            try:
                close()
            except Exception:
                log.exception("close() of an answer to %s failed", self._environ["RAW_URI"])
        return b""

    @property
    def closed(self) -> bool:
        """Whether there is nothing left to close."""
        return self._result is None

    @property
    def _bodiless(self) -> bool:
        return self._environ["REQUEST_METHOD"] == "HEAD" or (self.head is not None and self.head.bodiless)

    def _is_whole(self, block: bytes) -> bool:
        """Whether ``block`` is the whole body, so that the answer needs no second visit to a thread."""
        assert self.head is not None
        if self.head.length is not None:
            return len(block) >= self.head.length
        return isinstance(self._result, list | tuple) and len(self._result) == 1 and not self._written

    def _end(self, block: bytes) -> bytes:
        self.close()
        return block

    def _guarded(self, step: Callable[[], bytes]) -> bytes:
        try:
            with self._lock:
                return self._context.run(step)
        except BaseException as error:
            # Not even SystemExit may leave the thread: it would stop the event loop that awaits it.
            raise ApplicationFailed from error

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        if exc_info is not None and self._written:
            raise exc_info[1].with_traceback(exc_info[2])
        if exc_info is None and self.head is not None:
            raise RuntimeError("start_response was called twice")
        self.head = checked_head(status, headers)
        return self._write

    def _write(self, block: bytes) -> None:
        """The callable that start_response returns, for applications older than iterables."""
        assert self.head is not None
        self._written = True
        self._write_now(self.head, b"" if self._bodiless else block)
