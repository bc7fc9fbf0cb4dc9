"""Certificates: verified always, by the authority that the upstream names."""

from __future__ import annotations

import ssl
from contextlib import closing

import pytest
import trustme

from koschey.errors import UpstreamRefused, UpstreamTimeout, UpstreamUnavailable
from koschey.hookspecs import Route, hookimpl
from koschey.plugins import load_plugins
from koschey.upstream.endpoint import Endpoint
from tests.upstream.conftest import endpoint, get
from tests.upstream.proxy import Proxy
from tests.upstream.scripted import answer, redirect
from tests.upstream.test_deadlines import drip


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def ca_file(authority, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


@pytest.fixture
def serve_tls(serve, authority):
    def start(play, names=("127.0.0.1",), **settings):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names).configure_cert(context)
        if settings.pop("wants_client_cert", False):
            context.verify_mode = ssl.CERT_REQUIRED
            authority.configure_trust(context)
        return serve(play, tls=context, **settings)

    return start


def test_the_upstreams_own_authority_is_accepted(serve_tls, session, ca_file):
    server = serve_tls(lambda request: answer(b"safe"))
    upstream = endpoint(server, ca_file=ca_file)
    assert [get(session, upstream) for _ in range(2)] == [b"safe", b"safe"]
    assert server.connections == 1


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_environments_authorities_are_accepted(serve_tls, session, ca_file, monkeypatch, variable):
    monkeypatch.setenv(variable, ca_file)
    assert get(session, endpoint(serve_tls(lambda request: answer(b"safe")))) == b"safe"


def test_an_unknown_authority_is_not_accepted_and_not_asked_twice(serve_tls, make_session):
    server = serve_tls(lambda request: answer(b"?"))
    with pytest.raises(UpstreamUnavailable, match=r"certificate .* not accepted"):
        get(make_session(retries=3), endpoint(server))
    assert server.connections == 1


def test_a_certificate_for_another_name_is_not_accepted(serve_tls, session, ca_file):
    server = serve_tls(lambda request: answer(b"?"), names=("other.example",))
    with pytest.raises(UpstreamUnavailable, match=r"certificate .* not accepted"):
        get(session, endpoint(server, ca_file=ca_file))


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_unusable_ca_file_is_refused_in_words(serve_tls, session, tmp_path, content):
    server = serve_tls(lambda request: answer(b"?"))
    path = tmp_path / "broken.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UpstreamRefused, match="certificate file cannot be used"):
        get(session, endpoint(server, ca_file=str(path)))


def test_a_redirect_from_https_to_http_is_refused(serve, serve_tls, session, ca_file):
    plain = serve(lambda request: answer(b"?"))
    server = serve_tls(lambda request: redirect(plain.url))
    with pytest.raises(UpstreamRefused, match="https to http"):
        get(session, endpoint(server, ca_file=ca_file, internal=True))
    assert plain.connections == 0


def test_the_deadline_holds_under_tls(serve_tls, session, ca_file):
    server = serve_tls(lambda request: drip(answer(b"x" * 100)))
    with pytest.raises(UpstreamTimeout):
        get(session, endpoint(server, ca_file=ca_file), deadline=0.4)


def test_a_client_certificate_is_shown_to_the_own_origin_only(
    serve_tls, authority, make_session, ca_file, tmp_path
):
    authority.issue_cert("build@acme.example").private_key_and_cert_chain_pem.write_to_path(
        tmp_path / "me.pem"
    )

    class Plugin:
        @hookimpl
        def koschey_outgoing_request(self):
            return Route(client_cert=str(tmp_path / "me.pem"))

    hooks = load_plugins()
    hooks.register(Plugin())
    session = make_session(hooks=hooks)
    server = serve_tls(lambda request: answer(b"known"), wants_client_cert=True)
    other = serve_tls(
        lambda request: answer(b"known"), names=("127.0.0.2",), host="127.0.0.2", wants_client_cert=True
    )
    upstream = endpoint(server, ca_file=ca_file, internal=True)
    assert get(session, upstream) == b"known"
    with pytest.raises(UpstreamUnavailable):
        get(session, upstream, other.url)
    assert not other.requests


@pytest.mark.parametrize("tls_inside", [True, False])
def test_a_proxy_may_itself_be_reached_by_tls(serve, serve_tls, session, authority, ca_file, tls_inside):
    def play(request):
        return drip(answer(b"x" * 100)) if "slow" in request.target else answer(b"sealed")

    server = serve_tls(play, names=("upstream.example",)) if tls_inside else serve(play)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with closing(Proxy({"upstream.example": server.port}, tls=context)) as proxy:
        scheme = "https" if tls_inside else "http"
        upstream = Endpoint("outside", f"{scheme}://upstream.example/", ca_file=ca_file, proxy=proxy.url)
        assert [get(session, upstream) for _ in range(2)] == [b"sealed", b"sealed"]
        assert [seen[0] for seen in proxy.seen] == (["CONNECT"] if tls_inside else ["GET", "GET"])
        if tls_inside:  # otherwise the proxy itself waits for the whole answer
            with pytest.raises(UpstreamTimeout):
                get(session, upstream, upstream.url + "slow", deadline=0.5)


def test_what_is_deciphered_already_is_not_the_next_answer(serve_tls, session, ca_file):
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (8192 - 41)
    body = bytes(8192 - 41)  # head and body are what a response reads in one go
    assert len(head + body) == 8192
    server = serve_tls(lambda request: head + body + answer(b"poisoned"))  # and all of it is one TLS record
    upstream = endpoint(server, ca_file=ca_file)
    assert [get(session, upstream) == body for _ in range(2)] == [True, True]
    assert server.connections == 2
