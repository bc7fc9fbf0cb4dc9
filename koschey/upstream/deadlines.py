"""Sockets that keep to one deadline for a whole exchange, however slowly the bytes drip in.

urllib3's timeouts begin anew with every byte. Here the socket itself shortens each wait to what is left.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from koschey.time_limit import TimeLimit

_resolving = TimeLimit()


class Exchange:
    """One call of the session: all its hops, repetitions and the body together. Times in seconds."""

    __slots__ = (
        "_ends",
        "apart",
        "connect_timeout",
        "read_timeout",
        "received",
        "requests",
        "rest",
        "retries",
        "reused",
        "seconds",
    )

    def __init__(
        self,
        seconds: float,
        *,
        connect_timeout: float,
        read_timeout: float,
        retries: int = 0,
        rest: float | None = None,
        apart: bool = False,
    ) -> None:
        self.seconds = seconds
        self.connect_timeout = connect_timeout
        self.read_timeout = read_timeout
        self.retries = retries
        """How many repetitions are left."""
        self.rest = seconds if rest is None else rest
        """How long it may wait for an upstream that asks to be left alone."""
        self.apart = apart
        """Whether it is for something that failed before, and says nothing of the upstream."""
        self.requests = 0
        """How many were sent."""
        self.received = 0
        """Bytes of bodies."""
        self.reused = False
        """Whether the last request went over a kept-alive connection."""
        self._ends = time.monotonic() + seconds

    def left(self) -> float:
        """What remains until the deadline; 0 or less when it has passed."""
        return self._ends - time.monotonic()

    def bears(self, pause: float) -> bool:
        """Whether an upstream may be left alone for so long: somebody may wait for its answer."""
        return pause < self.left() and pause <= self.rest

    def patience(self, timeout: float) -> float:
        """How long one step may wait. Raises: TimeoutError, the deadline has passed."""
        left = self.left()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return min(timeout, left)

    @contextmanager
    def hurried(self, seconds: float) -> Iterator[None]:
        """Allow no more than so much for what happens meanwhile."""
        ends = self._ends
        self._ends = min(ends, time.monotonic() + seconds)
        try:
            yield
        finally:
            self._ends = ends

    def resolved(self, resolve: Callable[..., list[tuple[Any, ...]]], host: str, port: int) -> Any:
        """``getaddrinfo`` of ``host``, under the time limit that the C library does not have."""
        return _resolving.call(
            self.patience(self.connect_timeout), resolve, host, port, 0, socket.SOCK_STREAM
        )


_current = threading.local()


@contextmanager
def during(exchange: Exchange) -> Iterator[None]:
    """Sockets that this thread opens or takes from a pool meanwhile belong to ``exchange``."""
    _current.exchange = exchange
    try:
        yield
    finally:
        _current.exchange = None


def current_exchange() -> Exchange:
    """The exchange that this thread is in."""
    exchange: Exchange = _current.exchange
    return exchange


class DeadlineSocket(socket.socket):
    """A TCP socket of an exchange."""

    exchange: Exchange

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(self.exchange.patience(self.exchange.read_timeout))
        return super().recv_into(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self.settimeout(self.exchange.patience(self.exchange.read_timeout))
        super().sendall(*args, **kwargs)


class DeadlineTLSSocket(ssl.SSLSocket):
    """A TLS socket of an exchange; made by its context, which hands it the handshake at once."""

    exchange: Exchange

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - ssl's signature
        self.exchange = current_exchange()
        self.settimeout(self.exchange.patience(self.exchange.connect_timeout))
        super().do_handshake(block)

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(self.exchange.patience(self.exchange.read_timeout))
        return super().recv_into(*args, **kwargs)

    def recv(self, *args: Any, **kwargs: Any) -> bytes:
        # urllib3 reads so when this is the outer connection, to a proxy that is spoken to by TLS.
        self.settimeout(self.exchange.patience(self.exchange.read_timeout))
        return super().recv(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self.settimeout(self.exchange.patience(self.exchange.read_timeout))
        super().sendall(*args, **kwargs)
