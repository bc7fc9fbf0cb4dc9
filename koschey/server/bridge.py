"""From aiohttp's event loop to a WSGI application in threads, and back (PEP 3333).

A thread is held while the application computes or waits for the file of an upload, never while a client
is slow to send a form or to take the answer. Uploads that are still to come hold three quarters of the
threads at the most, so that slow ones stop nobody who reads. Contracts that downloads rely on: an application
that fails after its head was sent, or that produces less than its Content-Length, breaks the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO

from aiohttp.web_protocol import PayloadAccessError, RequestPayloadError
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse

from koschey.errors import DigestMismatch, KoscheyError, UpstreamError
from koschey.server.application_call import ApplicationCall, ApplicationFailed, WsgiApp
from koschey.server.environ import build_environ
from koschey.server.file_wrapper import BodyTooShort
from koschey.server.protocol import DateLine
from koschey.server.request_body import BodyBroken, received_form, request_body
from koschey.server.response import ResponseHead, ResponseWriter, checked_head

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """Bounds of one worker process."""

    waiting: int = 1000
    """Requests that may wait for a thread; more are answered 503."""
    stall_seconds: float = 60.0
    """How long a client may send nothing of its body, or take nothing of its answer; and how long an upload
    may wait for its turn."""
    slowest: float = 4096.0
    """Bytes a second below which a body is broken off, once ``stall_seconds`` were waited for it."""
    form_seconds: float = 30.0
    """How long a form may take to arrive."""
    linger_bytes: int = 64 * 2**20
    """How much of a refused upload is read and dropped, so that the client gets to read the answer."""
    linger_seconds: float = 5.0


class Answered(StreamResponse):
    """Tells aiohttp that the answer is on the wire already, and whether the connection lives on."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._persists = keep_alive

    @property
    def keep_alive(self) -> bool:
        return self._persists

    async def prepare(self, request: BaseRequest) -> None:
        """Nothing is left to send."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to send."""


