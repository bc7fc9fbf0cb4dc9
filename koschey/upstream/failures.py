"""What went wrong with a request, as one of our errors: the libraries' nested exceptions, unpacked."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator

from urllib3.exceptions import ConnectTimeoutError, InvalidHeader

from koschey.errors import (
    UpstreamError,
    UpstreamInvalid,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from koschey.upstream.deadlines import Exchange
from koschey.upstream.urls import shown


def translated(upstream: str, url: str, error: Exception, exchange: Exchange) -> tuple[UpstreamError, bool]:
    """Our error for what a library raised, and whether a repetition could help.

    The library's own text is not passed on where it could hold a header or a query.
    """
    where = shown(url)
    if exchange.left() <= 0:
        problem = f"{where} was not answered whole within {exchange.seconds:g} s"
        return UpstreamTimeout(upstream, problem), False
    causes = list(_causes(error))

    def among[E: BaseException](*kinds: type[E]) -> E | None:
        return next((cause for cause in causes if isinstance(cause, kinds)), None)

    if rejected := among(ssl.SSLCertVerificationError):
        problem = f"the certificate of {where} is not accepted: {rejected.verify_message}"
        return UpstreamUnavailable(upstream, problem), False
    if tls := among(ssl.SSLError):
        return UpstreamUnavailable(upstream, f"TLS with {where} failed: {tls.reason}"), True
    if among(socket.gaierror):
        return UpstreamUnavailable(upstream, f"the host name in {where} cannot be resolved"), True
    if among(ConnectTimeoutError):
        problem = f"{where} accepted no connection within {exchange.connect_timeout:g} s"
        return UpstreamUnavailable(upstream, problem), True
    if among(TimeoutError):
        return UpstreamTimeout(upstream, f"{where} was silent for {exchange.read_timeout:g} s"), True
    if among(http.client.RemoteDisconnected, http.client.IncompleteRead):
        return UpstreamUnavailable(upstream, f"{where} broke off in the middle"), True
    if among(http.client.HTTPException, InvalidHeader):
        return UpstreamInvalid(upstream, f"{where} answered with something that is not HTTP"), False
    if broken := among(OSError):
        reason = broken.strerror if broken.errno else "the proxy refused or the connection broke"
        return UpstreamUnavailable(upstream, f"no connection to {where}: {reason}"), True
    if among(ValueError):  # http.client refuses header values with line breaks, and so do we
        return UpstreamRefused(upstream, f"the request to {where} cannot be written as HTTP"), False
    return UpstreamUnavailable(upstream, f"{where} failed: {type(error).__name__}"), True


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Innermost first: an error with all that it wraps in arguments, ``reason`` and causes."""
    wrapped = [*error.args, getattr(error, "reason", None), error.__cause__, error.__context__]
    for inner in wrapped:
        if isinstance(inner, BaseException) and inner is not error:
            yield from _causes(inner)
    yield error
