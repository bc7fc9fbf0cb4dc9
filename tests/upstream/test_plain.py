"""Small files by one plain exchange: what is read, what is left to the session, and that its rules hold."""

from __future__ import annotations

import ssl
import sys
import threading
import time
import types

import pytest
import trustme

from koschey.errors import UpstreamRefused, UpstreamTimeout, UpstreamUnavailable
from koschey.hookspecs import Route, hookimpl
from koschey.plugins import load_plugins
from koschey.upstream.manners import Tally
from koschey.upstream.urls import parsed
from tests.upstream.conftest import endpoint
from tests.upstream.scripted import answer, redirect

BODY = b"small wheel"


def whole(session, server, *, size=11, deadline=5.0, url=None, **settings):
    tally = Tally()
    outcome = session.whole(
        endpoint(server, **settings),
        url or f"{server.url}packages/a.whl",
        size,
        deadline=deadline,
        tally=tally,
    )
    return outcome, tally.requests


def certified(folder):
    """A server's context, and the settings of an endpoint that trusts it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    return context, {"ca_file": str(folder / "ca.pem")}


def test_files_come_one_after_the_other_on_one_connection(serve, session):
    server = serve(lambda request: answer(BODY))
    assert [whole(session, server) for _ in range(3)] == [(BODY, 1)] * 3
    assert server.connections == 1
    asked = server.requests[0]
    assert asked.target == "/packages/a.whl"
    assert asked.headers["host"] == f"{server.host}:{server.port}"
    assert asked.headers["accept-encoding"] == "identity"
    assert asked.headers["user-agent"].startswith("koschey/")


@pytest.mark.parametrize(
    "said",
    [
        redirect("/elsewhere"),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nb\r\nsmall wheel\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\ntransfer-encoding : chunked\r\n\r\nsmall wheel",
        answer(BODY, content_encoding="gzip"),
        answer(BODY + b"!"),
        answer(BODY[:-1]),
        b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nsmall wheel and what nobody asked for",
        b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\ncontent-length: 12\r\n\r\nsmall wheel",
        b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\ncontent-length: +12\r\n\r\nsmall wheel",
        b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\nx: y\ntransfer-encoding: chunked\r\n\r\nsmall wheel",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nsmall wheel",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nsmall wheel",
        b"HTTP/1.1 200 OK\r\nx: y\r\n content-length: 11\r\n\r\nsmall wheel",
        b"HTTP/1.1 200 OK\r\n\r\nsmall wheel",
        b"HTTP/1.0 200 OK\r\ncontent-length: 11\r\n\r\nsmall wheel",
        b"HTTP/1.1 206 Partial Content\r\ncontent-length: 11\r\n\r\nsmall wheel",
        answer(status="500 Oops"),
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"x" * 100_000,
    ],
    ids=["redirect", "chunked", "disguised", "gzip", "longer", "shorter", "trailing", "two-lengths",
         "no-number", "bare-line-feed", "continue", "negative", "folded", "no-length",
         "old", "part", "500", "no-http", "no-end"],
)  # fmt: skip
def test_everything_else_is_left_to_the_session(serve, session, said):
    server = serve(lambda request: iter([said]))
    assert whole(session, server)[0] is None
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [404, 410])
def test_a_file_that_is_gone_is_said_to_be(serve, session, status):
    server = serve(lambda request: answer(status=f"{status} Gone"))
    assert whole(session, server) == (status, 1)


def test_an_origin_that_answers_otherwise_is_not_asked_twice_for_each_file(serve, session):
    server = serve(lambda request: redirect("/elsewhere"))
    assert [whole(session, server)[1] for _ in range(3)] == [1, 0, 0]


def test_retry_after_is_remembered_by_the_session(serve, session):
    server = serve(lambda request: answer(status="429 Slow", retry_after="30"))
    url = server.url + "small.whl"
    assert session.whole(endpoint(server), url, 11, deadline=5) is None
    with (
        pytest.raises(UpstreamUnavailable, match="left alone") as caught,
        session.open(endpoint(server), url, deadline=5),
    ):
        pass
    assert caught.value.retry_after > 25
    assert len(server.requests) == 1


def test_a_kept_connection_that_was_closed_is_no_failure(serve, session):
    server = serve(lambda request: answer(BODY))
    whole(session, server)
    server.drop_connections()
    assert whole(session, server)[0] == BODY
    assert server.connections == 2


GONE_TOO = answer(status="404 Not Found")


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_bytes_behind_a_body_are_not_the_next_answer(serve, session, tmp_path, tls):
    sending, sent = threading.Event(), threading.Event()

    def more_than_asked():
        yield b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n"
        sending.wait(5)  # so that the body does not come with its head
        yield BODY + GONE_TOO
        sent.set()

    context, settings = None, {}
    if tls:
        context, settings = certified(tmp_path)
    server = serve(lambda r: more_than_asked() if r.connection == 1 else answer(BODY), tls=context)
    threading.Timer(0.2, sending.set).start()
    assert whole(session, server, **settings)[0] == BODY
    assert sent.wait(5)
    assert whole(session, server, **settings)[0] == BODY
    assert server.connections == 2


def test_nothing_is_asked_of_a_paused_upstream(serve, session):
    server = serve(lambda request: answer(BODY))
    with pytest.raises(UpstreamUnavailable, match="paused: repairs"):
        whole(session, server, paused="repairs")
    assert server.connections == 0


def test_a_plug_in_is_asked_before_each_file(serve, make_session, monkeypatch):
    asked = []

    @hookimpl
    def koschey_outgoing_request(url):
        asked.append(url)
        return Route(headers={"X-Acme": "1"}) if len(asked) > 1 else None

    module = types.ModuleType("acme_plugin")
    module.koschey_outgoing_request = koschey_outgoing_request
    monkeypatch.setitem(sys.modules, "acme_plugin", module)
    server = serve(lambda request: answer(BODY))
    session = make_session(hooks=load_plugins(["acme_plugin"]))
    assert whole(session, server) == (BODY, 1)
    assert whole(session, server) == (None, 0)
    assert asked == [f"{server.url}packages/a.whl"] * 2


def test_what_is_kept_open_is_bounded_however_many_hosts_a_page_names(serve, session):
    own = serve(lambda request: answer(BODY))
    others = [serve(lambda request: answer(BODY), host=f"127.0.0.{n}") for n in range(2, 40)]
    for other in others:
        assert whole(session, own, url=f"{other.url}a.whl", internal=True)[0] == BODY
    for other in reversed(others):
        whole(session, own, url=f"{other.url}a.whl", internal=True)
    assert {other.connections for other in others[-8:]} == {1}
    assert {other.connections for other in others[:4]} == {2}


def test_the_deadline_is_for_all_of_it(serve, session):
    def drip(request):
        yield b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n"
        for byte in BODY:
            time.sleep(0.2)
            yield bytes([byte])

    server = serve(drip)
    with pytest.raises(UpstreamTimeout, match=r"within 0\.5 s"):
        whole(session, server, deadline=0.5)
    assert len(server.requests) == 1


def test_nobody_there_is_left_to_the_session(serve, session):
    server = serve(lambda request: answer(BODY))
    server.close()
    assert whole(session, server)[0] is None


def test_credentials_go_to_the_own_origin_only(serve, session):
    own, other = serve(lambda request: answer(BODY)), serve(lambda request: answer(BODY))
    for url in (f"{own.url}a.whl", f"{other.url}a.whl"):
        assert whole(session, own, url=url, username="u", password="secret", internal=True)[0] == BODY
    assert own.requests[0].headers["authorization"].startswith("Basic ")
    assert "authorization" not in other.requests[0].headers


def test_a_page_may_not_lead_to_loopback(serve, session):
    own, other = serve(lambda request: answer(BODY)), serve(lambda request: answer(BODY))
    with pytest.raises(UpstreamRefused, match="loopback"):
        whole(session, own, url=f"{other.url}a.whl")
    assert other.requests == []


def test_through_a_proxy_it_is_the_sessions(serve, session):
    server = serve(lambda request: answer(BODY))
    assert whole(session, server, proxy="http://proxy.example:3128") == (None, 0)


def test_certificates_are_checked(serve, session, tmp_path):
    context, settings = certified(tmp_path)
    server = serve(lambda request: answer(BODY), tls=context)
    assert whole(session, server) == (None, 0)
    assert whole(session, server, **settings) == (BODY, 1)


@pytest.mark.parametrize(
    "url",
    ["https://files.example/packages/a/b%2Bc.whl", "http://files.example:8080/", "https://files.example:443/x",
     "https://files.example:65536/", "https://files.example:0/", "https://u:p@files.example/", "http://[::1]/x",
     "https://Files.example/x", "https://files.example./x", "https://files.example/x?y#z", "http://a/../b//c",
     "https://files.example/ä", "https://files.example", "https://-a.example/", "http://127.1/x"],
)  # fmt: skip
def test_the_short_way_of_reading_a_url_agrees_with_the_long_one(monkeypatch, url):
    from koschey.upstream import urls

    def outcome():
        try:
            return parsed(url)
        except ValueError as error:
            return str(error)

    quick = outcome()
    monkeypatch.setattr(urls, "_PLAIN", urls.re.compile(r"(?!)"))
    assert quick == outcome()
