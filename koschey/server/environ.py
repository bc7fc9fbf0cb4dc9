"""The WSGI environ of a request (PEP 3333), made from the raw target and the raw header bytes."""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from typing import IO, Any
from urllib.parse import unquote_to_bytes

from aiohttp.web_request import BaseRequest

from koschey.server.file_wrapper import FileWrapper

#: RFC 9112 section 3.2.2; its authority replaces the Host header.
_ABSOLUTE_FORM = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)

_UNPREFIXED = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}


def build_environ(request: BaseRequest, body: IO[bytes]) -> dict[str, Any]:
    """Everything PEP 3333 asks for, and ``REQUEST_URI`` = ``RAW_URI``: the target as it was sent.

    ``PATH_INFO`` is decoded from the raw bytes, so ``%2F``, ``+`` and invalid UTF-8 arrive as they are.
    """
    raw = _latin1(request.raw_path)
    host, target = None, raw
    if absolute := _ABSOLUTE_FORM.fullmatch(raw):
        host, target = absolute[1], absolute[2]
        target = target if target.startswith("/") else "/" + target
    path, _, query = target.partition("?")
    server_name, server_port = _address(request.transport, "sockname")
    client_name, client_port = _address(request.transport, "peername")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path.encode("latin-1")).decode("latin-1"),
        "QUERY_STRING": query,
        "RAW_URI": raw,
        "REQUEST_URI": raw,
        "SERVER_NAME": server_name,
        "SERVER_PORT": server_port,
        "SERVER_PROTOCOL": f"HTTP/{request.version.major}.{request.version.minor}",
        "REMOTE_ADDR": client_name,
        "REMOTE_PORT": client_port,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    _add_headers(environ, request.raw_headers)
    if host is not None:
        environ["HTTP_HOST"] = host
    return environ


def _add_headers(environ: dict[str, Any], raw_headers: tuple[tuple[bytes, bytes], ...]) -> None:
    for raw_name, raw_value in raw_headers:
        name = _variable(raw_name)
        if name is None:
            continue
        value = raw_value.decode("latin-1")
        if name in environ:
            value = environ[name] + ("; " if name == "HTTP_COOKIE" else ",") + value
        environ[name] = value


@lru_cache(maxsize=256)
def _variable(raw_name: bytes) -> str | None:
    """The environ's name of a header; None for one with an underscore, which could pose as another."""
    name = raw_name.decode("latin-1")
    if "_" in name:
        return None
    return _UNPREFIXED.get(name.lower()) or "HTTP_" + name.upper().replace("-", "_")


def _address(transport: Any, end: str) -> tuple[str, str]:
    """Host and port of one end of the connection; a Unix socket has neither."""
    address = transport.get_extra_info(end) if transport is not None else None
    if isinstance(address, tuple):
        return str(address[0]), str(address[1])
    return ("localhost", "80") if end == "sockname" else ("", "")


def _latin1(text: str) -> str:
    """aiohttp's decoded target as WSGI wants it: each byte one character."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")
