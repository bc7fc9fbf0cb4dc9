"""Links and ``pypi:`` meta tags of an HTML index page (PEP 503), from a page that may be hostile.

pypi-simple's stream parser keeps a stack of every open tag and joins URLs while it parses. A page of
unclosed tags makes that quadratic, and one malformed link ends it; so this one knows anchors, ``meta``
and ``base`` only, holds a bounded piece of the page, and leaves URLs alone.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from typing import NamedTuple

#: The parser may take quadratic time over what it holds, so it gets and holds little at a time.
_PIECE = 8 * 1024
_LONGEST_CONSTRUCT = 32 * 1024
_LONGEST_TEXT = 1024
#: More links than any index page has; each takes many times the memory of its markup.
_MOST_LINKS = 200_000
#: Attributes of anchors that mean something (PEP 503, 592, 658, 714, 740); others are not kept.
_ANCHOR = frozenset(
    {
        "href", "data-requires-python", "data-yanked", "data-core-metadata", "data-dist-info-metadata",
        "data-provenance",
    }
)  # fmt: skip
_KEPT = {"a": _ANCHOR, "meta": frozenset({"name", "content"}), "base": frozenset({"href"})}
#: Encodings in which markup is ASCII; anything else that a page may claim is read as UTF-8.
_CHARSETS = frozenset({"utf-8", "ascii", "iso8859-1", "cp1252"})


class Link(NamedTuple):
    """An anchor with an ``href``: its text, without outer blanks, and its attributes of ``_ANCHOR``."""

    text: str
    attributes: dict[str, str]


class LinkParser(HTMLParser):
    """Collects while it is fed; ``feed`` and ``close`` raise ValueError for markup that cannot be read."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[Link] = []
        self.meta: dict[str, str] = {}
        """Content of ``pypi:`` meta tags by name without the prefix; the first of each."""
        self.base: str | None = None
        """``href`` of the first ``base`` that has one."""
        self._anchor: dict[str, str] | None = None
        self._text = ""

    def feed(self, data: str) -> None:
        try:
            super().feed(data)
        except AssertionError as error:  # html.parser's own word for some malformed declarations
            raise ValueError("malformed markup") from error
        if len(self.rawdata) > _LONGEST_CONSTRUCT:
            raise ValueError("a tag, comment or script without an end")
        if len(self.links) + len(self.meta) > _MOST_LINKS:
            raise ValueError("more links than a page may have")

    def close(self) -> None:
        try:
            super().close()
        except AssertionError as error:
            raise ValueError("malformed markup") from error
        self._end_anchor()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        kept = _KEPT.get(tag)
        if kept is None:
            return
        attributes: dict[str, str] = {}
        for key, value in attrs:
            if key in kept:
                attributes.setdefault(key, value or "")  # HTML: the first of equal names counts
        if tag == "a":
            self._end_anchor()  # anchors do not nest
            self._anchor = attributes
        elif tag == "meta" and attributes.get("name", "").startswith("pypi:"):
            self.meta.setdefault(attributes["name"].removeprefix("pypi:"), attributes.get("content", ""))
        elif tag == "base" and self.base is None:
            self.base = attributes.get("href")

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._end_anchor()

    def handle_data(self, data: str) -> None:
        if self._anchor is not None and len(self._text) < _LONGEST_TEXT:
            self._text += data[:_LONGEST_TEXT]

    def _end_anchor(self) -> None:
        if self._anchor is not None and "href" in self._anchor:
            self.links.append(Link(self._text.strip(), self._anchor))
        self._anchor, self._text = None, ""


def decoded(chunks: Iterable[bytes], charset: str | None) -> Iterator[str]:
    """A page's text in pieces small enough for :class:`LinkParser`; what is no text is replaced."""
    decoder = codecs.getincrementaldecoder(_encoding(charset))(errors="replace")
    for chunk in chunks:
        for start in range(0, len(chunk), _PIECE):
            yield decoder.decode(chunk[start : start + _PIECE])
    yield decoder.decode(b"", final=True)


def _encoding(charset: str | None) -> str:
    try:
        name = codecs.lookup(charset or "utf-8").name
    except (LookupError, ValueError):
        name = ""
    return name if name in _CHARSETS - {"utf-8"} else "utf-8-sig"
