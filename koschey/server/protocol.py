"""One connection: ready-made answers written where the bytes arrive, everything else through aiohttp."""

from __future__ import annotations

import asyncio
import logging
import time
from email.utils import formatdate
from typing import Any, Protocol

from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse
from aiohttp.web_server import Server as LowLevelServer

from koschey.server.heads import Head, HeadParser, HotRequest

log = logging.getLogger(__name__)

#: Answers of this many bytes and more are handed over unjoined, to save the copy.
_JOIN_BELOW = 32 * 1024
#: A connection so young (seconds) without a request has one on its way; closing it would reset the client,
#: which unlike one on a kept connection does not try again.
_YOUNG = 1.0


class ReadyAnswer(Protocol):
    """A whole answer, made beforehand."""

    @property
    def body(self) -> bytes: ...

    @property
    def wire(self) -> bytes:
        """Status line and headers, each ending in CRLF, without Date and without the final CRLF."""


class HotPath(Protocol):
    """What the application offers in ``app.extensions["koschey"].hot_path``."""

    @property
    def inline(self) -> bool:
        """Whether ``respond`` is quick enough to be asked on the event loop."""

    def respond(self, request: HotRequest) -> ReadyAnswer | None:
        """The answer, or None when the request needs the full way."""


class DateLine:
    """The ``Date`` header line, made once per second (RFC 9110 section 6.6.1)."""

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def __call__(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._line = f"Date: {formatdate(second, usegmt=True)}\r\n".encode()
        return self._line


class Server(LowLevelServer):
    """Makes a ``Connection`` per client and knows what they share.

    Times are seconds. ``head_timeout`` is how long a request's head may take to arrive whole.
    """

    def __init__(
        self, handler: Any, *, hot_path: HotPath | None, head_timeout: float, keepalive_timeout: float
    ) -> None:
        super().__init__(handler)
        self.hot_path = hot_path if hot_path is not None and hot_path.inline else None
        self.head_timeout = head_timeout
        self.keepalive_timeout = keepalive_timeout
        self.heads = HeadParser()
        self.date_line = DateLine()
        self.draining = False
        self.open: set[Connection] = set()
        self.inline_count = 0

    def __call__(self) -> Connection:
        return Connection(self)

    def drain(self) -> None:
        """Close idle connections; the others close after the answer that they wait for.

        To be called again until none is open: one that just came is left its time for a first request.
        """
        self.draining = True
        for connection in list(self.open):
            if not connection.young:
                connection.close_if_idle()


class Connection(RequestHandler):
    """aiohttp's protocol with a shortcut in front and a limit on how long a head may take."""

    __slots__ = ("_asked", "_client", "_head_timer", "_opened", "_orderly", "_server")

    def __init__(self, server: Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=server.keepalive_timeout,
            access_log=None,  # type: ignore[arg-type]  # aiohttp takes None for "no log" throughout
            lingering_time=0,  # the bridge drains what a refused upload still sends
            auto_decompress=False,  # the application bounds what it inflates
        )
        self._server = server
        self._head_timer: asyncio.TimerHandle | None = None
        # True while every byte so far belonged to whole heads without bodies: only then is the
        # beginning of new data known to be the beginning of a request.
        self._orderly = True
        self._asked = False
        self._client = ""
        self._opened = self._loop.time()

    @property
    def young(self) -> bool:
        """Whether the first request may still be on its way."""
        return not self._asked and self._loop.time() - self._opened < _YOUNG

    @property
    def draining(self) -> bool:
        """Whether the answer being made is the last on this connection."""
        return self._server.draining

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):  # a Unix socket has no address
            self._client = str(peer[0])
        self._server.open.add(self)
        self._await_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._server.open.discard(self)
        self._forget_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._asked = True
        if self._orderly and data:
            head = self._server.heads.parse(data, self._client)
            if head is None:
                self._orderly = False
            elif self._answer_inline(head):
                return
        super().data_received(data)
        if not self._idle:
            self._forget_head_timer()
        elif self._head_timer is None:
            self._await_head()

    def close_if_idle(self) -> None:
        """Close the connection unless a request is being answered."""
        if self._idle:
            self.force_close()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> StreamResponse:
        """A plain answer to what could not be parsed, and one line in the log instead of a traceback.

        Raises:
            ConnectionError: not the client but this server failed, perhaps with half an answer sent.
        """
        if status >= 500:
            log.error("failed to answer %s", request.raw_path, exc_info=exc)
            raise ConnectionError("the answer cannot be finished")
        reason = (message or "server error").splitlines()[0].rstrip(": ")
        log.warning("refused a malformed request from %s: %s", request.remote, reason)
        # Named, because aiohttp would name itself and its version.
        answer = Response(status=status, text=reason + "\n", headers={"Server": "koschey"})
        answer.force_close()
        return answer

    @property
    def _idle(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def _answer_inline(self, head: Head) -> bool:
        """Write the ready-made answer to ``head``; False if there is none or it is not our turn."""
        server = self._server
        transport = self.transport
        request = head.request
        # A request in progress owns the connection; a full write buffer needs aiohttp's back-pressure.
        if request is None or server.hot_path is None or transport is None or not self._idle or self._paused:
            return False
        try:
            answer = server.hot_path.respond(request)
        except Exception:
            log.exception("the hot path failed; %s takes the full way", request.target)
            return False
        if answer is None:
            return False
        self._forget_head_timer()
        close = head.close or server.draining
        end = b"Connection: close\r\n\r\n" if close else b"\r\n"
        lines = (answer.wire, server.date_line(), end)
        body = b"" if request.method == "HEAD" else answer.body
        if len(body) < _JOIN_BELOW:
            transport.write(b"".join((*lines, body)))
        else:
            transport.writelines((b"".join(lines), body))
        server.inline_count += 1
        if close:
            self.force_close()
        else:
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        return True

    def _await_head(self) -> None:
        self._head_timer = self._loop.call_later(self._server.head_timeout, self._head_overdue)

    def _forget_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_overdue(self) -> None:
        self._head_timer = None
        self.close_if_idle()
