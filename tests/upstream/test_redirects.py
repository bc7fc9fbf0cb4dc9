"""Redirects are followed one careful hop at a time; credentials stay at home."""

from __future__ import annotations

import pytest

from koschey.errors import RequestInvalid, UpstreamRefused
from koschey.upstream.endpoint import Endpoint
from koschey.upstream.urls import parsed, shown
from tests.upstream.conftest import endpoint, get
from tests.upstream.scripted import answer, redirect


@pytest.mark.parametrize("status", ["301 M", "302 F", "303 S", "307 T", "308 P"])
def test_a_relative_redirect_is_followed(serve, session, status):
    def play(request):
        return redirect("../b/?x=1#there", status) if request.target == "/simple/" else answer(b"found")

    server = serve(play)
    with session.open(endpoint(server), endpoint(server).url, deadline=5) as said:
        assert said.read(100) == b"found"
        assert said.url == server.url + "b/?x=1"
    assert server.connections == 1  # the redirect's connection was kept alive


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("file:///etc/passwd", "only http and https"),
        ("ftp://files.example/x", "only http and https"),
        ("javascript:alert(1)", "only http and https"),
        ("http://169.254.169.254/latest/meta-data/", "link-local"),
        ("http://127.0.0.2:9/", "loopback"),
        ("http://[::1]/", "loopback"),
        ("//127.0.0.2/", "loopback"),
        ("http://[zz/", "unreadable"),
        ("http://a b/", "blanks"),
        ("http://files.example\\@127.0.0.1/", "backslashes"),
        ("http://fi les", "blanks"),
        ("http://x:99999/", "proper host"),
        ("/simple/", "circle"),
    ],
)
def test_a_redirect_to_where_nobody_should_go_is_refused(serve, session, location, reason):
    server = serve(lambda request: redirect(location))
    with pytest.raises(UpstreamRefused, match=reason):
        get(session, endpoint(server))
    assert len(server.requests) == 1


def test_five_redirects_are_followed_and_a_sixth_is_not(serve, session):
    def play(request):
        number = int(request.target.rpartition("/")[2] or 0)
        return answer(b"end") if number == 5 and "five" in request.target else redirect(f"{number + 1}")

    server = serve(play)
    assert get(session, endpoint(server), server.url + "five/0") == b"end"
    before = len(server.requests)
    with pytest.raises(UpstreamRefused, match="more than 5 times"):
        get(session, endpoint(server), server.url + "endless/0")
    assert len(server.requests) - before == 6


def test_a_loop_over_two_pages_is_noticed(serve, session):
    server = serve(lambda request: redirect("/b" if request.target == "/a" else "/a"))
    with pytest.raises(UpstreamRefused, match="circle"):
        get(session, endpoint(server), server.url + "a")
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({"username": "me", "password": "pä:ss"}, "Basic bWU6cMOkOnNz"),
        ({"token": "canary"}, "Bearer canary"),
    ],
)
def test_credentials_go_to_the_upstreams_own_origin_and_nowhere_else(serve, session, settings, sent):
    elsewhere = serve(lambda request: answer(b"file"), host="127.0.0.2")

    def play(request):
        return redirect(elsewhere.url) if request.target == "/simple/b/" else redirect("/simple/b/")

    home = serve(play)
    upstream = endpoint(home, internal=True, **settings)
    assert get(session, upstream, headers={"Cookie": "a=b", "If-None-Match": '"x"'}) == b"file"
    assert [request.headers.get("authorization") for request in home.requests] == [sent, sent]
    assert elsewhere.requests[0].headers.keys() == {"host", "user-agent", "accept-encoding", "if-none-match"}


def test_a_cookie_that_an_upstream_sets_is_forgotten(serve, session):
    server = serve(lambda request: answer(set_cookie="track=1"))
    get(session, endpoint(server))
    get(session, endpoint(server))
    assert "cookie" not in server.requests[1].headers


@pytest.mark.parametrize(
    ("url", "understood"),
    [
        ("HTTP://Files.Example./a b".replace(" ", "%20"), "http://files.example/a%20b"),
        ("https://user:secret@files.example:443/x#part", "https://files.example/x"),
        ("http://files.example", "http://files.example/"),
        ("http://files.example:8080/ü?q=ä", "http://files.example:8080/%C3%BC?q=%C3%A4"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://[2001:DB8::1]:80/", "http://[2001:db8::1]/"),
        ("http://files.example//double", "http://files.example//double"),
    ],
)
def test_a_url_is_understood_in_one_way_only(url, understood):
    assert parsed(url).url == understood


def test_a_shown_url_keeps_its_secrets():
    assert shown("https://user:secret@files.example/x?sig=secret#secret") == "https://files.example/x?…"


def test_an_endpoint_shows_no_secret_and_ends_in_a_slash():
    upstream = Endpoint(
        "outside", "https://upstream.example/simple", "me", "canary", "canary", proxy="canary"
    )
    assert upstream.url == "https://upstream.example/simple/"
    assert "canary" not in repr(upstream)


@pytest.mark.parametrize(
    "url", ["ftp://upstream.example/", "upstream.example", "https://u:canary@upstream.example/"]
)
def test_an_endpoint_with_an_unusable_url_is_refused_in_words_without_the_secret(url):
    with pytest.raises(RequestInvalid) as refused:
        Endpoint("outside", url)
    assert "canary" not in str(refused.value)
