"""The one door out: every request to the outside passes here.

It keeps a deadline over all of an exchange, repeats what may be repeated, follows redirects itself and
decides at every hop whether the target may be reached and who may see credentials.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from random import uniform
from types import MappingProxyType

import pluggy
from requests import RequestException
from urllib3 import BaseHTTPResponse, Timeout
from urllib3.exceptions import HTTPError

from koschey import __version__
from koschey.errors import UpstreamUnavailable
from koschey.plugins import PATIENCE
from koschey.upstream.adapters import sent_by_adapter
from koschey.upstream.addresses import Resolve
from koschey.upstream.answer import Answer
from koschey.upstream.deadlines import Exchange, during
from koschey.upstream.endpoint import Endpoint
from koschey.upstream.failures import translated
from koschey.upstream.manners import ASKING, Manners, Tally, retry_after
from koschey.upstream.pace import Pace
from koschey.upstream.plain import PlainFiles
from koschey.upstream.pools import AllPools
from koschey.upstream.redirects import REDIRECTS, Way, target_of
from koschey.upstream.routes import Routes
from koschey.upstream.urls import Target, shown

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_PASSING = frozenset((429, 500, 502, 503, 504))
_SECRET_HEADERS = frozenset(("Authorization", "Cookie", "Proxy-Authorization"))
#: Seconds before the first repetition; doubled each time, and anything between half and all of it.
_BACK_OFF = 0.25


class OutgoingSession:
    """Requests to upstreams and webhooks. Safe to use from many threads; make one per process.

    Args:
        connect_timeout, read_timeout: seconds for a connection (name look-up included), and for the next
            bytes.
        retries: repetitions after a failed connection or a passing status (429, 500, 502, 503, 504).
        hooks: plug-ins, see ``koschey_outgoing_request``.
        max_redirects: how many redirects one call follows.
        user_agent: value of the User-Agent header.
        resolve: a function with ``socket.getaddrinfo``'s signature.
        hook_patience: seconds that a plug-in may think.
        pace: of requests to upstreams that limit them, as shared with other processes.
    """

    def __init__(
        self,
        *,
        connect_timeout: float,
        read_timeout: float,
        retries: int,
        hooks: pluggy.PluginManager | None = None,
        max_redirects: int = 5,
        user_agent: str = f"koschey/{__version__}",
        resolve: Resolve = socket.getaddrinfo,
        hook_patience: float = PATIENCE,
        pace: Pace | None = None,
    ) -> None:
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._retries = retries
        self._max_redirects = max_redirects
        self._user_agent = user_agent
        self._routes = Routes(hooks, hook_patience=hook_patience)
        self._pools = AllPools(resolve)
        self._manners = Manners(pace)
        self._plain = PlainFiles(self._pools, self._routes, self._manners, user_agent=user_agent)

    @contextmanager
    def open(
        self,
        endpoint: Endpoint,
        url: str,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        deadline: float,
        decode: bool = True,
        retry: bool = True,
        rest: float | None = None,
        apart: bool = False,
        tally: Tally | None = None,
    ) -> Iterator[Answer]:
        """GET ``url`` for ``endpoint``; the answer is valid inside the ``with`` block.

        Args:
            headers: added to the request; those that carry secrets go to the endpoint's own origin only.
            deadline: seconds for everything: repetitions, redirects and the reading of the body.
            decode: ask for gzip and decode it; otherwise ask for, and hand out, the bytes as they are.
            retry: whether to repeat at all.
            rest: seconds to wait at the most for an upstream that asks to be left alone; None: the deadline.
            apart: it failed before: that it asks to be left alone is not taken for the upstream's word.
            tally: counts what this came to, failures too.

        Raises:
            UpstreamUnavailable: no usable answer after all repetitions, or a person paused the upstream.
            UpstreamTimeout: the deadline passed, or the upstream fell silent.
            UpstreamRefused: scheme, address, redirect or a plug-in forbid it.
            UpstreamInvalid: the answer is not HTTP.
        """
        _not_paused(endpoint)
        exchange = Exchange(
            deadline,
            connect_timeout=self._connect_timeout,
            read_timeout=self._read_timeout,
            retries=self._retries if retry else 0,
            rest=rest,
            apart=apart,
        )
        asked = {"User-Agent": self._user_agent, "Accept-Encoding": "gzip" if decode else "identity"}
        asked.update(_titled(headers))
        status = 0
        try:
            raw, final = self._followed(endpoint, url, asked, exchange)
            status = raw.status
            answer = Answer(endpoint.name, final, raw, exchange, decode=decode)
            try:
                yield answer
            finally:
                answer.close()
        finally:
            if tally is not None:
                tally.add(exchange.requests, exchange.received, unchanged=status == 304)

    def whole(
        self,
        endpoint: Endpoint,
        url: str,
        size: int,
        *,
        deadline: float,
        rest: float | None = None,
        apart: bool = False,
        tally: Tally | None = None,
    ) -> bytes | int | None:
        """GET a small file of which the size is known, all at once; see ``PlainFiles.read``.

        Args:
            deadline, rest, apart, tally: as for ``open``.

        Raises:
            UpstreamRefused: scheme, address or a plug-in forbid it.
            UpstreamUnavailable: the upstream asked to be left alone for longer, or a person paused it.
        """
        _not_paused(endpoint)
        exchange = Exchange(
            deadline,
            connect_timeout=self._connect_timeout,
            read_timeout=self._read_timeout,
            rest=rest,
            apart=apart,
        )
        try:
            return self._plain.read(endpoint, target_of(endpoint, url), size, exchange)
        finally:
            if tally is not None:
                tally.add(exchange.requests, exchange.received)

    def post(
        self, endpoint: Endpoint, url: str, body: bytes, *, headers: Mapping[str, str], deadline: float
    ) -> int:
        """POST ``body`` once and return the status; nothing is repeated or followed, the answer not read.

        Raises: as ``open``.
        """
        exchange = Exchange(deadline, connect_timeout=self._connect_timeout, read_timeout=self._read_timeout)
        target = target_of(endpoint, url)
        sent = {"User-Agent": self._user_agent, "Accept-Encoding": "identity", **_titled(headers)}
        try:
            raw = self._sent(endpoint, target, sent, exchange, body)
        except (RequestException, HTTPError, OSError, ValueError) as error:
            failure, _ = translated(endpoint.name, target.url, error, exchange)
        else:
            _dispose(endpoint, target, raw, exchange)
            return raw.status
        raise failure  # outside of "except": a library's message may quote a secret

    def close(self) -> None:
        """Close all idle connections. A later call would open new ones."""
        self._plain.close()
        self._pools.close()

    def _followed(
        self, endpoint: Endpoint, url: str, headers: dict[str, str], exchange: Exchange
    ) -> tuple[BaseHTTPResponse, str]:
        way = Way(endpoint, url, self._max_redirects)
        while True:
            raw = self._repeated(endpoint, way.target, headers, exchange)
            location = raw.headers.get("location") if raw.status in REDIRECTS else None
            if location is None:
                return raw, way.target.url
            _dispose(endpoint, way.target, raw, exchange)
            way.follow(location)

    def _repeated(
        self, endpoint: Endpoint, target: Target, headers: dict[str, str], exchange: Exchange
    ) -> BaseHTTPResponse:
        stale_allowed = True
        back_off = _BACK_OFF
        while True:
            self._manners.wait(endpoint, target.url, exchange)
            exchange.reused = False
            exchange.requests += 1
            wait = uniform(back_off / 2, back_off)  # noqa: S311 - jitter is no secret
            try:
                raw = self._sent(endpoint, target, headers, exchange)
            except (RequestException, HTTPError, OSError, ValueError) as error:
                failure, repeatable = translated(endpoint.name, target.url, error, exchange)
                if exchange.reused and stale_allowed and isinstance(failure, UpstreamUnavailable):
                    # The server closed a kept-alive connection just when we used it: no failure of its.
                    stale_allowed = False
                    continue
            else:
                if raw.status not in _PASSING:
                    self._manners.answered(endpoint, target.url)
                    return raw
                asked, whole = retry_after(raw.headers.get("retry-after")), False
                _dispose(endpoint, target, raw, exchange)
                if asked is not None and raw.status in ASKING:
                    whole = self._manners.pause(endpoint, target.url, asked, apart=exchange.apart)
                failure, repeatable = _passing(endpoint, target, raw.status, asked, whole=whole), True
                wait = wait if asked is None else asked
            if not repeatable or exchange.retries <= 0 or not exchange.bears(wait):
                # Outside of "except", so without a cause: a library's message may quote a secret.
                raise failure
            exchange.retries -= 1
            back_off *= 2
            time.sleep(wait)

    def _sent(
        self,
        endpoint: Endpoint,
        target: Target,
        headers: dict[str, str],
        exchange: Exchange,
        body: bytes | None = None,
    ) -> BaseHTTPResponse:
        decision = self._routes.decide(endpoint, target)
        route = decision.route
        own = target.origin == endpoint.origin
        if route.proxy or route.adapter:  # then the name is resolved by somebody else
            self._pools.policy(endpoint).check_literal(target.origin.host, target.origin.port)
        if own:
            sent = headers | _titled(route.headers)
            if endpoint.authorization is not None:
                sent.setdefault("Authorization", endpoint.authorization)
        else:
            sent = {name: value for name, value in headers.items() if name not in _SECRET_HEADERS}
        timeout = exchange.patience(self._connect_timeout), exchange.patience(self._read_timeout)
        client_cert = route.client_cert if own else None
        if route.adapter is not None:
            return sent_by_adapter(endpoint, decision, target, sent, body, timeout=timeout, cert=client_cert)
        pools = self._pools.pools(endpoint, own=own, ca_file=route.ca_file, client_cert=client_cert)
        with during(exchange):
            return pools.send(
                target, sent, body, timeout=Timeout(connect=timeout[0], read=timeout[1]), proxy=route.proxy
            )


def _titled(headers: Mapping[str, str]) -> dict[str, str]:
    """Names in one spelling, so that merging and dropping them needs no case-insensitive mapping."""
    return {name.title(): value for name, value in headers.items()}


def _not_paused(endpoint: Endpoint) -> None:
    if endpoint.paused is not None:
        raise UpstreamUnavailable(endpoint.name, f"it is paused: {endpoint.paused}")


def _dispose(endpoint: Endpoint, target: Target, raw: BaseHTTPResponse, exchange: Exchange) -> None:
    """Give back the connection of an answer that nobody reads."""
    Answer(endpoint.name, target.url, raw, exchange, decode=False).close()


def _passing(
    endpoint: Endpoint, target: Target, status: int, asked: float | None, *, whole: bool
) -> UpstreamUnavailable:
    problem = f"{shown(target.url)} answered {status}"
    return UpstreamUnavailable(endpoint.name, problem, retry_after=asked, whole=whole)
