"""Pools of guarded connections, and which of them a request uses."""

from __future__ import annotations

import os
import ssl
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import certifi
from requests.utils import get_auth_from_url
from urllib3 import (
    BaseHTTPResponse,
    HTTPConnectionPool,
    HTTPSConnectionPool,
    PoolManager,
    ProxyManager,
    Timeout,
    make_headers,
)

from koschey.errors import UpstreamRefused
from koschey.upstream.addresses import AddressPolicy, Resolve
from koschey.upstream.connections import GuardedHTTPConnection, GuardedHTTPSConnection
from koschey.upstream.deadlines import DeadlineTLSSocket
from koschey.upstream.endpoint import Endpoint
from koschey.upstream.urls import Origin, Target

_ClientCert = str | tuple[str, str] | None
_MakeContext = Callable[[], ssl.SSLContext]
#: Bounds of what is kept: pools over all endpoints, and proxies (a plug-in may choose many) of each.
_KEPT = 128
_PROXIES = 16


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = GuardedHTTPConnection

    def __init__(self, policy: AddressPolicy, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._policy = policy

    def _new_conn(self) -> Any:
        connection: Any = super()._new_conn()
        connection.policy = self._policy
        return connection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = GuardedHTTPSConnection

    def __init__(self, policy: AddressPolicy, context: _MakeContext, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._policy = policy
        self._context = context

    def _new_conn(self) -> Any:
        connection: Any = super()._new_conn()
        connection.policy = self._policy
        # Only now: reading all authorities takes longer than a whole request without TLS.
        connection.ssl_context = self._context()
        return connection


class GuardedPools:
    """Connections kept alive towards one endpoint's own origin, or towards its foreign ones."""

    def __init__(self, policy: AddressPolicy, context: _MakeContext, *, hosts: int, size: int) -> None:
        # Any: urllib3's annotation allows classes only, where it needs no more than a callable.
        self._pool_classes: Any = {
            "http": partial(_HTTPPool, policy),
            "https": partial(_HTTPSPool, policy, context),
        }
        self._settings: dict[str, Any] = {"num_pools": hosts, "maxsize": size}
        self._context = context
        self._direct = PoolManager(**self._settings)
        self._direct.pool_classes_by_scheme = self._pool_classes
        self._proxied: OrderedDict[str, ProxyManager] = OrderedDict()
        self._lock = threading.Lock()

    def send(
        self,
        target: Target,
        headers: dict[str, str],
        body: bytes | None = None,
        *,
        timeout: Timeout,
        proxy: str | None,
    ) -> BaseHTTPResponse:
        """One GET, or with a body one POST: nothing is repeated, followed or decoded.

        Raises: what urllib3 and sockets raise.
        """
        manager = self._direct if proxy is None else self._through(proxy)
        origin = target.origin
        pool = manager.connection_from_host(origin.host, origin.port, origin.scheme)
        # A proxy that forwards needs the whole URL; servers and tunnels get the path (RFC 9112 section 3.2).
        whole = proxy is not None and origin.scheme == "http"
        return pool.urlopen(
            "GET" if body is None else "POST",
            target.url if whole else target.url.removeprefix(str(origin)),
            body=body,
            headers=headers,
            retries=False,
            redirect=False,
            assert_same_host=False,
            timeout=timeout,
            preload_content=False,
            decode_content=False,
        )

    def connected(self, origin: Origin) -> Any:
        """A connection of urllib3's that is open and that nobody else has; ``sock`` is its socket.

        Raises: what urllib3 and sockets raise.
        """
        connection = self._direct.connection_from_host(origin.host, origin.port, origin.scheme)._new_conn()
        connection.connect()
        return connection

    def close(self) -> None:
        """Close all idle connections."""
        for manager in (self._direct, *self._proxied.values()):
            manager.clear()

    def _through(self, proxy: str) -> ProxyManager:
        with self._lock:
            if manager := self._proxied.get(proxy):
                return manager
            username, password = get_auth_from_url(proxy)
            headers = make_headers(proxy_basic_auth=f"{username}:{password}") if username else None
            context = self._context() if proxy.startswith("https:") else None
            manager = ProxyManager(proxy, proxy_headers=headers, proxy_ssl_context=context, **self._settings)
            manager.pool_classes_by_scheme = self._pool_classes
            self._proxied[proxy] = manager
            if len(self._proxied) > _PROXIES:
                self._proxied.popitem(last=False)[1].clear()
            return manager


def tls_context(ca_file: str | None, client_cert: str | tuple[str, str] | None) -> ssl.SSLContext:
    """A verifying context: ``ca_file``, else REQUESTS_CA_BUNDLE, else the system's authorities.

    The system's are those that SSL_CERT_FILE and SSL_CERT_DIR name or OpenSSL was built with, and
    certifi's where the system has none.

    Raises:
        OSError: a file cannot be read or is not PEM (``ssl.SSLError`` is an OSError).
    """
    chosen = ca_file or os.environ.get("REQUESTS_CA_BUNDLE") or _fallback()
    is_folder = chosen is not None and Path(chosen).is_dir()
    context = ssl.create_default_context(
        cafile=None if is_folder else chosen, capath=chosen if is_folder else None
    )
    context.sslsocket_class = DeadlineTLSSocket
    if client_cert is not None:
        context.load_cert_chain(*((client_cert,) if isinstance(client_cert, str) else client_cert))
    return context


def _fallback() -> str | None:
    system = ssl.get_default_verify_paths()
    if system.cafile or (system.capath and any(Path(system.capath).iterdir())):
        return None
    return certifi.where()


class AllPools:
    """The pools of a session: for each endpoint one for its own origin and one for all others."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._kept: OrderedDict[tuple[Endpoint, bool, str | None, _ClientCert], GuardedPools] = OrderedDict()
        self._lock = threading.Lock()
        self._contexts: dict[tuple[str | None, _ClientCert], ssl.SSLContext] = {}
        self._contexts_lock = threading.Lock()

    def policy(self, endpoint: Endpoint) -> AddressPolicy:
        """Where the endpoint's connections may go."""
        return AddressPolicy(endpoint.name, endpoint.origin, endpoint.internal, self._resolve)

    def pools(
        self, endpoint: Endpoint, *, own: bool, ca_file: str | None, client_cert: _ClientCert
    ) -> GuardedPools:
        """The pools for these certificates; ``own``: for the endpoint's own origin."""
        key = (endpoint, own, ca_file, client_cert)
        with self._lock:
            if pools := self._kept.get(key):
                self._kept.move_to_end(key)
                return pools
            context = partial(self._context, endpoint.name, ca_file, client_cert)
            # A page's files usually lie on one other host; a hostile page may name thousands.
            hosts = 1 if own else 8
            pools = GuardedPools(self.policy(endpoint), context, hosts=hosts, size=32)
            self._kept[key] = pools
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)[1].close()
            return pools

    def _context(self, upstream: str, ca_file: str | None, client_cert: _ClientCert) -> ssl.SSLContext:
        with self._contexts_lock:
            context = self._contexts.get((ca_file, client_cert))
            if context is None:
                try:
                    context = tls_context(ca_file, client_cert)
                except OSError as error:
                    problem = f"a certificate file cannot be used: {error.strerror or error}"
                    raise UpstreamRefused(upstream, problem) from error
                if len(self._contexts) >= _KEPT:
                    self._contexts.clear()
                self._contexts[ca_file, client_cert] = context
            return context

    def close(self) -> None:
        """Close all idle connections."""
        with self._lock:
            kept = list(self._kept.values())
            self._kept.clear()
        for each in kept:
            each.close()
