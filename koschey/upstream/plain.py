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
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from urllib3.exceptions import HTTPError

from koschey.errors import UpstreamTimeout
from koschey.upstream.deadlines import Exchange, during
from koschey.upstream.endpoint import Endpoint
from koschey.upstream.failures import translated
from koschey.upstream.manners import ASKING, Manners, retry_after
from koschey.upstream.pools import AllPools
from koschey.upstream.routes import Routes
from koschey.upstream.urls import Origin, Target

_HEAD_BYTES = 16 * 1024
_BUFFER_BYTES = 64 * 1024
#: Seconds for which an origin that answers otherwise is left to the session at once.
_OTHERWISE_SECONDS = 60.0
_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3})[ \r]")
_LENGTH = re.compile(rb"\r\ncontent-length[ \t]*:([^\r]*)", re.IGNORECASE)
_NUMBER = re.compile(rb"[ \t]*([0-9]{1,15})[ \t]*")
_CLOSES = re.compile(rb"\r\nconnection:[^\r]*close", re.IGNORECASE)
_RETRY_AFTER = re.compile(rb"\r\nretry-after:[ \t]*([^\r]*)", re.IGNORECASE)
#: Codings, parts, folded lines (RFC 9112 section 5.2), and ends of lines that some take for one and some
#: do not (section 2.2): not plain.
_OTHERWISE = re.compile(
    rb"\r\n(?:(?:transfer-encoding|content-encoding|content-range|trailer)[ \t]*:|[ \t])"
    rb"|(?<!\r)\n|\r(?!\n)|\0",
    re.IGNORECASE,
)
#: Bounds of what is kept open: origins (a hostile page may name thousands), and connections to one.
_ORIGINS = 16
_CONNECTIONS = 32
_GONE = (404, 410)


#: For whom a connection may be used again: certificates belong to it as well.
_Key = tuple[Endpoint, Origin, str | None, str | tuple[str, str] | None]


@dataclass
class _Kept:
    """An open connection, and what is the same in each request on it."""

    connection: Any
    rest: bytes
    """Of a request, behind the path."""
    buffer: bytearray


