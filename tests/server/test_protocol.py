"""Ready-made answers, written where the bytes arrive."""

from __future__ import annotations

import json
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from koschey.server.heads import HeadParser
from tests.running import eventually
from tests.server.conftest import Running, rest

HOT = b"GET /hot/page?x=1 HTTP/1.1\r\nHost: h.example\r\nAccept: text/html\r\n"


def test_a_ready_answer_is_sent_with_a_date(server: Running) -> None:
    head, _, body = server.said_to(HOT + b"Connection: close\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 Hot\r\n")
    assert head.count(b"\r\nDate: ") == 1
    assert b"\r\nConnection: close" in head
    assert json.loads(body) == ["GET", "/hot/page?x=1", "h.example", "text/html"]


def test_the_connection_is_kept_and_shared_with_the_application(server: Running) -> None:
    connection = server.connection()
    for target, status in [("/hot/a", "Hot"), ("/environ", "OK"), ("/hot/b", "Hot"), ("/hot/c", "Hot")]:
        connection.request("GET", target)
        response = connection.getresponse()
        assert response.reason == status
        response.read()
        time.sleep(0.1)  # the connection is the application's until its task has come round
    connection.close()


def test_head_gets_no_body(server: Running) -> None:
    said = server.said_to(HOT.replace(b"GET", b"HEAD") + b"Connection: close\r\n\r\n")
    assert said.endswith(b"\r\n\r\n")
    assert b"Content-Length: 5" in said


def test_a_hot_path_that_fails_leaves_the_request_to_the_application(server: Running) -> None:
    assert server.json("/hot/broken")["PATH_INFO"] == "/hot/broken"


@pytest.mark.parametrize(
    "header",
    [b"Range: bytes=0-1", b"Content-Length: 0", b"Expect: 100-continue"],
)
def test_some_requests_always_take_the_full_way(server: Running, header: bytes) -> None:
    said = server.said_to(HOT + header + b"\r\nConnection: close\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_head_in_two_pieces_takes_the_full_way(server: Running) -> None:
    with server.raw() as client:
        client.sendall(HOT[:30])
        time.sleep(0.1)
        client.sendall(HOT[30:] + b"Connection: close\r\n\r\n")
        assert rest(client).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_header_value_that_looks_like_a_request_is_a_value(server: Running) -> None:
    with server.raw() as client:
        client.sendall(b"GET /environ HTTP/1.0\r\nX-Value: ")
        time.sleep(0.1)
        client.sendall(b"GET /hot/page HTTP/1.1\r\nHost: h.example\r\n\r\n")
        said = rest(client)
    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b'"HTTP_X_VALUE": "GET /hot/page HTTP/1.1"' in said


def test_a_body_that_looks_like_a_request_is_a_body(server: Running) -> None:
    inner = HOT + b"\r\n"
    with server.raw() as client:
        client.sendall(b"POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (2 * len(inner)))
        time.sleep(0.1)
        client.sendall(inner)
        time.sleep(0.1)
        client.sendall(inner + b"GET /environ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        said = rest(client)
    assert b'"size": %d' % (2 * len(inner)) in said
    assert b"200 Hot" not in said


def test_a_request_behind_a_slow_one_waits_for_its_turn(server: Running) -> None:
    with server.raw() as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        time.sleep(0.2)
        client.sendall(HOT + b"Connection: close\r\n\r\n")
        said = rest(client)
    assert said.index(b"200 OK") < said.index(b"h.example")


def test_a_client_that_reads_nothing_does_not_fill_the_memory(server: Running) -> None:
    before = server.json("/counts")["rss"]
    with server.raw() as client:
        for _ in range(100):
            client.sendall(HOT + b"X-Size: 1000000\r\n\r\n")
            time.sleep(0.01)  # each request in a segment of its own
        assert server.json("/counts")["rss"] - before < 40


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux can be asked to give up")
@pytest.mark.parametrize("connection", [b"close", b"keep-alive"])
def test_a_client_that_never_reads_its_answer_is_let_go(server: Running, connection: bytes) -> None:
    descriptors = Path(f"/proc/{server.process.pid}/fd")
    before = -1
    while before != (before := len(list(descriptors.iterdir()))):
        time.sleep(0.7)  # connections of earlier tests are still being let go
    with ExitStack() as stack:
        for _ in range(5):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", server.port))
            client.sendall(HOT + b"X-Size: 8000000\r\nConnection: %s\r\n\r\n" % connection)
        time.sleep(0.5)
        assert len(list(descriptors.iterdir())) >= before + 5
        # The server of these tests gives clients three seconds; the kernel looks now and then.
        eventually(lambda: len(list(descriptors.iterdir())) <= before, seconds=20)


WHOLE = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
NOT_ONE_WHOLE_HEAD = {
    "partial": WHOLE[:-2],
    "two": WHOLE + WHOLE,
    "with body": WHOLE + b"x",
    "POST": WHOLE.replace(b"GET", b"POST"),
    "no host": b"GET /a HTTP/1.1\r\nAccept: x\r\n\r\n",
    "two hosts": b"GET /a HTTP/1.1\r\nHost: h\r\nHost: g\r\n\r\n",
    "absolute": b"GET http://h/a HTTP/1.1\r\nHost: h\r\n\r\n",
    "bare LF": b"GET /a HTTP/1.1\r\nHost: h\nX: y\r\n\r\n",
    "bare CR": b"GET /a HTTP/1.1\r\nHost: h\rX: y\r\n\r\n",
    "folded": b"GET /a HTTP/1.1\r\nHost: h\r\n x\r\n\r\n",
    "blank before colon": b"GET /a HTTP/1.1\r\nHost : h\r\n\r\n",
    "NUL": b"GET /a HTTP/1.1\r\nHost: h\x00\r\n\r\n",
    "blank in target": b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
    "raw bytes in target": b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n",
    "HTTP/2": WHOLE.replace(b"1.1", b"2.0"),
    "length": b"GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n",
    "chunked": b"GET /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
    "upgrade": b"GET /a HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n",
    "huge": b"GET /a HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 5000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("data", NOT_ONE_WHOLE_HEAD.values(), ids=NOT_ONE_WHOLE_HEAD.keys())
def test_only_one_whole_well_formed_head_is_parsed(data: bytes) -> None:
    assert HeadParser().parse(data) is None


def test_a_whole_head_is_parsed() -> None:
    head = HeadParser().parse(b"GET /a%2B?b HTTP/1.1\r\nHOST: h\r\nX-A:\t b \r\nX-a: c\r\n\r\n")
    assert head is not None and head.request is not None
    assert (head.request.target, head.request.host, head.close) == ("/a%2B?b", "h", False)
    assert head.request.headers == {"host": "h", "x-a": "b, c"}


def test_the_memory_of_header_blocks_is_bounded() -> None:
    parser = HeadParser()
    for number in range(5000):
        assert parser.parse(b"GET /a HTTP/1.1\r\nHost: h\r\nX: %d\r\n\r\n" % number)
    assert len(parser._blocks) <= 512
