"""Where pages and redirects may lead."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from koschey.errors import UpstreamError, UpstreamRefused
from koschey.upstream.addresses import AddressPolicy, forbidden_range
from koschey.upstream.deadlines import Exchange
from koschey.upstream.endpoint import Endpoint
from tests.upstream.conftest import endpoint, get
from tests.upstream.scripted import answer, redirect

FORBIDDEN = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.168.1.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "ff02::1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:0:127.0.0.1",
    "2002:7f00:1::",
    "2002:0a00:1::1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "2001::80ff:fffe",  # Teredo of 127.0.0.1
]
ALLOWED = [
    "1.1.1.1",
    "172.32.0.1",
    "100.128.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "2001:db8::1",
    "2600::1",
    "::ffff:192.0.2.1",
    "2002:c000:201::",
    "64:ff9b::192.0.2.1",
]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_an_inner_address_is_forbidden(address):
    assert forbidden_range(address)


@pytest.mark.parametrize("address", ALLOWED)
def test_a_public_or_documentation_address_is_allowed(address):
    assert forbidden_range(address) is None


def test_the_upstreams_own_address_may_be_anywhere(serve, session):
    server = serve(lambda request: answer(b"here"))
    assert get(session, endpoint(server)) == b"here"


@pytest.mark.parametrize("spelling", ["127.0.0.2", "127.2", "0x7f000002", "2130706434", "[::ffff:127.0.0.2]"])
def test_a_file_on_another_loopback_address_is_refused_however_it_is_spelt(serve, session, spelling):
    elsewhere = serve(lambda request: answer(b"inner"), host="127.0.0.2")
    home = serve(lambda request: answer())
    with pytest.raises(UpstreamRefused, match="loopback"):
        get(session, endpoint(home), f"http://{spelling}:{elsewhere.port}/x.whl")
    assert elsewhere.connections == 0


def test_another_port_of_the_upstreams_host_is_another_place(serve, session):
    elsewhere = serve(lambda request: answer(b"inner"))
    home = serve(lambda request: answer())
    with pytest.raises(UpstreamRefused, match="loopback"):
        get(session, endpoint(home), elsewhere.url)
    assert elsewhere.connections == 0


def test_an_upstream_declared_internal_may_point_inside(serve, session):
    elsewhere = serve(lambda request: answer(b"inner"), host="127.0.0.2")
    home = serve(lambda request: redirect(elsewhere.url))
    assert get(session, endpoint(home, internal=True)) == b"inner"


def test_being_internal_is_not_inherited_by_another_upstream_with_the_same_files(serve, session):
    elsewhere = serve(lambda request: answer(b"inner"), host="127.0.0.2")
    home = serve(lambda request: answer())
    assert get(session, endpoint(home, internal=True), elsewhere.url) == b"inner"
    with pytest.raises(UpstreamRefused, match="loopback"):  # although a connection is kept alive
        get(session, endpoint(home), elsewhere.url)


def _as(*addresses, port):
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]


def test_a_name_is_judged_by_every_address_it_resolves_to(serve, make_session):
    elsewhere = serve(lambda request: answer(b"inner"))
    home = serve(lambda request: answer())

    def resolve(host, port, *_):
        return _as("192.0.2.1", "127.0.0.1", port=port) if host == "files.example" else _as(host, port=port)

    with pytest.raises(UpstreamRefused, match=r"files\.example leads to 127\.0\.0\.1"):
        get(make_session(resolve=resolve), endpoint(home), f"http://files.example:{elsewhere.port}/x")
    assert elsewhere.connections == 0


def test_a_name_is_resolved_once_per_connection_so_rebinding_finds_no_gap(serve, make_session):
    home = serve(lambda request: answer(b"here"))
    asked = []

    def resolve(host, port, *_):
        asked.append(host)
        # Whoever looks up a second time to connect, after the check, goes elsewhere.
        return _as("127.0.0.1" if len(asked) == 1 else "127.0.0.9", port=port)

    upstream = Endpoint("outside", f"http://upstream.example:{home.port}/simple/")
    session = make_session(resolve=resolve)
    assert [get(session, upstream) for _ in range(2)] == [b"here", b"here"]
    assert asked == ["upstream.example"]


def test_a_name_that_turns_inward_later_is_caught_at_the_next_connection(serve, make_session):
    elsewhere = serve(lambda request: answer(b"inner"))
    policy = AddressPolicy("outside", Endpoint("outside", "http://upstream.example/").origin, False, _turning)
    exchange = Exchange(5, connect_timeout=1, read_timeout=1)
    assert policy.addresses("files.example", elsewhere.port, exchange)[0][4][0] == "192.0.2.1"
    with pytest.raises(UpstreamRefused, match="loopback"):
        policy.addresses("files.example", elsewhere.port, exchange)


def _turning(host, port, *_, answers=iter(["192.0.2.1", "127.0.0.1"])):  # noqa: B008 - state is the point
    return _as(next(answers), port=port)


def test_a_resolver_that_hangs_ends_with_the_connect_timeout(make_session):
    release = threading.Event()
    session = make_session(resolve=lambda *_: release.wait(5), connect_timeout=0.2)
    started = time.monotonic()
    with pytest.raises(UpstreamError):
        get(session, Endpoint("outside", "http://upstream.example/simple/"))
    assert time.monotonic() - started < 2
    release.set()