class _Idle:
    """Connections that wait for the next file. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Key, list[_Kept]] = OrderedDict()

    def take(self, key: _Key) -> _Kept | None:
        """One that is open, and on which nothing has come since its last answer."""
        while True:
            with self._lock:
                kept = self._kept.get(key)
                if not kept:
                    return None
                last = kept.pop()
            if last.connection.is_connected:
                return last
            last.connection.close()

    def give(self, key: _Key, connection: _Kept) -> None:
        with self._lock:
            kept = self._kept.setdefault(key, [])
            self._kept.move_to_end(key)
            kept.append(connection)
            surplus = [kept.pop(0)] if len(kept) > _CONNECTIONS else []
            if len(self._kept) > _ORIGINS:
                surplus += self._kept.popitem(last=False)[1]
        for each in surplus:
            each.connection.close()

    def close(self) -> None:
        with self._lock:
            kept = [each for idle in self._kept.values() for each in idle]
            self._kept.clear()
        for each in kept:
            each.connection.close()


class PlainFiles:
    """Asks for small files. Safe to use from many threads."""

    def __init__(self, pools: AllPools, routes: Routes, manners: Manners, *, user_agent: str) -> None:
        self._pools = pools
        self._routes = routes
        self._manners = manners
        self._user_agent = user_agent
        self._lock = threading.Lock()
        self._idle = _Idle()
        self._otherwise: dict[tuple[Endpoint, Origin], float] = {}

    def read(self, endpoint: Endpoint, target: Target, size: int, exchange: Exchange) -> bytes | int | None:
        """All ``size`` bytes of a file; 404 or 410 when it is gone; None: the session is to be asked.

        Raises:
            UpstreamTimeout: the deadline passed, or the upstream fell silent.
            UpstreamUnavailable: it wants to be left alone for longer than the exchange may take.
            UpstreamRefused: address or plug-in forbid it.
        """
        if time.monotonic() < self._otherwise.get((endpoint, target.origin), 0.0):
            return None
        self._manners.wait(endpoint, target.url, exchange)
        key = self._key(endpoint, target)
        if key is None:
            self._leave(endpoint, target.origin)
            return None
        try:
            with during(exchange):
                if (kept := self._idle.take(key)) is not None:
                    with suppress(ConnectionError):  # closed by the other side just when it was used
                        return self._asked(key, kept, target, size, exchange)
                return self._asked(key, self._opened(key), target, size, exchange)
        except (HTTPError, OSError) as error:
            failure, _ = translated(endpoint.name, target.url, error, exchange)
        if isinstance(failure, UpstreamTimeout):
            raise failure  # outside of "except": a library's message may quote a secret
        return None  # the session tries again, and says what is wrong

    def close(self) -> None:
        """Close all idle connections."""
        self._idle.close()

    def _key(self, endpoint: Endpoint, target: Target) -> _Key | None:
        """Which connections may be used; None: there is more to it, such as a proxy or headers of a plug-in.

        Decided for each file anew, for a plug-in may answer as it likes.
        """
        route = self._routes.decide(endpoint, target).route
        own = target.origin == endpoint.origin
        if route.proxy or route.adapter or route.headers:
            return None
        secret = endpoint.authorization or ""
        if own and not (secret.isascii() and secret.isprintable()):
            return None  # the session says what is wrong with it
        return endpoint, target.origin, route.ca_file, route.client_cert if own else None

    def _opened(self, key: _Key) -> _Kept:
        """A new connection."""
        endpoint, origin, ca_file, certificate = key
        own = origin == endpoint.origin
        lines = [f"Host: {origin.authority}", f"User-Agent: {self._user_agent}", "Accept: */*"]
        lines.append("Accept-Encoding: identity")
        if own and endpoint.authorization is not None:
            lines.append(f"Authorization: {endpoint.authorization}")
        rest = "\r\n".join([" HTTP/1.1", *lines, "", ""])
        pools = self._pools.pools(endpoint, own=own, ca_file=ca_file, client_cert=certificate)
        return _Kept(pools.connected(origin), rest.encode("ascii"), bytearray(_BUFFER_BYTES))

    def _asked(
        self, key: _Key, kept: _Kept, target: Target, size: int, exchange: Exchange
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
                self._leave(*key[:2])
                return None
            status = int(head[9:12])
            if status != 200:
                return self._not_200(key, target, status, head, apart=exchange.apart)
            declared = _declared(head)
            if declared is None or _OTHERWISE.search(head):
                self._leave(*key[:2])
                return None
            if declared != size or len(begun) > size:
                return None
            body = _body(kept, begun, size)
            exchange.received += 0 if body is None else size
            self._manners.answered(key[0], target.url)
            whole = body is not None and not _CLOSES.search(head)
            return body
        finally:
            if whole:
                self._idle.give(key, kept)
            else:
                kept.connection.close()

    def _not_200(self, key: _Key, target: Target, status: int, head: bytes, *, apart: bool) -> int | None:
        if status in _GONE:
            return status
        asked = _RETRY_AFTER.search(head) if status in ASKING else None
        seconds = retry_after(asked[1].decode("latin-1")) if asked else None
        if seconds is not None:
            self._manners.pause(key[0], target.url, seconds, apart=apart)
        self._leave(*key[:2])
        return None

    def _leave(self, endpoint: Endpoint, origin: Origin) -> None:
        """To the session, for a while."""
        with self._lock:
            if len(self._otherwise) > 1024:  # a page may name as many origins as it likes
                self._otherwise.clear()
            self._otherwise[endpoint, origin] = time.monotonic() + _OTHERWISE_SECONDS


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


def _declared(head: bytes) -> int | None:
    """The length of the body; None when it is not said, not once, or is no number."""
    lengths = _LENGTH.findall(head)
    number = _NUMBER.fullmatch(lengths[0]) if len(lengths) == 1 else None
    return None if number is None else int(number[1])


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
