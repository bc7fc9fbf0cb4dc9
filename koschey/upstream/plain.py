"""Small files by the plainest exchange there is: a GET on a kept connection, answered by 200 and all bytes.

A mirror fetches millions of them, and for one of ten kilobytes an HTTP library takes several times as long as
everything else together. So this reads the one answer that nearly all of them are. It interprets no other:
then the connection is closed, and the caller asks the session, which knows the rest of HTTP. Addresses,
certificates, deadlines, credentials and manners are the session's here as there.
"""

from __future__ import annotations

import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from urllib3.exceptions import HTTPError

from koschey.errors import UpstreamTimeout
from koschey.upstream.deadlines import Exchange, during
from koschey.upstream.endpoint import Endpoint
from koschey.upstream.failures import translated
from koschey.upstream.manners import Manners
from koschey.upstream.pools import AllPools
from koschey.upstream.routes import Routes
from koschey.upstream.urls import Origin, Target

_HEAD_BYTES = 16 * 1024
_BUFFER_BYTES = 64 * 1024
#: Seconds for which an origin that answers otherwise is left to the session at once.
_OTHERWISE_SECONDS = 60.0
_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3})[ \r]")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*(?=\r\n)", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection:[^\r]*close", re.IGNORECASE)
_RETRY_AFTER = re.compile(rb"\r\nretry-after:[ \t]*([^\r]*)", re.IGNORECASE)
#: Codings, parts, and folded lines (RFC 9112 section 5.2): not plain.
_OTHERWISE = re.compile(
    rb"\r\n(?:(?:transfer-encoding|content-encoding|content-range|trailer)[ \t]*:|[ \t])", re.I
)
_GONE = (404, 410)
_ASKING = (429, 503)


@dataclass
class _Kept:
    """An open connection, and what is the same in each request on it."""

    connection: Any
    rest: bytes
    """Of a request, behind the path."""
    buffer: bytearray


