"""A scripted upstream index: real HTTP on loopback, real files, and faults to order.

::

    with FakeUpstream() as upstream:
        wheel = upstream.project("foo").release("1.0", requires=["bar"])
        upstream.fail("foo", status=503, retry_after=1)
        upstream.heal("foo")
        assert upstream.count("foo") == 1

Targets of ``fail``, ``heal`` and ``count``: a project's normalised name (its page), a filename, a filename
plus ``.metadata`` or ``.provenance``, ``/`` (the root list), or ``*`` (everything).
"""

from __future__ import annotations

import hashlib
import itertools
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import unquote

from packaging.utils import canonicalize_name

from tests.upstream_faults import Fault, Reply, spoilt
from tests.upstream_pages import Project, UpstreamFile, as_json, project_as_html, root_as_html

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "text/html; charset=utf-8"
Form = Literal["json", "html"]


@dataclass(frozen=True)
class Seen:
    """A request that arrived: what it was for (see the module), and its line and headers."""

    target: str
    method: str
    path: str
    headers: Mapping[str, str]


class FakeUpstream:
    """An upstream index.

    Args:
        formats: which page forms it knows.
        serials: turns a number into the ``_last-serial`` it shows: ``int``, ``str``, or one giving None.
        file_host: address of a second server for files; None serves them from the pages' own origin.
        public_paths: files at ``/packages/<2>/<2>/<60 hex>/``, or at paths of another form.
        etags: whether pages carry ETags and honour If-None-Match.
    """

    def __init__(
        self,
        *,
        formats: tuple[Form, ...] = ("json", "html"),
        serials: Callable[[int], Any] = int,
        file_host: str | None = None,
        public_paths: bool = True,
        etags: bool = True,
    ) -> None:
        self.formats = formats
        self.etags = etags
        self.projects: dict[str, Project] = {}
        self.faults: dict[str, Fault] = {}
        self.requests: list[Seen] = []
        self._numbers = itertools.count(1000)
        self._serials = serials
        self._public_paths = public_paths
        self._lock = threading.Lock()
        self._servers = [_Server("127.0.0.1", 0, self)]
        if file_host is not None:
            self._servers.append(_Server(file_host, 0, self))
        self._addresses = [server.server_address[:2] for server in self._servers]
        self._start()

    @property
    def url(self) -> str:
        """Scheme, host and port of the pages."""
        return "http://{}:{}".format(*self._addresses[0])

    @property
    def simple_url(self) -> str:
        return f"{self.url}/simple/"

    @property
    def file_origin(self) -> str:
        return "http://{}:{}".format(*self._addresses[-1])

    def project(self, name: str) -> Project:
        """The project of that name, made when it is new."""
        key = canonicalize_name(name)
        if key not in self.projects:
            self.projects[key] = Project(name, self.file_origin, self._file_path, self._next_serial)
            self.projects[key].touch()
        return self.projects[key]

    def forget(self, name: str) -> None:
        """The project is deleted: 404."""
        del self.projects[canonicalize_name(name)]

    def fail(self, target: str, **fault: Any) -> None:
        """From now on answers for ``target`` go wrong; the keywords are those of Fault."""
        self.faults[target] = Fault(**fault)

    def heal(self, target: str | None = None) -> None:
        """End a target's fault, or all of them."""
        if target is None:
            self.faults.clear()
        else:
            self.faults.pop(target, None)

    def count(self, target: str) -> int:
        """How many GET requests arrived for ``target``."""
        return sum(seen.method == "GET" for seen in self.seen(target))

    def seen(self, target: str) -> list[Seen]:
        with self._lock:
            return [seen for seen in self.requests if target in ("*", seen.target)]

    def stop(self) -> None:
        """The whole upstream is gone: connections are cut, new ones refused."""
        for server in self._servers:
            server.close()
        self._servers = []

    def start_again(self) -> None:
        """Back at the same addresses, with the same content."""
        self._servers = [_Server(str(host), int(port), self) for host, port in self._addresses]
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        for server in self._servers:
            server.start()

    def _next_serial(self) -> Any:
        return self._serials(next(self._numbers))

    def _file_path(self, project: str, filename: str, content: bytes) -> str:
        if not self._public_paths:
            return f"/pool/{canonicalize_name(project)}/{filename}"
        # Salted with the name: like the real thing, two names for the same bytes have two paths.
        digest = hashlib.blake2b(filename.encode() + b"\0" + content, digest_size=32).hexdigest()
        return f"/packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{filename}"

    def note(self, target: str, handler: _Handler) -> Fault:
        """Record a request; returns the fault that it meets."""
        seen = Seen(target, handler.command, handler.path, {k.lower(): v for k, v in handler.headers.items()})
        with self._lock:
            self.requests.append(seen)
            key = target if target in self.faults else "*"
            fault = self.faults.get(key)
            if fault is None:
                return Fault()
            self.faults[key] = replace(fault, times=fault.times - 1)
            if fault.times <= 1:
                del self.faults[key]
            return fault

    def locate(self, raw_path: str) -> tuple[str, UpstreamFile | None]:
        """(target, file) that a request path means; an unknown path is its own target."""
        path = unquote(raw_path.partition("?")[0])
        if path.startswith("/simple/") and path.endswith("/"):
            return canonicalize_name(path.removeprefix("/simple/").strip("/")) or "/", None
        for file in [f for p in list(self.projects.values()) for f in list(p.files.values())]:
            for suffix in ("", ".metadata"):
                if path == file.path + suffix:
                    return file.filename + suffix, file
            if path == file.provenance_path:
                return file.filename + ".provenance", file
        return path, None

    def answer(self, target: str, file: UpstreamFile | None, headers: Mapping[str, str]) -> Reply:
        """What a healthy upstream says."""
        if file is not None:
            return _file_reply(target, file, headers)
        if target == "/":
            projects = [{"name": p.name, "_last-serial": p.serial} for p in list(self.projects.values())]
            return self._page({"meta": {"api-version": "1.4"}, "projects": projects}, root_as_html, headers)
        if target in self.projects:
            return self._page(self.projects[target].document(), project_as_html, headers)
        return Reply(b"not found", "text/plain", 404)

    def _page(
        self, document: dict[str, Any], to_html: Callable[[dict[str, Any]], bytes], headers: Mapping[str, str]
    ) -> Reply:
        wants_json = "json" in self.formats and "+json" in headers.get("accept", "")
        if wants_json or self.formats == ("json",):
            reply = Reply(as_json(document), JSON)
        else:
            reply = Reply(to_html(document), HTML)
        if (serial := document["meta"].get("_last-serial")) is not None:
            reply.headers["X-PyPI-Last-Serial"] = str(serial)
        if self.etags:
            reply.headers["ETag"] = etag = f'"{hashlib.sha256(reply.body).hexdigest()[:32]}"'
            if headers.get("if-none-match") == etag:
                reply.status, reply.body = 304, b""
        return reply


