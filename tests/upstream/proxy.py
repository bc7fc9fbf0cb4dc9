"""A little forward proxy on loopback: whole URLs and CONNECT, with its own idea of where names lead."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import requests


class Proxy:
    """``names`` maps hosts to ports on 127.0.0.1; ``seen`` has (method, target, headers) of each request."""

    def __init__(self, names: dict[str, int], tls: ssl.SSLContext | None = None) -> None:
        self.names = names
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self.url = f"{'https' if tls else 'http'}://{self.address}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(proxy) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler has a self of its own
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                proxy.seen.append(("GET", self.path, {k.lower(): v for k, v in self.headers.items()}))
                parts = urlsplit(self.path)
                port = proxy.names[parts.hostname or ""]
                headers = {k: v for k, v in self.headers.items() if not k.lower().startswith("proxy-")}
                with requests.Session() as session:
                    session.trust_env = False  # the proxy's own way is direct
                    said = session.get(
                        f"http://127.0.0.1:{port}{parts.path}",
                        headers=headers,
                        timeout=5,
                        allow_redirects=False,
                    )
                self.send_response(said.status_code)
                self.send_header("Content-Length", str(len(said.content)))
                if "location" in said.headers:
                    self.send_header("Location", said.headers["location"])
                self.end_headers()
                self.wfile.write(said.content)

            def do_CONNECT(self) -> None:
                proxy.seen.append(("CONNECT", self.path, {k.lower(): v for k, v in self.headers.items()}))
                port = proxy.names[self.path.rpartition(":")[0]]
                self.close_connection = True
                with socket.create_connection(("127.0.0.1", port)) as inner:
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.flush()
                    back = threading.Thread(target=_pump, args=(inner, self.connection), daemon=True)
                    back.start()
                    _pump(self.connection, inner)
                    back.join(5)

            def log_message(self, *_: Any) -> None:
                """Tests look at ``seen``."""

        return Handler


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
