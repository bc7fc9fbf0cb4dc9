"""Bodies and heads are believed only within limits."""

from __future__ import annotations

import gzip
import http.client
import time
import tracemalloc
import zlib

import pytest

from koschey.errors import UpstreamInvalid, UpstreamUnavailable
from tests.upstream.conftest import endpoint, get
from tests.upstream.scripted import answer


def read(session, server, limit=1000, **settings):
    with session.open(endpoint(server), server.url, deadline=5, **settings) as said:
        return said.read(limit)


@pytest.mark.parametrize(
    ("size", "fits"), [(0, True), (999, True), (1000, True), (1001, False), (5000, False)]
)
@pytest.mark.parametrize("kind", ["plain", "gzip", "chunked", "until closed"])
def test_a_body_fits_its_limit_or_is_refused(serve, session, size, fits, kind):
    body = b"x" * size

    def until_closed(request):
        yield b"HTTP/1.1 200 OK\r\n\r\n" + body

    plays = {
        "plain": lambda request: answer(body),
        "gzip": lambda request: answer(gzip.compress(body), content_encoding="gzip"),
        "chunked": lambda request: (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
            + (b"%x\r\n%s\r\n" % (size, body) if size else b"")
            + b"0\r\n\r\n"
        ),
        "until closed": until_closed,
    }
    server = serve(plays[kind])
    if fits:
        assert read(session, server) == body
    else:
        with pytest.raises(UpstreamInvalid, match="larger than 1000 bytes"):
            read(session, server)


def test_two_gigabytes_declared_are_refused_before_one_is_read(serve, session):
    server = serve(lambda request: answer(b"[", content_length=str(2 * 2**30)))
    started = time.monotonic()
    with pytest.raises(UpstreamInvalid, match="larger"):
        read(session, server, limit=96 * 2**20)
    assert time.monotonic() - started < 1


def test_a_compressed_bomb_is_not_inflated(serve, session):
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(squeeze.compress(bytes(2**20)) for _ in range(60)) + squeeze.flush()
    server = serve(lambda request: answer(bomb, content_encoding="gzip"))
    tracemalloc.start()
    try:
        with pytest.raises(UpstreamInvalid, match="larger"):
            read(session, server, limit=2**20)
        assert tracemalloc.get_traced_memory()[1] < 5 * 2**20
    finally:
        tracemalloc.stop()


def test_compressed_input_that_never_yields_output_is_bounded_too(serve, session):
    empty_members = gzip.compress(b"") * 20_000
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n"  # no length that would give it away
    server = serve(lambda request: iter([head, empty_members]))
    with pytest.raises(UpstreamInvalid, match="larger"):
        read(session, server)


def test_several_gzip_members_are_one_body(serve, session):
    server = serve(
        lambda request: answer(gzip.compress(b"a" * 65536) + gzip.compress(b"b"), content_encoding="GZIP")
    )
    assert read(session, server, limit=2**20) == b"a" * 65536 + b"b"


@pytest.mark.parametrize(
    ("body", "coding", "reason"),
    [
        (b"no gzip", "gzip", "is not the gzip"),
        (gzip.compress(b"x" * 5000)[:-9], "gzip", "ends in the middle"),
        (gzip.compress(b"x") + b"rest", "gzip", "is not the gzip"),
        (gzip.compress(b"x"), "br", "nobody asked for"),
        (gzip.compress(gzip.compress(b"x")), "gzip, gzip", "nobody asked for"),
    ],
    ids=["plain text", "cut off", "with a rest", "another coding", "twice"],
)
def test_a_body_that_is_not_what_its_encoding_says_is_refused(serve, session, body, coding, reason):
    server = serve(lambda request: answer(body, content_encoding=coding))
    with pytest.raises(UpstreamInvalid, match=reason):
        read(session, server, limit=10_000)


def test_without_decoding_the_bytes_stay_as_they_are(serve, session):
    packed = gzip.compress(b"x")
    server = serve(lambda request: answer(packed, content_encoding="gzip"))
    assert read(session, server, decode=False) == packed
    assert server.requests[0].headers["accept-encoding"] == "identity"


def test_gzip_is_asked_for_unless_the_caller_says_otherwise(serve, session):
    server = serve(lambda request: answer())
    read(session, server)
    read(session, server, headers={"accept-encoding": "identity"})
    assert [request.headers["accept-encoding"] for request in server.requests] == ["gzip", "identity"]


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
    ],
)
def test_a_body_that_breaks_off_is_no_answer(serve, session, said):
    server = serve(lambda request: iter([said]))
    with pytest.raises(UpstreamUnavailable):
        read(session, server)


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5, 6\r\n\r\nabcdef",
    ],
    ids=["another protocol", "no status", "200 headers", "a header of 70 kB", "two lengths"],
)
def test_what_is_not_http_is_refused_at_once(serve, make_session, said):
    server = serve(lambda request: iter([said]))
    with pytest.raises(UpstreamInvalid, match="not HTTP"):
        read(make_session(retries=3), server)
    assert len(server.requests) == 1


def test_only_known_headers_get_in_and_none_with_control_characters(serve, session):
    server = serve(
        lambda request: answer(
            etag='"a"', x_evil="1", set_cookie="a=b", x_pypi_last_serial="7", last_modified="x\x07y"
        )
    )
    with session.open(endpoint(server), server.url, deadline=5) as said:
        assert dict(said.headers) == {"content-length": "0", "etag": '"a"', "x-pypi-last-serial": "7"}
        assert said.headers["ETag"] == '"a"'


def test_the_head_limits_of_http_client_are_what_we_count_on():
    assert (http.client._MAXHEADERS, http.client._MAXLINE) == (100, 65536)


@pytest.mark.parametrize(
    "status", ["200 OK", "204 No", "206 Partial", "304 Not", "401 No", "404 No", "410 Gone"]
)
def test_any_final_status_is_an_answer_and_its_connection_is_kept(serve, session, status):
    body = b"" if status[0] != "4" else b"sorry"
    server = serve(lambda request: answer(body, status))
    for _ in range(2):
        with session.open(endpoint(server), server.url, deadline=5) as said:
            assert said.status == int(status[:3])
    assert server.connections == 1
    assert get(session, endpoint(server)) == body