def _file_reply(target: str, file: UpstreamFile, headers: Mapping[str, str]) -> Reply:
    if target.endswith(".provenance"):
        if file.provenance is None:
            return Reply(b"not found", "text/plain", 404)
        return Reply(as_json(file.provenance), "application/vnd.pypi.integrity.v1+json")
    if target.endswith(".metadata"):
        if file.metadata is None:
            return Reply(b"not found", "text/plain", 404)
        return Reply(file.metadata, "binary/octet-stream")
    etag = f'"{file.sha256[:32]}"'
    reply = Reply(file.content, "application/octet-stream", headers={"ETag": etag, "Accept-Ranges": "bytes"})
    start = headers.get("range", "").removeprefix("bytes=").removesuffix("-")
    if start.isdigit() and headers.get("if-range", etag) == etag:
        size = len(file.content)
        reply.status, reply.body = 206, file.content[int(start) :]
        reply.headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
    return reply


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        upstream = self.server.upstream
        target, file = upstream.locate(self.path)
        fault = upstream.note(target, self)
        time.sleep(fault.delay)
        if fault.down:
            self.close_connection = True
            return
        reply = upstream.answer(target, file, {k.lower(): v for k, v in self.headers.items()})
        self._send(spoilt(reply, fault), fault)

    do_HEAD = do_GET  # noqa: N815 - http.server's name for it

    def _send(self, reply: Reply, fault: Fault) -> None:
        head = [f"HTTP/1.1 {reply.status} {self.responses.get(reply.status, ('Scripted',))[0]}"]
        head += [f"Content-Type: {reply.content_type}"]
        head += [f"{name}: {value}" for name, value in reply.headers.items()]
        head += ["Connection: close"] if fault.stream else [f"Content-Length: {len(reply.body)}"]
        self._trickle(("\r\n".join(head) + "\r\n\r\n").encode("latin-1"), fault.head_bytes_per_second)
        if self.command == "HEAD":
            return
        self.close_connection = bool(fault.cut or fault.stream)
        for chunk in fault.stream() if fault.stream else [reply.body[: len(reply.body) - fault.cut]]:
            self._trickle(chunk, fault.bytes_per_second)

    def _trickle(self, data: bytes, rate: float | None) -> None:
        """Send ``data``, at so many bytes per second."""
        if rate is None:
            self.wfile.write(data)
            return
        step = max(1, int(rate / 20))
        for start in range(0, len(data), step):
            self.wfile.write(data[start : start + step])
            time.sleep(step / rate)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name for it
        """Requests are recorded, not printed."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, upstream: FakeUpstream) -> None:
        self.upstream = upstream
        self._connections: set[socket.socket] = set()
        self._closing = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        super().__init__((host, port), _Handler)

    def start(self) -> None:
        self._thread.start()

    def _serve(self) -> None:
        """``serve_forever`` polls whether to stop: with a thousand tests that is a minute of waiting."""
        while not self._closing:
            self.handle_request()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return not self._closing

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up midway is what many tests are about; anything else is our own mistake."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def close(self) -> None:
        self._closing = True
        with suppress(OSError), socket.create_connection(self.server_address[:2]):
            self._thread.join()  # the connection woke it up
        self.server_close()
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it was closed already