class PlainFiles:
    """Asks for small files. Safe to use from many threads.

    Args:
        retry_after: seconds that a header of that name means, None when it means nothing.
    """

    def __init__(
        self,
        pools: AllPools,
        routes: Routes,
        manners: Manners,
        *,
        user_agent: str,
        retry_after: Callable[[str], float | None],
    ) -> None:
        self._pools = pools
        self._routes = routes
        self._manners = manners
        self._user_agent = user_agent
        self._retry_after = retry_after
        self._lock = threading.Lock()
        self._idle: dict[tuple[Endpoint, Origin], list[_Kept]] = defaultdict(list)
        self._otherwise: dict[tuple[Endpoint, Origin], float] = {}

    def read(self, endpoint: Endpoint, target: Target, size: int, exchange: Exchange) -> bytes | int | None:
        """All ``size`` bytes of a file; 404 or 410 when it is gone; None: the session is to be asked.

        Raises:
            UpstreamTimeout: the deadline passed, or the upstream fell silent.
            UpstreamUnavailable: it wants to be left alone for longer than the exchange may take.
            UpstreamRefused: address or plug-in forbid it.
        """
        key = (endpoint, target.origin)
        if time.monotonic() < self._otherwise.get(key, 0.0):
            return None
        self._manners.wait(endpoint, exchange)
        try:
            with during(exchange):
                if (kept := self._taken(key)) is not None:
                    with suppress(ConnectionError):  # closed by the other side just when it was used
                        return self._asked(key, kept, target, size, exchange)
                kept = self._opened(key, target)
                return None if kept is None else self._asked(key, kept, target, size, exchange)
        except (HTTPError, OSError) as error:
            failure, _ = translated(endpoint.name, target.url, error, exchange)
        if isinstance(failure, UpstreamTimeout):
            raise failure  # outside of "except": a library's message may quote a secret
        return None  # the session tries again, and says what is wrong

    def close(self) -> None:
        """Close all idle connections."""
        with self._lock:
            kept = [each for idle in self._idle.values() for each in idle]
            self._idle.clear()
        for each in kept:
            each.connection.close()

    def _taken(self, key: tuple[Endpoint, Origin]) -> _Kept | None:
        with self._lock:
            idle = self._idle.get(key)
            return idle.pop() if idle else None

    def _opened(self, key: tuple[Endpoint, Origin], target: Target) -> _Kept | None:
        """A new connection; None where a proxy, an adapter or headers of a plug-in are to be used."""
        endpoint, origin = key
        route = self._routes.decide(endpoint, target).route
        own = origin == endpoint.origin
        if route.proxy or route.adapter or route.headers:
            self._leave(key)
            return None
        lines = [f"Host: {origin.authority}", f"User-Agent: {self._user_agent}", "Accept: */*"]
        lines.append("Accept-Encoding: identity")
        if own and endpoint.authorization is not None:
            lines.append(f"Authorization: {endpoint.authorization}")
        rest = "\r\n".join([" HTTP/1.1", *lines, "", ""])
        if not all(line.isascii() and line.isprintable() for line in lines):
            self._leave(key)
            return None
        certificate = route.client_cert if own else None
        pools = self._pools.pools(endpoint, own=own, ca_file=route.ca_file, client_cert=certificate)
        return _Kept(pools.connected(origin), rest.encode("ascii"), bytearray(_BUFFER_BYTES))

    def _asked(
        self, key: tuple[Endpoint, Origin], kept: _Kept, target: Target, size: int, exchange: Exchange
    ) -> bytes | int | None:
        """One exchange. Raises: OSError, also when the connection ended before any byte of an answer."""
        kept.connection.sock.exchange = exchange
        whole = False
        try:
            path = target.url.removeprefix(str(target.origin))
            exchange.requests += 1
            kept.connection.sock.sendall(b"GET " + path.encode("ascii") + kept.rest)
            head, begun = _head(kept)
            if head is None:
                self._leave(key)
                return None
            status = int(head[9:12])
            if status != 200:
                return self._not_200(key, status, head)
            lengths = _LENGTH.findall(head)
            if len(lengths) != 1 or _OTHERWISE.search(head):
                self._leave(key)
                return None
            if int(lengths[0]) != size or len(begun) > size:
                return None
            body = _body(kept, begun, size)
            exchange.received += 0 if body is None else size
            whole = body is not None and not _CLOSES.search(head)
            return body
        finally:
            if whole:
                with self._lock:
                    self._idle[key].append(kept)
            else:
                kept.connection.close()

    def _not_200(self, key: tuple[Endpoint, Origin], status: int, head: bytes) -> int | None:
        if status in _GONE:
            return status
        asked = _RETRY_AFTER.search(head) if status in _ASKING else None
        seconds = self._retry_after(asked[1].decode("latin-1")) if asked else None
        if seconds is not None:
            self._manners.pause(key[0], seconds)
        self._leave(key)
        return None

    def _leave(self, key: tuple[Endpoint, Origin]) -> None:
        """To the session, for a while."""
        with self._lock:
            if len(self._otherwise) > 1024:  # a page may name as many origins as it likes
                self._otherwise.clear()
            self._otherwise[key] = time.monotonic() + _OTHERWISE_SECONDS


def _head(kept: _Kept) -> tuple[bytes | None, bytes]:
    """The head of an answer, to the end of its last line, or None when it is none; what came behind it."""
    got, view = 0, memoryview(kept.buffer)
    while True:
        count = kept.connection.sock.recv_into(view[got:])
        if not count:
            raise ConnectionResetError
        got += count
        end = kept.buffer.find(b"\r\n\r\n", 0, got)
        if end >= 0 and end < _HEAD_BYTES and _STATUS.match(kept.buffer):
            return bytes(view[: end + 2]), bytes(view[end + 4 : got])
        if end >= 0 or got >= _HEAD_BYTES:
            return None, b""


def _body(kept: _Kept, begun: bytes, size: int) -> bytes | None:
    """The whole body; None when it ends early."""
    body = bytearray(size)
    body[: len(begun)] = begun
    got, view = len(begun), memoryview(body)
    while got < size:
        count = kept.connection.sock.recv_into(view[got:])
        if not count:
            return None
        got += count
    return bytes(body)