class Bridge:
    """Runs ``app`` for each request in one of ``threads`` threads."""

    def __init__(self, app: WsgiApp, *, threads: int, limits: Limits | None = None) -> None:
        self._app = app
        self._limits = limits or Limits()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="wsgi")
        self._capacity = threads + self._limits.waiting
        self._beginning = 0
        self._receiving = asyncio.Semaphore(max(1, threads * 3 // 4))
        self._date_line = DateLine()

    def close(self) -> None:
        """Start no further work; threads that run are not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def handle(self, request: BaseRequest) -> StreamResponse:
        """Answer one request; the handler of ``aiohttp.web.Server``."""
        writer = ResponseWriter(request, self._date_line, stall=self._limits.stall_seconds)
        try:
            if refusal := self._refusal(request):
                await self._plain(writer, *refusal)
            else:
                await self._answer(request, writer)
            if not request.content.is_eof():
                await self._linger(request)
        except (OSError, TimeoutError):
            log.debug("client of %s %s is gone", request.method, request.raw_path)
            writer.abort()
        return Answered(keep_alive=writer.keep_alive)

    def _refusal(self, request: BaseRequest) -> tuple[str, tuple[tuple[str, str], ...]] | None:
        """Status and extra headers when the application shall not be asked."""
        if self._beginning >= self._capacity:
            log.error("too many requests wait for a thread; answering 503")
            return "503 Service Unavailable", (("Retry-After", "1"),)
        if request.method == "CONNECT":
            return "501 Not Implemented", ()
        if request.headers.get("Expect", "100-continue").lower() != "100-continue":
            return "417 Expectation Failed", ()
        return None

    async def _answer(self, request: BaseRequest, writer: ResponseWriter) -> None:
        limits = self._limits
        try:
            form = await received_form(request, before_read=writer.continue_, seconds=limits.form_seconds)
        except TimeoutError:
            await self._plain(writer, "408 Request Timeout")
            return
        if form is not None:
            await self._run(request, writer, form)
            return
        async with self._turn(request) as come:
            if not come:
                await self._plain(writer, "503 Service Unavailable", (("Retry-After", "5"),))
                return
            body = request_body(
                request, before_read=writer.continue_, stall=limits.stall_seconds, slowest=limits.slowest
            )
            await self._run(request, writer, body)

    @contextlib.asynccontextmanager
    async def _turn(self, request: BaseRequest) -> AsyncIterator[bool]:
        """Wait until a thread may be held for a body that is still to come; False: it would take too long."""
        if request.content.is_eof():
            yield True
            return
        self._beginning += 1
        try:
            async with asyncio.timeout(self._limits.stall_seconds):
                await self._receiving.acquire()
        except TimeoutError:
            log.error("too many uploads come slowly; answering 503")
            yield False
            return
        finally:
            self._beginning -= 1
        try:
            yield True
        finally:
            self._receiving.release()

    async def _run(self, request: BaseRequest, writer: ResponseWriter, body: IO[bytes]) -> None:
        loop = asyncio.get_running_loop()

        def write_now(head: ResponseHead, block: bytes) -> None:
            send = writer.write(block) if writer.started else writer.start(head, block)
            asyncio.run_coroutine_threadsafe(send, loop).result()

        call = ApplicationCall(self._app, build_environ(request, body), write_now)
        try:
            await self._transfer(call, writer)
        except ApplicationFailed as failure:
            await self._failed(request, writer, failure)
        except BodyTooShort as error:
            log.error("answer to %s %s broken off: %s", request.method, request.raw_path, error)
            writer.abort()
        finally:
            if not call.closed:
                # Refused only when this worker stops with the request unfinished.
                with contextlib.suppress(RuntimeError):
                    call.submit(self._pool, call.close)

    async def _transfer(self, call: ApplicationCall, writer: ResponseWriter) -> None:
        self._beginning += 1
        try:
            block = await asyncio.wrap_future(call.submit(self._pool, call.begin))
        finally:
            self._beginning -= 1
        assert call.head is not None
        if call.file is not None and (region := call.file.region()):
            await writer.send_file(call.head, *region)
            return
        if writer.started:
            await writer.write(block)
        else:
            await writer.start(call.head, block, whole=call.finished)
        while not call.finished:
            await writer.write(await asyncio.wrap_future(call.submit(self._pool, call.resume)))
        await writer.finish()

    async def _failed(self, request: BaseRequest, writer: ResponseWriter, failure: ApplicationFailed) -> None:
        cause = failure.__cause__
        outside = isinstance(cause, UpstreamError | DigestMismatch)  # a body that had begun broke off
        if isinstance(cause, KoscheyError) and cause.logged:
            log.debug("%s %s: %s", request.method, request.raw_path, cause)
        elif isinstance(cause, BodyBroken):
            log.info("%s %s: %s", request.method, request.raw_path, cause)
        elif outside:
            log.warning("%s %s: %s", request.method, request.raw_path, cause)
        else:
            log.error("%s %s failed", request.method, request.raw_path, exc_info=cause)
        if writer.started:
            writer.abort()
        else:
            await self._plain(writer, "502 Bad Gateway" if outside else "500 Internal Server Error")

    async def _plain(
        self, writer: ResponseWriter, status: str, extra: tuple[tuple[str, str], ...] = ()
    ) -> None:
        headers = (("Content-Type", "text/plain; charset=utf-8"), *extra)
        await writer.start(checked_head(status, headers), f"{status}\n".encode(), whole=True)

    async def _linger(self, request: BaseRequest) -> None:
        """Read what the client still sends, within bounds: closing at once would reset its connection,
        and with it the answer that it has not read yet.
        """
        transport = request.transport
        if transport is None or transport.is_closing():
            return
        transport.write_eof()
        left = self._limits.linger_bytes
        try:
            async with asyncio.timeout(self._limits.linger_seconds):
                while left > 0 and (dropped := await request.content.readany()):
                    left -= len(dropped)
        except (OSError, RuntimeError, PayloadAccessError, RequestPayloadError):
            return
