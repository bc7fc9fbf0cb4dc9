"""A server on loopback that plays exactly the bytes a test wants, and remembers what it was asked."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

Play = Callable[["Request"], "bytes | Iterator[bytes]"]


@dataclass(frozen=True)
class Request:
    """What arrived: the request target, the headers by lower-case name, and on which connection."""

    target: str
    headers: dict[str, str]
    connection: int


def answer(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    """A whole answer; ``content_type="x"`` becomes ``content-type: x``."""
    fields = {"content-length": str(len(body))} | {k.replace("_", "-"): v for k, v in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    return answer(status=status, location=location)


class ScriptedServer:
    """Bytes are sent at once and the connection kept; an iterator is drained slowly, then it is closed."""

    def __init__(self, play: Play, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self._play = play
        self._tls = tls
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server((host, 0))
        self.host, self.port = self._listener.getsockname()
        self.url = f"{'https' if tls else 'http'}://{self.host}:{self.port}/"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for sock in (self._listener, *self._sockets):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def drop_connections(self) -> None:
        """Close what is kept alive, as a restarted server does, and keep listening."""
        for sock in self._sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections += 1
                self._sockets.append(sock)
                threading.Thread(target=self._serve, args=(sock, self.connections), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        with suppress(OSError, ValueError):
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
                self._sockets.append(sock)
            with sock, sock.makefile("rb") as lines:
                while request := self._request(lines, number):
                    self.requests.append(request)
                    said = self._play(request)
                    if isinstance(said, bytes):
                        sock.sendall(said)
                        continue
                    for piece in said:
                        sock.sendall(piece)
                    return

    @staticmethod
    def _request(lines: Iterator[bytes], number: int) -> Request | None:
        first = next(lines, b"").decode("latin-1")
        if not first:
            return None
        headers: dict[str, str] = {}
        for line in lines:
            name, separator, value = line.decode("latin-1").partition(":")
            if not separator:
                break
            headers[name.lower()] = value.strip()
        return Request(first.split(" ")[1], headers, number)
