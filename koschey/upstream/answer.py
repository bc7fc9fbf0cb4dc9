"""An upstream's answer: status, the few headers that matter, and a body under limits."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress

from requests.structures import CaseInsensitiveDict
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from koschey.errors import UpstreamInvalid, UpstreamTimeout
from koschey.upstream.deadlines import Exchange
from koschey.upstream.failures import translated
from koschey.upstream.urls import shown

#: What of an answer's head goes further in; everything else an upstream says is forgotten.
ALLOWED_HEADERS = frozenset(
    (
        "accept-ranges",
        "age",
        "cache-control",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "date",
        "etag",
        "last-modified",
        "retry-after",
        "x-pypi-last-serial",
    )
)
# Reading a little more is cheaper than a new connection; reading for longer than this is not.
_DRAIN_BYTES = 16 * 1024
_DRAIN_SECONDS = 0.25


class Answer:
    """What an upstream said. Valid inside the ``with`` block that opened it."""

    def __init__(
        self, upstream: str, url: str, raw: BaseHTTPResponse, exchange: Exchange, *, decode: bool
    ) -> None:
        self.upstream = upstream
        self.url = url
        """Where the answer came from after all redirects."""
        self.status = raw.status
        self.headers: Mapping[str, str] = CaseInsensitiveDict(
            (name, value)
            for name, value in raw.headers.items()
            if name.lower() in ALLOWED_HEADERS and value.isprintable()
        )
        self._raw = raw
        self._exchange = exchange
        self._decode = decode
        self._received = 0
        self._receivable: int | None = None

    @property
    def received(self) -> int:
        """Bytes of the body that came over the wire so far."""
        return self._received

    def read(self, limit: int) -> bytes:
        """The whole body, decoded.

        Raises:
            UpstreamInvalid: more than ``limit`` bytes, or not what its encoding says.
            UpstreamTimeout: the deadline passed. UpstreamUnavailable: the connection broke.
        """
        return b"".join(self.limited(limit))

    def limited(self, limit: int) -> Iterator[bytes]:
        """The body in pieces, decoded. Raises: as ``read``."""
        declared = self.headers.get("content-length", "")
        if declared.isascii() and declared.isdigit() and int(declared[:20]) > limit:
            raise self._too_large(limit)
        # Compressed input may grow without any output; a little more than the limit is framing of gzip.
        self._receivable = limit + 65536
        length = 0
        for chunk in self.chunks():
            length += len(chunk)
            if length > limit:
                raise self._too_large(limit)
            yield chunk

    def chunks(self, size: int = 65536) -> Iterator[bytes]:
        """The body in pieces of at most ``size`` bytes, each as soon as it has arrived.

        Raises:
            UpstreamInvalid, UpstreamTimeout, UpstreamUnavailable: as ``read``.
        """
        gunzip = self._gunzip()
        while data := self._arrived(size):
            if gunzip is None:
                yield data
                continue
            try:
                yield from gunzip.pieces(data, size)
            except zlib.error:
                raise self._invalid("is not the gzip that it says it is") from None
        if gunzip is not None and not gunzip.whole:
            raise self._invalid("ends in the middle of its gzip stream")

    def close(self) -> None:
        """Give the connection back, if so little is left to read that it can be kept alive."""
        left = getattr(self._raw, "length_remaining", None)
        if left is not None and left <= _DRAIN_BYTES and not self._raw.closed:
            with self._exchange.hurried(_DRAIN_SECONDS), suppress(HTTPError, OSError):
                while self._raw.read1(_DRAIN_BYTES, decode_content=False):
                    pass
        self._raw.close()
        self._raw.release_conn()

    def _arrived(self, size: int) -> bytes:
        if self._exchange.left() <= 0:
            problem = f"{shown(self.url)} was not answered whole within {self._exchange.seconds:g} s"
            raise UpstreamTimeout(self.upstream, problem)
        try:
            data = self._raw.read1(size, decode_content=False)
        except (HTTPError, OSError, ValueError) as error:
            # "from None": a library's message may quote what must not reach a log.
            raise translated(self.upstream, self.url, error, self._exchange)[0] from None
        self._received += len(data)
        self._exchange.received += len(data)
        if self._receivable is not None and self._received > self._receivable:
            raise self._too_large(self._receivable)
        return data

    def _gunzip(self) -> _Gunzip | None:
        coding = self.headers.get("content-encoding", "identity").strip().lower()
        if not self._decode or coding == "identity":
            return None
        if coding not in ("gzip", "x-gzip"):
            raise self._invalid("comes in an encoding that nobody asked for")
        return _Gunzip()

    def _too_large(self, limit: int) -> UpstreamInvalid:
        return self._invalid(f"is larger than {limit} bytes")

    def _invalid(self, problem: str) -> UpstreamInvalid:
        return UpstreamInvalid(self.upstream, f"the answer of {shown(self.url)} {problem}")


class _Gunzip:
    """gzip (RFC 1952), in bounded pieces, of one member or several."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self.whole = True
        """Whether nothing is missing: no byte yet, or the last member has ended."""

    def pieces(self, data: bytes, size: int) -> Iterator[bytes]:
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
            piece = self._member.decompress(data, size)
            self.whole = self._member.eof
            data = self._member.unconsumed_tail or self._member.unused_data
            if piece:
                yield piece
            # zlib may hold output back although it took all input.
            while not data and len(piece) == size:
                piece = self._member.decompress(b"", size)
                self.whole = self._member.eof
                data = self._member.unused_data
                if piece:
                    yield piece
