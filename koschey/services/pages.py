"""Ready-made pages: rendered, compressed and named by an ETag once, then served from memory."""

from __future__ import annotations

import gzip
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from hashlib import blake2b

from koschey.domain.negotiation import Representation

#: Exact types, as uv and poetry compare them; a browser wants to be told the charset.
CONTENT_TYPES = {form: form.value for form in Representation} | {
    Representation.HTML: "text/html; charset=utf-8"
}


@dataclass(frozen=True)
class ReadyPage:
    """A page as it goes over the wire."""

    content_type: str
    encoding: str
    """identity, gzip or zstd."""
    etag: str
    """Strong, quoted; differs by representation and by encoding (RFC 9110 section 8.8.3)."""
    serial: int
    body: bytes = field(repr=False)
    until: int | None = None
    """When it is right no more (microseconds since 1970): a verdict in it changes by itself then."""


def ready(
    body: bytes, *, content_type: str, encoding: str, serial: int, until: int | None = None
) -> ReadyPage:
    """Compress ``body`` as ``encoding`` says and name it.

    The ETag is taken from the bytes, so that every process and machine gives the same one.
    """
    digest = blake2b(body, digest_size=15, person=encoding.encode())
    digest.update(f"{content_type} {serial}".encode())
    if encoding == "gzip":
        body = gzip.compress(body, compresslevel=4, mtime=0)
    elif encoding == "zstd":
        import zstandard  # few clients ask for it

        body = zstandard.ZstdCompressor(level=3).compress(body)
    return ReadyPage(content_type, encoding, f'"{digest.hexdigest()}"', serial, body, until)


#: What is noted of the pages that are asked for.
PAGE_READY, PAGE_MADE = "page.ready", "page.made"


class PageCache:
    """Ready pages by key, least recently used out first, within a bound of bytes."""

    def __init__(self, max_bytes: int, note: Callable[[str], None] | None = None) -> None:
        self.ready = 0
        """How often a page was there; two threads at once may lose one."""
        self._note = note
        self._max_bytes = max_bytes
        self._bytes = 0
        self._pages: OrderedDict[Hashable, ReadyPage] = OrderedDict()
        self._lock = threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable) -> ReadyPage | None:
        """The page of that key, if it is there and still right."""
        page = self._pages.get(key)
        if page is not None and page.until is not None and page.until <= time.time_ns() // 1000:
            return None
        if page is not None:
            self.ready += 1
            try:
                self._pages.move_to_end(key)
            except KeyError:  # dropped by another thread between the two lines; the page is still right
                return page
        return page

    def get_or_make(self, key: Hashable, make: Callable[[], ReadyPage]) -> ReadyPage:
        """The page of that key; made by one thread while others that want it wait."""
        page = self.get(key)
        if page is not None:
            return page
        with self._lock:
            lock = self._making.setdefault(key, threading.Lock())
        try:
            with lock:
                page = self.get(key)
                if page is None:
                    page = make()
                    if self._note is not None:
                        self._note(PAGE_MADE)
                    self._put(key, page)
                return page
        finally:
            with self._lock:
                self._making.pop(key, None)

    def _put(self, key: Hashable, page: ReadyPage) -> None:
        cost = len(page.body) + 600  # the key, the entry and the strings beside the body
        if cost > self._max_bytes:
            return
        with self._lock:
            outdated = self._pages.pop(key, None)
            if outdated is not None:
                self._bytes -= len(outdated.body) + 600
            self._pages[key] = page
            self._bytes += cost
            while self._bytes > self._max_bytes:
                _, dropped = self._pages.popitem(last=False)
                self._bytes -= len(dropped.body) + 600
