"""Worker processes: shared, replaced, drained, stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from koschey.server.listener import AddressUnusable, listen, parse, url_of
from tests.server.conftest import ROOT, Running
from tests.server.test_bridge import wait_until

Start = Callable[..., Running]


def pids(server: Running, requests: int = 40) -> set[int]:
    """The worker processes that answer; connections are held open so that each must take some."""
    connections = [server.connection() for _ in range(requests)]
    try:
        for connection in connections:
            connection.request("GET", "/counts")
        return {json.loads(c.getresponse().read())["pid"] for c in connections}
    finally:
        for connection in connections:
            connection.close()


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


class InFlight:
    """A slow request, sent and not yet answered."""

    def __init__(self, server: Running) -> None:
        self.answer: Any = None
        self.connection: HTTPConnection = server.connection()
        self.connection.request("GET", "/slow")
        self.thread = threading.Thread(target=self._read)
        self.thread.start()
        time.sleep(0.2)

    def _read(self) -> None:
        try:
            response = self.connection.getresponse()
            self.answer = response.status, response.getheader("Connection"), response.read()
        except OSError as error:
            self.answer = error
        self.connection.close()

    def answered(self) -> Any:
        self.thread.join(15)
        return self.answer


def test_connections_reach_both_workers(start: Start) -> None:
    server = start()
    assert len(pids(server)) == 2


def test_the_parent_stays_small(start: Start) -> None:
    server = start()
    loaded = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "uvloop" not in loaded
    assert "_http_parser" not in loaded


def test_a_killed_worker_is_replaced(start: Start) -> None:
    server = start()
    before = pids(server)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(pids(server)) == 2 and victim not in pids(server))
    assert "died (signal SIGKILL); starting another" in server.errors.read_text()


def test_workers_that_keep_dying_end_the_service(start: Start) -> None:
    server = start()
    deadline = time.monotonic() + 20
    while server.process.poll() is None and time.monotonic() < deadline:
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
        for pid in children.read_text().split()[:1]:
            os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.1)
    assert server.process.wait(15) == 1
    assert "5 workers died within 30 seconds; giving up" in server.errors.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_requests_in_flight_finish(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    server = start(SMALL_APP_CLOSED=str(tmp_path / "closed"))
    idle = server.raw()
    request = InFlight(server)
    server.process.send_signal(number)
    assert request.answered()[:2] == (200, "close")
    assert server.process.wait(15) == 0
    assert (tmp_path / "closed").read_text() == "closed"
    assert idle.recv(10) == b""
    idle.close()


def test_a_stop_lets_an_upload_finish(start: Start) -> None:
    server = start()
    with server.raw() as client:
        client.sendall(b"POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nhalf")
        time.sleep(0.2)
        server.process.terminate()
        time.sleep(0.3)
        client.sendall(b"half")
        assert b'"size": 8' in client.recv(1000)
    assert server.process.wait(15) == 0


def test_a_second_interrupt_stops_at_once(start: Start) -> None:
    server = start()
    request = InFlight(server)
    begun = time.monotonic()
    server.process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(15) == 130
    assert time.monotonic() - begun < 0.5
    assert isinstance(request.answered(), OSError)


def test_a_stop_answers_a_connection_that_just_came(start: Start) -> None:
    server = start()
    with server.raw() as client:
        time.sleep(0.1)  # accepted, and nothing sent
        server.process.terminate()
        time.sleep(0.3)
        client.sendall(b"GET /counts HTTP/1.1\r\nHost: h\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
    assert server.process.wait(15) == 0


def test_a_reload_replaces_the_workers_without_a_gap(start: Start) -> None:
    server = start()
    before = pids(server)
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: pids(server).isdisjoint(before))
    assert not any(alive(pid) for pid in before)
    assert len(pids(server)) == 2


def test_workers_notice_the_death_of_their_parent(start: Start) -> None:
    server = start()
    workers = pids(server)
    server.process.kill()
    wait_until(lambda: not any(alive(pid) for pid in workers))


def test_a_worker_that_cannot_start_ends_the_service(tmp_path: Path) -> None:
    code = (
        "import sys; from koschey.server import listener, supervisor\n"
        "def factory(): raise ImportError('no such application')\n"
        "bound = listener.listen('127.0.0.1:0')\n"
        "sys.exit(supervisor.run(factory, bound, workers=2, threads=1, on_ready=print))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "ImportError: no such application" in done.stderr
    assert done.stdout == ""


def test_a_unix_socket_is_served_and_an_abandoned_one_taken_over(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "koschey.sock"
    for _ in range(2):
        server = start(f"unix:{path}")
        assert server.url == f"http+unix://{path}"
        said = subprocess.run(
            ["curl", "-s", "--unix-socket", str(path), "http://h/hot/x"], capture_output=True, text=True
        )
        assert "/hot/x" in said.stdout
        server.process.kill()
        server.process.wait()
        time.sleep(0.5)


@pytest.mark.parametrize(
    ("bind", "address"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("[::1]:0", ("::1", 0)),
        ("localhost:1", ("localhost", 1)),
        ("unix:run/k.sock", "run/k.sock"),
    ],
)
def test_an_address_is_parsed(bind: str, address: Any) -> None:
    assert parse(bind) == address


@pytest.mark.parametrize("bind", ["8080", ":8080", "host", "host:", "host:http", "::1:80", "h:65536", "h:-1"])
def test_what_is_no_address_is_refused(bind: str) -> None:
    with pytest.raises(AddressUnusable):
        parse(bind)


def test_a_busy_port_is_one_sentence() -> None:
    with listen("127.0.0.1:0") as first:
        port = first.getsockname()[1]
        with pytest.raises(AddressUnusable) as refusal:
            listen(f"127.0.0.1:{port}")
    assert str(refusal.value) == (
        f"cannot listen on 127.0.0.1:{port}: it is in use already; "
        "stop the other program or choose another --bind"
    )


def test_a_host_that_cannot_be_one_is_one_sentence() -> None:
    with pytest.raises(AddressUnusable, match="no host name"):
        listen("a" * 64 + ".example:0")


def test_the_url_of_a_listener_on_all_addresses_can_be_used() -> None:
    with listen("0.0.0.0:0") as listener:
        assert url_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"
