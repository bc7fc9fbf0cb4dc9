"""A proxy on loopback in front of an S3 server, which fails on command."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Fault:
    """What happens to the next ``times`` requests whose line begins with ``request`` ("PUT /bucket").

    status: answer this without asking the server. lose_reply: ask it, and hang up instead of answering.
    cut: send only so many bytes of the body, and hang up. containing: only if the line has this in it.
    """

    request: str
    times: int = 1
    status: int | None = None
    lose_reply: bool = False
    cut: int | None = None
    containing: str = ""


class FaultyProxy(ThreadingHTTPServer):
    """``seen`` lists the request lines in order; append to ``faults`` to make one happen."""

    daemon_threads = True

    def __init__(self, server: str) -> None:
        self.server_netloc = urlsplit(server).netloc
        self.faults: list[Fault] = []
        self.seen: list[str] = []
        self._guard = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def fault_for(self, line: str) -> Fault | None:
        with self._guard:
            self.seen.append(line)
            for fault in self.faults:
                if fault.times and line.startswith(fault.request) and fault.containing in line:
                    fault.times -= 1
                    return fault
        return None

    def count(self, beginning: str) -> int:
        """How many requests began so."""
        return sum(line.startswith(beginning) for line in self.seen)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients hang up on a proxy that hangs up on them."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyProxy

    def _relay(self) -> None:
        if self.headers.get("Expect", "").lower() == "100-continue":
            del self.headers["Expect"]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.fault_for(f"{self.command} {self.path}")
        if fault and fault.status:
            self._answer(fault.status, [("Content-Length", "0")], b"", None)
            return
        connection = http.client.HTTPConnection(self.server.server_netloc, timeout=30)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if fault and fault.lose_reply:
            self.close_connection = True
            return
        skipped = ("transfer-encoding", "connection", "content-length")
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in skipped]
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        self._answer(
            answer.status,
            [*headers, ("Content-Length", length or "0")],
            content,
            fault.cut if fault else None,
        )

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, cut: int | None) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:cut])
        if cut is not None:
            self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _relay  # noqa: N815 - names that http.server asks for

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's word
        pass


@contextmanager
def faulty_proxy(server: str) -> Iterator[FaultyProxy]:
    """A running proxy before ``server`` (its URL)."""
    with FaultyProxy(server) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
