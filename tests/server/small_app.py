"""A small WSGI application for the server's tests, and the server around it, as a process.

``python -m tests.server.small_app worker FILE`` is one worker with short limits;
``python -m tests.server.small_app supervisor BIND`` the whole server. Both print their URL.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from koschey.errors import UpstreamUnavailable
from koschey.server.listener import listen, url_of

FILE = Path(os.environ.get("SMALL_APP_FILE", os.devnull))
MB = 2**20


class FakeHotPath:
    inline = True

    def respond(self, request: Any) -> Any:
        if request.target == "/hot/broken":
            raise LookupError("no such thing")
        if not request.target.startswith("/hot/"):
            return None
        body = json.dumps([request.method, request.target, request.host, request.accept]).encode()
        size = int(request.headers.get("x-size", "0"))
        body += b" " * size
        wire = f"HTTP/1.1 200 Hot\r\nContent-Length: {len(body)}\r\n".encode()
        return SimpleNamespace(body=body, wire=wire)


class Stream:
    """An iterable that knows how far it came and whether it was closed."""

    def __init__(self, app: SmallApp, blocks: int, size: int) -> None:
        self.app, self.left, self.block = app, blocks, b"s" * size

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> bytes:
        if not self.left:
            raise StopIteration
        self.left -= 1
        self.app.produced += len(self.block)
        return self.block

    def close(self) -> None:
        self.app.closed += 1


class SmallApp:
    def __init__(self) -> None:
        self.extensions = {"koschey": SimpleNamespace(hot_path=FakeHotPath(), close=self.shut)}
        self.produced = self.closed = self.broken_uploads = 0
        self.lock = threading.Lock()

    def shut(self) -> None:
        if path := os.environ.get("SMALL_APP_CLOSED"):
            Path(path).write_text("closed")

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        page = environ["PATH_INFO"].strip("/").split("/")[0].replace("-", "_")
        return getattr(self, f"page_{page}", self.page_environ)(environ, start_response)

    def say(self, start_response: Any, value: Any, status: str = "200 OK") -> list[bytes]:
        body = json.dumps(value).encode()
        start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    def page_environ(self, environ: Any, start_response: Any) -> Any:
        return self.say(start_response, {k: v for k, v in environ.items() if isinstance(v, str)})

    def page_counts(self, environ: Any, start_response: Any) -> Any:
        counts = {"produced": self.produced, "closed": self.closed, "broken_uploads": self.broken_uploads}
        return self.say(start_response, counts | {"rss": memory(), "pid": os.getpid()})

    def page_reason(self, environ: Any, start_response: Any) -> Any:
        return self.say(start_response, None, "403 H\u00e9ld\x07 until\r\nFriday \u2713")

    def page_bad_header(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("X-Bad", "a\r\nSet-Cookie: b")])
        return [b"never"]

    def page_upload(self, environ: Any, start_response: Any) -> Any:
        digest, size = hashlib.sha256(), 0
        try:
            while block := environ["wsgi.input"].read(MB):
                digest.update(block)
                size += len(block)
        except OSError:
            self.broken_uploads += 1
            raise
        return self.say(start_response, {"size": size, "sha256": digest.hexdigest(), "rss": memory()})

    def page_refuse(self, environ: Any, start_response: Any) -> Any:
        return self.say(start_response, "who are you", "401 Who are you")

    def page_stream(self, environ: Any, start_response: Any) -> Any:
        headers = [("Content-Length", str(50 * MB))] if "length" in environ["QUERY_STRING"] else []
        start_response("200 OK", headers)
        return Stream(self, 200, MB // 4)

    def page_fail(self, environ: Any, start_response: Any) -> Any:
        raise ValueError("before the head")

    def page_fail_late(self, environ: Any, start_response: Any) -> Any:
        headers = [("Content-Length", "1000")] if "length" in environ["QUERY_STRING"] else []
        start_response("200 OK", headers)

        def blocks() -> Any:
            yield b"some"
            time.sleep(0.05)
            raise SystemExit("after the head")

        return blocks()

    def page_fail_outside(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "1000")])

        def blocks() -> Any:
            raise UpstreamUnavailable("upstream", "its answer ended early")
            yield b""

        return blocks()

    def page_fail_logged(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "1000")])

        def blocks() -> Any:
            yield b"some"
            error = UpstreamUnavailable("upstream", "it broke off, as the log says already")
            error.logged = True
            raise error

        return blocks()

    def page_short(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "1000")])
        return [b"some"]

    def page_long(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "4")])
        return [b"so", b"me more"]

    def page_nothing(self, environ: Any, start_response: Any) -> Any:
        start_response("204 No Content", [])
        return Stream(self, 1, 10)

    def page_file(self, environ: Any, start_response: Any) -> Any:
        query = dict(part.split("=") for part in environ["QUERY_STRING"].split("&") if part)
        file = FILE.open("rb")
        file.seek(int(query.get("offset", 0)))
        start_response("200 OK", [("Content-Length", query["length"])] if "length" in query else [])
        return environ["wsgi.file_wrapper"](file)

    def page_write(self, environ: Any, start_response: Any) -> Any:
        write = start_response("200 OK", [])
        write(b"one ")
        write(b"two ")
        return [b"three"]

    def page_slow(self, environ: Any, start_response: Any) -> Any:
        time.sleep(0.7)
        return self.say(start_response, os.getpid())


def memory() -> int:
    """Peak resident memory of this process, in MiB (VmHWM counts from its exec or fork)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def main(role: str, bind: str) -> int:
    logging.basicConfig(level=logging.INFO)
    listener = listen(bind)
    if role == "supervisor":
        from koschey.server.supervisor import run

        return run(SmallApp, listener, workers=2, threads=4, on_ready=lambda url: print(url, flush=True))
    from koschey.server.bridge import Limits
    from koschey.server.worker import serve

    lifeline, _end = os.pipe()
    limits = Limits(waiting=4, stall_seconds=3, form_seconds=2, linger_bytes=64 * MB, linger_seconds=3)
    serve(
        SmallApp(),
        listener,
        threads=4,
        lifeline=lifeline,
        on_ready=lambda: print(url_of(listener), flush=True),
        limits=limits,
        head_seconds=0.6,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
