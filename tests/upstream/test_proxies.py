"""Through a proxy: from the settings, from the environment, and what is checked all the same."""

from __future__ import annotations

import ssl
from contextlib import closing

import pytest
import trustme

from koschey.errors import UpstreamRefused, UpstreamUnavailable
from koschey.upstream.endpoint import Endpoint
from tests.upstream.conftest import get
from tests.upstream.proxy import Proxy
from tests.upstream.scripted import answer, redirect


@pytest.fixture
def server(serve):
    return serve(lambda request: answer(b"through"))


@pytest.fixture
def proxy(server):
    with closing(Proxy({"upstream.example": server.port, "files.example": server.port})) as proxy:
        yield proxy


def outside(**settings):
    return Endpoint("outside", "http://upstream.example/simple/", **settings)


def test_the_endpoints_proxy_is_used(session, proxy):
    assert get(session, outside(proxy=proxy.url)) == b"through"
    [(method, target, headers)] = proxy.seen
    assert (method, target, headers["host"]) == ("GET", "http://upstream.example/simple/", "upstream.example")


def test_the_proxys_password_goes_to_the_proxy_only(session, proxy, server):
    get(session, outside(proxy=f"http://me:p%40ss@{proxy.address}"))
    assert proxy.seen[0][2]["proxy-authorization"] == "Basic bWU6cEBzcw=="
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_the_environments_proxy_is_used(make_session, proxy, monkeypatch, variable):
    monkeypatch.setenv(variable, proxy.address)
    session = make_session()
    monkeypatch.delenv(variable)  # looked at once, when the session was made
    assert get(session, outside()) == b"through"
    assert len(proxy.seen) == 1


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [
        ("127.0.0.1", True),
        ("other.example, 127.0.0.0/8", True),
        ("*", True),
        ("127.0.0.1:1", False),
        ("10.0.0.0/8", False),
        ("7.0.0.1", False),
        ("", False),
    ],
)
def test_no_proxy_names_hosts_and_networks_to_reach_directly(
    make_session, proxy, server, monkeypatch, no_proxy, direct
):
    proxy.names["127.0.0.1"] = server.port
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert get(make_session(), Endpoint("outside", server.url)) == b"through"
    assert (not proxy.seen) is direct


def test_an_empty_proxy_means_none_whatever_the_environment_says(make_session, proxy, server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    assert get(make_session(), Endpoint("outside", server.url, proxy="")) == b"through"
    assert not proxy.seen


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "[::1]", "localhost", "x.localhost", "10.0.0.1"]
)
def test_a_literal_inner_address_is_refused_before_the_proxy_sees_it(session, proxy, host):
    with pytest.raises(UpstreamRefused, match="declare the upstream internal"):
        get(session, outside(proxy=proxy.url), f"http://{host}/x")
    assert not proxy.seen


def test_credentials_stay_with_their_origin_behind_a_proxy_too(serve, session):
    def play(request):
        host = request.headers["host"]
        return redirect("http://files.example/x") if host == "upstream.example" else answer(b"file")

    server = serve(play)
    with closing(Proxy({"upstream.example": server.port, "files.example": server.port})) as proxy:
        assert get(session, outside(proxy=proxy.url, token="canary")) == b"file"
    assert [seen[2].get("authorization") for seen in proxy.seen] == ["Bearer canary", None]


def test_https_goes_through_a_tunnel_and_is_verified(serve, session, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("upstream.example").configure_cert(context)
    server = serve(lambda request: answer(b"sealed"), tls=context)
    with closing(Proxy({"upstream.example": server.port})) as proxy:
        upstream = Endpoint(
            "outside",
            "https://upstream.example/",
            token="canary",
            proxy=proxy.url,
            ca_file=str(tmp_path / "ca.pem"),
        )
        assert [get(session, upstream) for _ in range(2)] == [b"sealed", b"sealed"]
        assert [(method, target) for method, target, _ in proxy.seen] == [("CONNECT", "upstream.example:443")]
        assert "authorization" not in proxy.seen[0][2]
    assert server.requests[0].headers["authorization"] == "Bearer canary"


def test_a_proxy_that_is_down_is_unavailable_and_its_password_unseen(session, server):
    server.close()
    with pytest.raises(UpstreamUnavailable) as refused:
        get(session, outside(proxy=f"http://me:canary@127.0.0.1:{server.port}"))
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("url", ["socks5://proxy.example:1080", "proxy.example:3128", "http://"])
def test_a_proxy_that_we_cannot_speak_to_is_refused(session, url):
    with pytest.raises(UpstreamRefused, match="proxy must be"):
        get(session, outside(proxy=url))
