"""urllib3 connections that obey the address policy and the deadline of the exchange they serve."""

from __future__ import annotations

import socket
import sys
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError

from koschey.upstream.addresses import AddressPolicy
from koschey.upstream.deadlines import DeadlineSocket, DeadlineTLSSocket, Exchange, current_exchange


class GuardedHTTPConnection(HTTPConnection):
    """Opens its socket itself: to an address that was checked, with the exchange's deadline on it."""

    policy: AddressPolicy

    def _new_conn(self) -> socket.socket:
        exchange = current_exchange()
        host, port = self.host, self.port or self.default_port
        if self.proxy is None:
            found = self.policy.addresses(host, port, exchange)
        else:  # where the proxy stands is the operator's choice
            found = exchange.resolved(self.policy.resolve, host, port)
        failure: OSError = socket.gaierror(socket.EAI_NONAME, "no address")
        for family, kind, protocol, _, address in found:
            try:
                return self._opened(exchange, (family, kind, protocol), address)
            except OSError as error:
                failure = error
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(self, "connect timeout") from failure
        raise failure

    def _opened(self, exchange: Exchange, kind: tuple[Any, ...], address: Any) -> socket.socket:
        sock = DeadlineSocket(*kind)
        try:
            sock.exchange = exchange
            sock.settimeout(exchange.patience(exchange.connect_timeout))
            for option in self.socket_options or ():
                sock.setsockopt(*option)
            sock.connect(address)
        except BaseException:
            sock.close()
            raise
        sys.audit("http.client.connect", self, self.host, self.port)
        return sock

    @property
    def is_connected(self) -> bool:
        """Whether it can take a request: open, and without a byte that belongs to no answer.

        What TLS has deciphered already is not seen by who waits for the socket.
        """
        pending = getattr(self.sock, "pending", None)
        return super().is_connected and not (pending is not None and pending())

    def request(self, *args: Any, **kwargs: Any) -> None:
        exchange = current_exchange()
        exchange.reused = getattr(self.sock, "exchange", exchange) is not exchange
        if self.sock is not None:
            _adopt(self.sock, exchange)
        super().request(*args, **kwargs)


def _adopt(sock: Any, exchange: Exchange) -> None:
    """Put ``sock`` under another deadline; TLS inside TLS has the real socket one level deeper."""
    if not isinstance(sock, DeadlineSocket | DeadlineTLSSocket):
        sock = sock.socket
    sock.exchange = exchange


class GuardedHTTPSConnection(GuardedHTTPConnection, HTTPSConnection):
    """The same under TLS."""
