"""A WSGI application behind the server: what goes in, what comes out, and how it ends."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.server.conftest import LARGE, Running, rest

MB = 2**20


def get(server: Running, target: str, method: str = "GET", **headers: str) -> tuple[Any, bytes]:
    connection = server.connection()
    try:
        connection.request(method, target, headers=headers)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def wait_until(true: Any, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def test_the_reason_phrase_arrives_without_control_characters(server: Running) -> None:
    response, _ = get(server, "/reason")
    assert (response.status, response.reason) == (403, "H\u00e9ld untilFriday ?")


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/environ/a%2Bb", "/environ/a+b"),
        ("/environ/a+b", "/environ/a+b"),
        ("/environ/a%2Fb", "/environ/a/b"),
        ("/environ/%FF%C3%A9", "/environ/\xff\xc3\xa9"),
        ("/environ//a/../b", "/environ//a/../b"),
        ("http://other.example/environ", "/environ"),
        ("http://other.example", "/"),
    ],
)
def test_the_path_is_decoded_from_the_raw_target(server: Running, target: str, path: str) -> None:
    said = server.said_to(
        f"GET {target}?x=%2B HTTP/1.1\r\nHost: h.example\r\nConnection: close\r\n\r\n".encode()
    )
    environ = json.loads(said.partition(b"\r\n\r\n")[2])
    assert environ["PATH_INFO"] == path
    assert environ["RAW_URI"] == environ["REQUEST_URI"] == f"{target}?x=%2B"
    assert environ["HTTP_HOST"] == ("other.example" if "other" in target else "h.example")
    if "//other.example?" not in environ["RAW_URI"]:
        assert environ["QUERY_STRING"] == "x=%2B"


def test_raw_bytes_in_the_target_are_refused(server: Running) -> None:
    said = server.said_to(b"GET /environ/\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n")
    assert said.split(b" ")[1] == b"400"
    assert b"aiohttp" not in said


def test_headers_with_underscores_cannot_pose_as_others(server: Running) -> None:
    said = server.said_to(
        b"GET /environ HTTP/1.1\r\nHost: h\r\nX_Forwarded_For: evil\r\nAccept: a\r\nAccept: b\r\n"
        b"Connection: close\r\n\r\n"
    )
    environ = json.loads(said.partition(b"\r\n\r\n")[2])
    assert "HTTP_X_FORWARDED_FOR" not in environ
    assert environ["HTTP_ACCEPT"] == "a,b"
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["SERVER_PORT"] == str(server.port)


def test_head_has_the_length_and_no_body(server: Running) -> None:
    said = server.said_to(
        b"HEAD /environ HTTP/1.1\r\nHost: h\r\n\r\n"
        b"HEAD /file HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    )
    first, second, end = said.split(b"\r\n\r\n")
    assert b"Content-Length: " in first
    assert end == b""
    assert second.startswith(b"HTTP/1.1 200")


def test_a_status_without_body_sends_none_and_closes_the_iterable(server: Running) -> None:
    closed = server.json("/counts")["closed"]
    response, body = get(server, "/nothing")
    assert (response.status, body) == (204, b"")
    assert server.json("/counts")["closed"] == closed + 1


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_stream_arrives_whole(server: Running, framing: str) -> None:
    response, body = get(server, f"/stream?{framing}")
    assert len(body) == 50 * MB
    assert (response.getheader("Transfer-Encoding") == "chunked") == (framing == "chunked")


def test_an_old_client_gets_a_stream_that_ends_with_the_connection(server: Running) -> None:
    said = server.said_to(b"GET /stream HTTP/1.0\r\nHost: h\r\n\r\n")
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert len(body) == 50 * MB


def test_a_slow_client_holds_the_application_back_and_its_leaving_closes_the_iterable(
    server: Running,
) -> None:
    before = server.json("/counts")
    with server.raw() as client:
        client.sendall(b"GET /stream HTTP/1.1\r\nHost: h\r\n\r\n")
        client.recv(1000)
        time.sleep(0.5)
        held = server.json("/counts")
        assert held["produced"] - before["produced"] < 20 * MB
        assert held["closed"] == before["closed"]
    wait_until(lambda: server.json("/counts")["closed"] == before["closed"] + 1)


def test_more_slow_clients_than_threads_do_not_stop_the_others(server: Running) -> None:
    clients = [server.raw() for _ in range(8)]
    for client in clients:
        client.sendall(b"GET /stream HTTP/1.1\r\nHost: h\r\n\r\n")
        client.recv(1000)
    try:
        assert server.json("/counts")["pid"]
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize("target", ["/fail-late?length", "/short", "/file?offset=104857500&length=200"])
def test_a_body_that_cannot_be_finished_breaks_the_transfer(server: Running, target: str) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        get(server, target)


def test_a_failure_in_a_chunked_body_breaks_the_transfer(server: Running) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        get(server, "/fail-late")


def test_a_failure_in_a_body_without_any_framing_resets_the_connection(server: Running) -> None:
    with pytest.raises(ConnectionResetError):
        server.said_to(b"GET /fail-late HTTP/1.0\r\nHost: h\r\n\r\n")


def test_bytes_beyond_the_content_length_are_dropped(server: Running) -> None:
    assert get(server, "/long")[1] == b"some"


@pytest.mark.parametrize("target", ["/fail", "/bad-header"])
def test_a_failure_before_the_head_is_a_plain_500(server: Running, target: str) -> None:
    response, body = get(server, target)
    assert (response.status, body) == (500, b"500 Internal Server Error\n")
    assert response.getheader("Set-Cookie") is None


def test_an_upstream_that_fails_before_the_first_byte_is_a_502_and_one_line(server: Running) -> None:
    response, body = get(server, "/fail-outside")
    assert (response.status, body) == (502, b"502 Bad Gateway\n")
    log = server.errors.read_text()
    assert "GET /fail-outside: upstream upstream: its answer ended early" in log
    assert "UpstreamUnavailable" not in log


def test_a_body_that_breaks_off_for_a_logged_reason_is_not_logged_again(server: Running) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        get(server, "/fail-logged")
    assert "as the log says already" not in server.errors.read_text()


def test_the_write_callable_still_works(server: Running) -> None:
    assert get(server, "/write")[1] == b"one two three"


@pytest.mark.parametrize(
    ("query", "start", "end"),
    [("", 0, LARGE), ("offset=1000003&length=7", 1000003, 1000010), ("offset=104857599", LARGE - 1, LARGE)],
)
def test_a_file_is_sent_from_its_position(
    server: Running, large_file: Path, query: str, start: int, end: int
) -> None:
    response, body = get(server, f"/file?{query}")
    assert response.getheader("Content-Length") == str(end - start)
    assert hashlib.sha256(body).digest() == hashlib.sha256(large_file.read_bytes()[start:end]).digest()


def test_a_connection_lives_on_after_a_file(server: Running) -> None:
    connection = server.connection()
    for _ in range(3):
        connection.request("GET", "/file?length=1000")
        assert len(connection.getresponse().read()) == 1000
        connection.request("GET", "/environ")
        assert connection.getresponse().read()
    connection.close()


def test_a_large_file_passes_without_memory(server: Running) -> None:
    before = server.json("/counts")["rss"]
    get(server, "/file")
    assert server.json("/counts")["rss"] - before < 10


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_large_upload_passes_through_bounded_memory(server: Running, framing: str) -> None:
    before = server.json("/counts")["rss"]
    block = b"u" * MB
    connection = server.connection()
    headers = {"length": {"Content-Length": str(50 * MB)}, "chunked": {"Transfer-Encoding": "chunked"}}[
        framing
    ]
    connection.request("POST", "/upload", iter([block] * 50), headers, encode_chunked=framing == "chunked")
    said = json.loads(connection.getresponse().read())
    connection.close()
    assert (said["size"], said["sha256"]) == (50 * MB, hashlib.sha256(block * 50).hexdigest())
    assert said["rss"] - before < 25


def test_an_upload_whose_client_leaves_fails_in_the_application(server: Running) -> None:
    before = server.json("/counts")["broken_uploads"]
    with server.raw() as client:
        client.sendall(b"POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nsome")
        time.sleep(0.1)
    wait_until(lambda: server.json("/counts")["broken_uploads"] == before + 1)


def test_an_upload_that_stalls_fails_in_the_application(server: Running) -> None:
    before = server.json("/counts")["broken_uploads"]
    with server.raw() as client:
        client.sendall(b"POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nsome")
        assert rest(client).startswith(b"HTTP/1.1 500")
    assert server.json("/counts")["broken_uploads"] == before + 1


FORM = b"POST /upload HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\n"


def test_more_slow_forms_than_threads_do_not_stop_the_others(server: Running) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(server.raw()) for _ in range(12)]
        for client in clients:
            client.sendall(FORM + b"Content-Length: 8\r\nConnection: close\r\n\r\nsome")
        assert get(server, "/environ")[0].status == 200
        clients[0].sendall(b"more")
        assert b'"size": 8' in rest(clients[0])


def test_a_form_that_takes_too_long_is_408(server: Running) -> None:
    said = server.said_to(FORM + b"Content-Length: 8\r\n\r\nsome")
    assert said.startswith(b"HTTP/1.1 408 ")


def test_a_form_whose_client_expects_100_is_asked_for(server: Running) -> None:
    with server.raw() as client:
        client.sendall(FORM + b"Content-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"body")
        assert b'"size": 4' in rest(client)


def test_dripping_a_body_does_not_prolong_its_time(server: Running) -> None:
    """The worker waits three seconds for bytes; whoever sends one of them in time gets no more."""
    begun = time.monotonic()
    with server.raw() as client:
        client.sendall(b"POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nsome")
        client.settimeout(0.2)
        answer = b""
        while not answer:
            assert time.monotonic() < begun + 30, "it is still waited for"
            client.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                answer = client.recv(1000)
    assert answer.startswith(b"HTTP/1.1 500")


def test_slow_uploads_leave_threads_to_those_who_read(server: Running) -> None:
    head = b"POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\nConnection: close\r\n\r\nsome"
    clients = [server.raw() for _ in range(6)]  # there are four threads
    for client in clients:
        client.sendall(head)
    time.sleep(0.3)
    begun = time.monotonic()
    assert server.json("/counts")
    assert time.monotonic() - begun < 2, "it waited for those who send slowly"
    # Those whose turn does not come are told to come again, the others that they were too slow.
    statuses = sorted(rest(client)[9:12] for client in clients)
    assert set(statuses) <= {b"500", b"503"}
    for client in clients:
        client.close()


def test_a_client_that_expects_100_is_told_when_the_application_reads(server: Running) -> None:
    with server.raw() as client:
        client.sendall(
            b"POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n"
            b"Connection: close\r\n\r\n"
        )
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"body")
        assert b'"size": 4' in rest(client)


def test_an_upload_can_be_refused_before_its_body_is_sent(server: Running) -> None:
    said = server.said_to(
        b"POST /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\nExpect: 100-continue\r\n\r\n"
    )
    assert said.startswith(b"HTTP/1.1 401 Who are you\r\n")
    assert b"100 Continue" not in said
    assert b"Connection: close\r\n" in said


def test_an_early_answer_reaches_a_client_that_still_sends(server: Running) -> None:
    with server.raw() as client:
        client.sendall(b"POST /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 20971520\r\n\r\n")
        for _ in range(20):
            client.sendall(b"b" * MB)
        assert rest(client).startswith(b"HTTP/1.1 401 Who are you\r\n")


def test_an_endless_refused_upload_is_cut(server: Running) -> None:
    with server.raw() as client, pytest.raises(ConnectionError):
        client.sendall(b"POST /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 1048576000\r\n\r\n")
        for _ in range(1000):
            client.sendall(b"b" * MB)


def test_an_unknown_expectation_is_417(server: Running) -> None:
    said = server.said_to(b"GET /environ HTTP/1.1\r\nHost: h\r\nExpect: tea\r\nConnection: close\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 417")


def test_pipelined_requests_are_answered_in_order(server: Running) -> None:
    requests = b"".join(
        b"GET %s HTTP/1.1\r\nHost: h\r\n%s\r\n" % (path, b"Connection: close\r\n" if last else b"")
        for path, last in [(b"/environ/1", 0), (b"/hot/2", 0), (b"/slow", 0), (b"/environ/4", 1)]
    )
    said = server.said_to(requests)
    assert said.count(b"HTTP/1.1 200") == 4
    places = [said.index(mark) for mark in (b'"/environ/1"', b"/hot/2", b'"/environ/4"')]
    assert places == sorted(places)


SMUGGLING = {
    "length and chunked": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
    "two lengths": b"Content-Length: 4\r\nContent-Length: 5\r\n",
    "signed length": b"Content-Length: +4\r\n",
    "blank before colon": b"Content-Length : 4\r\n",
    "unknown coding": b"Transfer-Encoding: xchunked\r\n",
    "chunked twice": b"Transfer-Encoding: chunked, chunked\r\n",
    "two hosts": b"Host: other\r\n",
    "folded": b"X-A: b\r\n c\r\n",
    "bare LF": b"X-A: b\nX-C: d\r\n",
    "NUL": b"X-A: b\x00c\r\n",
}


@pytest.mark.parametrize("headers", SMUGGLING.values(), ids=SMUGGLING.keys())
def test_ambiguous_framing_is_refused_and_the_connection_closed(server: Running, headers: bytes) -> None:
    said = server.said_to(
        b"POST /upload HTTP/1.1\r\nHost: h\r\n"
        + headers
        + b"\r\n0\r\n\r\nGET /hot/smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
    )
    assert said.split(b" ")[1] == b"400"
    assert b"smuggled" not in said


def test_a_head_that_is_too_large_is_refused(server: Running) -> None:
    said = server.said_to(b"GET /environ HTTP/1.1\r\nHost: h\r\nX-A: " + b"a" * 20000 + b"\r\n\r\n")
    assert said.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))


@pytest.mark.parametrize("sent", [b"", b"GET /hot/x HTTP/1.1\r\nHost: h\r\n"])
def test_a_connection_without_a_whole_head_is_closed(server: Running, sent: bytes) -> None:
    begun = time.monotonic()
    assert server.said_to(sent) == b""
    assert 0.4 < time.monotonic() - begun < 2


def test_dripping_a_head_does_not_prolong_its_time(server: Running) -> None:
    begun = time.monotonic()
    with server.raw() as client, pytest.raises((ConnectionError, TimeoutError)):
        client.sendall(b"GET / HTTP/1.1\r\n")
        while time.monotonic() - begun < 5:
            client.sendall(b"X-A: b\r\n")
            time.sleep(0.1)
        raise AssertionError("the connection is still open")
    assert time.monotonic() - begun < 2


def test_requests_beyond_the_queue_are_told_to_come_again(server: Running) -> None:
    clients = [server.raw() for _ in range(12)]  # 4 threads and 4 that may wait
    for client in clients:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    answers = [rest(client) for client in clients]
    for client in clients:
        client.close()
    assert sum(answer.startswith(b"HTTP/1.1 200") for answer in answers) == 8
    refused = [answer for answer in answers if answer.startswith(b"HTTP/1.1 503")]
    assert len(refused) == 4
    assert all(b"Retry-After: 1\r\n" in answer for answer in refused)


def test_a_client_that_half_closes_does_not_break_others(server: Running) -> None:
    with server.raw() as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        rest(client)
    assert server.json("/counts")["pid"]
