"""The answer to one request: head, framing of the body, back-pressure, and the end (RFC 9112)."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import Iterable
from typing import NamedTuple

from aiohttp.web_request import BaseRequest

from koschey.server.file_wrapper import BodyTooShort, send_file
from koschey.server.protocol import Connection, DateLine

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_STATUS = re.compile(r"([1-9][0-9]{2})(?: (.*))?", re.DOTALL)

#: Of the connection, not of the answer (PEP 3333 forbids them to applications).
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade", "trailer", "te"})

_JOIN_BELOW = 16 * 1024


class ResponseInvalid(ValueError):
    """The application's status or headers cannot be sent."""


class ResponseHead(NamedTuple):
    """Status and headers as the application gave them, checked."""

    status: int
    reason: str
    """latin-1 without control characters."""
    headers: tuple[tuple[str, str], ...]
    length: int | None
    """Content-Length, if given."""

    @property
    def bodiless(self) -> bool:
        """Whether this status never has a body (RFC 9110 section 6.4.1)."""
        return self.status in (204, 304)


def checked_head(status: str, headers: Iterable[tuple[str, str]]) -> ResponseHead:
    """The head from the arguments of ``start_response``.

    Raises:
        ResponseInvalid: no three-digit status, or a header that would break the message.
    """
    matched = _STATUS.fullmatch(status)
    if matched is None or status.startswith("1"):
        raise ResponseInvalid(f"not a final status: {status!r}")
    reason = _CONTROL.sub("", matched[2] or "").encode("latin-1", "replace").decode("latin-1")
    kept, length = [], None
    for name, value in headers:
        if not _NAME.fullmatch(name) or _CONTROL.search(value):
            raise ResponseInvalid(f"not a header: {name!r}: {value!r}")
        try:
            value.encode("latin-1")
        except UnicodeEncodeError as error:
            raise ResponseInvalid(f"header {name} is not latin-1: {value!r}") from error
        lower = name.lower()
        if lower == "content-length":
            length = _length(value, length)
        if lower not in _HOP_BY_HOP:
            kept.append((name, value))
    return ResponseHead(int(matched[1]), reason, tuple(kept), length)


def _length(value: str, before: int | None) -> int:
    if not (value.isascii() and value.isdigit()) or before not in (None, int(value)):
        raise ResponseInvalid(f"not a Content-Length: {value!r}")
    return int(value)


class ResponseWriter:
    """Writes one answer to the connection of ``request``.

    ``stall`` is how many seconds a client may take nothing before it counts as gone; all methods
    that write raise ConnectionError or TimeoutError when it is.
    """

    def __init__(self, request: BaseRequest, date_line: DateLine, *, stall: float) -> None:
        assert isinstance(request.protocol, Connection)
        self._request = request
        self._connection = request.protocol
        self._date_line = date_line
        self._stall = stall
        self._left: int | None = None
        self._chunked = False
        self._expecting = (
            request.version >= (1, 1) and request.headers.get("Expect", "").lower() == "100-continue"
        )
        self.started = False
        self.keep_alive = False

    def continue_(self) -> None:
        """Tell a client that waits for it to send its body now (RFC 9110 section 10.1.1)."""
        if self._expecting and not self.started and (transport := self._request.transport) is not None:
            transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._expecting = False

    async def start(self, head: ResponseHead, block: bytes = b"", *, whole: bool = False) -> None:
        """Send the head and the first ``block`` of the body; ``whole`` when that is all of it."""
        known = len(block) if whole else None
        opening = self._open(head, known)
        await self._send(opening, *self._framed(block))

    async def write(self, block: bytes) -> None:
        """Send a further block; bytes beyond the Content-Length are dropped."""
        if pieces := self._framed(block):
            await self._send(*pieces)

    async def send_file(self, head: ResponseHead, descriptor: int, offset: int, available: int) -> None:
        """Send the head and the file from ``offset``: Content-Length bytes, or all ``available`` ones."""
        count = available if head.length is None else head.length
        opening = self._open(head, count)
        if self._left == 0:
            await self._send(opening)
            return
        await self._flush()
        await send_file(self._transport, opening, descriptor, offset, count, stall=self._stall)
        self._left = 0

    async def finish(self) -> None:
        """End the body. Raises: BodyTooShort."""
        if self._left:
            raise BodyTooShort(f"{self._left} bytes of the promised body are missing")
        if self._chunked:
            await self._send(b"0\r\n\r\n")

    def abort(self) -> None:
        """Break the connection, so that the client cannot take what it has for the whole."""
        self.keep_alive = False
        transport = self._request.transport
        if transport is None:
            return
        if self.started and self._left is None and not self._chunked:
            # Such a body ends with the connection: only a reset tells a broken one from a whole one.
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        transport.abort()

    def _open(self, head: ResponseHead, known: int | None) -> bytes:
        """Decide the framing and serialise the head; ``known`` is the body's length if it is known."""
        request = self._request
        modern = request.version >= (1, 1)
        silent = head.bodiless or request.method == "HEAD"
        # An unread body would be taken for the next request.
        self.keep_alive = request.keep_alive and request.content.is_eof() and not self._connection.draining
        lines = [f"HTTP/1.1 {head.status} {head.reason}"]
        names = set()
        for name, value in head.headers:
            names.add(name.lower())
            if not (head.status == 204 and name.lower() == "content-length"):
                lines.append(f"{name}: {value}")
        self._left = 0 if silent else head.length
        if not silent and head.length is None:
            if known is not None:
                self._left = known
                lines.append(f"Content-Length: {known}")
            elif modern:
                self._chunked = True
                lines.append("Transfer-Encoding: chunked")
            else:
                self.keep_alive = False
        if not self.keep_alive:
            lines.append("Connection: close")
        elif not modern:
            lines.append("Connection: keep-alive")
        date = b"" if "date" in names else self._date_line()
        self.started = True
        return b"".join(("\r\n".join(lines).encode("latin-1"), b"\r\n", date, b"\r\n"))

    def _framed(self, block: bytes) -> tuple[bytes, ...]:
        if self._left is not None:
            block = block[: self._left]
            self._left -= len(block)
        if not block:
            return ()
        return (b"%x\r\n" % len(block), block, b"\r\n") if self._chunked else (block,)

    @property
    def _transport(self) -> asyncio.Transport:
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        return transport

    async def _send(self, *pieces: bytes) -> None:
        transport = self._transport
        if sum(map(len, pieces)) < _JOIN_BELOW:
            transport.write(b"".join(pieces))
        else:
            transport.writelines(pieces)
        await self._drain()

    async def _drain(self) -> None:
        if self._connection.writing_paused:
            async with asyncio.timeout(self._stall):
                await self._request.writer.drain()

    async def _flush(self) -> None:
        """Wait until the transport has handed everything to the kernel."""
        transport = self._transport
        if transport.get_write_buffer_size():
            transport.set_write_buffer_limits(high=0)
            await self._drain()
            transport.set_write_buffer_limits()
