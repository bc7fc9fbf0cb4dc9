"""Fixtures of the outgoing session's tests: scripted servers and sessions that are closed afterwards."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from koschey.upstream.endpoint import Endpoint
from koschey.upstream.session import OutgoingSession
from tests.upstream.scripted import Play, ScriptedServer


@pytest.fixture(autouse=True)
def _no_proxy_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    """Start a scripted server: ``serve(play, host=…, tls=…)``."""
    with ExitStack() as stack:

        def start(
            play: Play, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
        ) -> ScriptedServer:
            return stack.enter_context(closing(ScriptedServer(play, host=host, tls=tls)))

        yield start


@pytest.fixture
def make_session() -> Iterator[Callable[..., OutgoingSession]]:
    """A session with short timeouts, where a test names no others."""
    with ExitStack() as stack:

        def make(**settings: Any) -> OutgoingSession:
            settings = {"connect_timeout": 2, "read_timeout": 2, "retries": 0} | settings
            return stack.enter_context(closing(OutgoingSession(**settings)))

        yield make


@pytest.fixture
def session(make_session: Callable[..., OutgoingSession]) -> OutgoingSession:
    return make_session()


def endpoint(server: ScriptedServer, **settings: Any) -> Endpoint:
    """The server as an upstream named ``outside``."""
    return Endpoint("outside", server.url + "simple/", **settings)


def get(session: OutgoingSession, upstream: Endpoint, url: str | None = None, **settings: Any) -> bytes:
    """The body of one GET."""
    settings = {"deadline": 5} | settings
    with session.open(upstream, url or upstream.url, **settings) as answer:
        return answer.read(2**20)
