"""One deadline over everything, however slowly the bytes drip in."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from koschey.errors import UpstreamTimeout, UpstreamUnavailable
from koschey.upstream.endpoint import Endpoint
from tests.upstream.conftest import endpoint, get
from tests.upstream.scripted import answer, redirect


def drip(data, pause=0.05):
    for byte in data:
        yield bytes([byte])
        time.sleep(pause)


def endless(start, piece, pause=0.01):
    yield start
    while True:
        yield piece
        time.sleep(pause)


SLOW = {
    "a head that drips": lambda request: drip(answer(b"x" * 50, server="x" * 50)),
    "a body that drips": lambda request: drip(answer(b"x" * 50)[-60:].rjust(0)),
    "headers without end": lambda request: endless(b"HTTP/1.1 200 OK\r\n", b"x: y", 0.02),
    "endless interim answers": lambda request: endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a chunked body that drips": lambda request: endless(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"
    ),
    "a chunk size that drips": lambda request: endless(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"0"
    ),
    "silence": lambda request: endless(b"", b"", 0.1),
    "silence after the head": lambda request: endless(answer(content_length="9"), b"", 0.1),
}


@pytest.mark.parametrize("kind", SLOW)
def test_the_deadline_ends(kind, serve, session):
    play = SLOW[kind]
    if kind == "a body that drips":
        whole = answer(b"x" * 50)

        def play(request):
            yield whole[:-50]
            yield from drip(whole[-50:])

    server = serve(play)
    started = time.monotonic()
    with pytest.raises(UpstreamTimeout):
        get(session, endpoint(server), deadline=0.3)
    assert 0.25 < time.monotonic() - started < 1.2


def test_the_deadline_covers_redirects_together(serve, session):
    def play(request):
        time.sleep(0.2)
        return redirect(f"{request.target}x")

    server = serve(play)
    started = time.monotonic()
    with pytest.raises(UpstreamTimeout):
        get(session, endpoint(server), deadline=0.5)
    assert time.monotonic() - started < 1


def test_an_upstream_that_falls_silent_is_given_up_before_the_deadline(serve, make_session):
    server = serve(SLOW["silence after the head"])
    with pytest.raises(UpstreamTimeout, match=r"silent for 0\.2 s"):
        get(make_session(read_timeout=0.2), endpoint(server), deadline=30)


def test_a_kept_alive_connection_gets_the_next_exchanges_deadline(serve, session):
    def play(request):
        time.sleep(1.2 if request.target == "/slow" else 0)
        return answer(b"x")

    server = serve(play)
    get(session, endpoint(server), deadline=1)
    assert get(session, endpoint(server), server.url + "slow", deadline=5) == b"x"
    assert server.connections == 1


def test_pieces_come_as_they_arrive(serve, session):
    more = threading.Event()

    def play(request):
        yield answer(b"first", content_length="10")
        more.wait(5)
        yield b"later"

    server = serve(play)
    with session.open(endpoint(server), server.url, deadline=5, decode=False) as said:
        pieces = said.chunks()
        assert next(pieces) == b"first"
        more.set()
        assert b"".join(pieces) == b"later"


def test_a_body_can_be_read_by_another_thread(serve, session):
    server = serve(lambda request: answer(b"x" * 300_000))
    read = []
    with session.open(endpoint(server), server.url, deadline=5) as said:
        reader = threading.Thread(target=lambda: read.append(said.read(2**20)))
        reader.start()
        reader.join()
    assert len(read[0]) == 300_000


def test_a_reader_that_dawdles_meets_the_deadline_even_in_what_has_arrived(serve, session):
    server = serve(lambda request: answer(b"0123456789"))
    with session.open(endpoint(server), server.url, deadline=0.5) as said:
        pieces = said.chunks(1)
        assert next(pieces) == b"0"
        time.sleep(0.6)
        with pytest.raises(UpstreamTimeout):
            next(pieces)


def test_a_port_where_nobody_listens_is_unavailable(session):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(UpstreamUnavailable, match="refused"):
        get(session, Endpoint("outside", f"http://127.0.0.1:{port}/simple/"))


def test_a_tls_handshake_that_never_comes_ends(make_session):
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts, says nothing
        upstream = Endpoint("outside", f"https://127.0.0.1:{listener.getsockname()[1]}/simple/")
        started = time.monotonic()
        with pytest.raises(UpstreamTimeout):
            get(make_session(), upstream, deadline=0.3)
        assert time.monotonic() - started < 1.2
