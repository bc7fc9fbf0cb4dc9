"""How the scripted upstream goes wrong, to order."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field


@dataclass
class Reply:
    """A whole answer, before it is sent."""

    body: bytes
    content_type: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """How answers for a target go wrong; what is not set stays as it is."""

    down: bool = False
    """Close the connection without a byte."""
    status: int | None = None
    retry_after: float | str | None = None
    redirect: str | None = None
    delay: float = 0.0
    """Seconds before the head."""
    head_bytes_per_second: float | None = None
    bytes_per_second: float | None = None
    cut: int = 0
    """Close the connection this many bytes before the end of the declared body."""
    body: bytes | None = None
    stream: Callable[[], Iterator[bytes]] | None = None
    """Chunks of a body without a declared length."""
    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    times: float = float("inf")
    """How many requests are hit before it heals by itself."""


def spoilt(reply: Reply, fault: Fault) -> Reply:
    """The healthy ``reply`` as ``fault`` leaves it; timing and cuts are the server's business."""
    status, body = fault.status or reply.status, reply.body
    headers = dict(reply.headers)
    if fault.redirect is not None:
        status, body = fault.status or 302, b""
        headers["Location"] = fault.redirect
    elif fault.status is not None:
        body = b"scripted failure"
    if fault.body is not None or fault.stream is not None:
        status = fault.status or 200  # a 304 has no body
        body = fault.body or b""
        headers.pop("ETag", None)
    if fault.retry_after is not None:
        headers["Retry-After"] = str(fault.retry_after)
    return Reply(body, fault.content_type or reply.content_type, status, headers | dict(fault.headers))


def gzip_bomb(size: int) -> bytes:
    """``size`` zero bytes, gzipped a thousandfold."""
    return gzip.compress(bytes(size), 9)


def endless_json(size: int) -> Callable[[], Iterator[bytes]]:
    """A stream of ``size`` bytes that begins like a project page; for ``Fault.stream``."""

    def chunks() -> Iterator[bytes]:
        yield b'{"meta": {"api-version": "1.4"}, "name": "x", "versions": [], "files": ['
        filler = b" " * 65536
        for _ in range(size // len(filler)):
            yield filler

    return chunks
