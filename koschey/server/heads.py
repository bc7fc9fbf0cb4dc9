"""A strict parser for the heads that may be answered at once: GET and HEAD without a body.

It decides only what to do quickly; whatever it does not know for certain goes to aiohttp's parser. Two
parsers that disagree are how requests are smuggled, so this one accepts a subset (RFC 9112): one whole
head, no continuation lines, no bare CR or LF, exactly one Host, nothing that frames a body.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple


class HotRequest(NamedTuple):
    """A request as the hot path is asked; header values are latin-1 text without outer blanks."""

    method: str
    """GET or HEAD."""
    target: str
    """Path and query as sent, not decoded."""
    host: str
    accept: str
    accept_encoding: str
    if_none_match: str
    headers: Mapping[str, str]
    """All headers, names in lower case; repeated ones joined with ``, ``."""
    client: str = ""
    """Address of the connection's other end; empty where it has none."""


class Head(NamedTuple):
    """A whole head without a body. ``request`` is None when it needs the full way."""

    request: HotRequest | None
    close: bool
    """Whether the client wants the connection closed after the answer."""


class _Fields(NamedTuple):
    headers: Mapping[str, str]
    eligible: bool
    connection: str


_REQUEST_LINE = re.compile(rb"(GET|HEAD) (/[!-~]*) HTTP/1\.([01])")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)")

#: With one of these, the place where the next request begins is not what this parser thinks.
_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "upgrade", "expect", "trailer", "te"})
#: Asks for a part: never answered from here.
_FULL_WAY: Final = frozenset({"range"})
#: Repeated, these mean different things to different parsers.
_SINGLE: Final = frozenset({"host", "authorization", "if-none-match"})

MAX_HEAD = 4096
_MEMO_ENTRIES = 512


class HeadParser:
    """Parses heads and remembers the header blocks it saw: a client sends the same one with each path."""

    def __init__(self) -> None:
        self._blocks: dict[bytes, _Fields | None] = {}

    def parse(self, data: bytes, client: str = "") -> Head | None:
        """The head that ``data`` is, or None if it is not exactly one whole, bodiless, well-formed one."""
        line, _, block = data.partition(b"\r\n")
        fields = self._blocks.get(block, ...)
        if fields is ...:
            fields = self._remember(block)
        if fields is None or len(line) > MAX_HEAD:
            return None
        matched = _REQUEST_LINE.fullmatch(line)
        if matched is None:
            return None
        method, target, minor = matched.groups()
        close = minor == b"0" or "close" in fields.connection
        if not fields.eligible:
            return Head(None, close)
        get = fields.headers.get
        request = HotRequest(
            method.decode(),
            target.decode(),
            fields.headers["host"],
            get("accept", ""),
            get("accept-encoding", ""),
            get("if-none-match", ""),
            fields.headers,
            client,
        )
        return Head(request, close)

    def _remember(self, block: bytes) -> _Fields | None:
        if len(block) > MAX_HEAD:
            return None
        fields = _parse_fields(block)
        if len(self._blocks) >= _MEMO_ENTRIES:
            self._blocks.clear()
        self._blocks[block] = fields
        return fields


def _parse_fields(block: bytes) -> _Fields | None:
    """The header block after the request line, its final empty line included."""
    if not block.endswith(b"\r\n\r\n"):
        return None
    headers: dict[str, str] = {}
    for line in block[:-4].split(b"\r\n"):
        matched = _FIELD.fullmatch(line)
        if matched is None:
            return None
        name, value = matched[1].decode().lower(), matched[2].strip(b" \t").decode("latin-1")
        if name in headers:
            if name in _SINGLE:
                return None
            value = f"{headers[name]}, {value}"
        headers[name] = value
    if "host" not in headers or not _FRAMING.isdisjoint(headers):
        return None
    return _Fields(headers, _FULL_WAY.isdisjoint(headers), headers.get("connection", "").lower())
