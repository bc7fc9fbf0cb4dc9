"""An upstream's root list: names and their serials, from an answer that may be hostile and is large."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from packaging.utils import canonicalize_name

from koschey.domain import upstream_fields as fields
from koschey.domain.html_links import LinkParser, decoded
from koschey.domain.names import is_valid_name
from koschey.domain.upstream_page import UNREADABLE, PageInvalid

#: More than any index has, and what fits into 400 MB.
MOST_NAMES = 2_000_000
_KEY = b'"name"'


@dataclass
class RootListing:
    """What a root list says."""

    serials: dict[str, int | None] = field(default_factory=dict)
    """Normalised name to the serial of its last change; None where it has none."""
    serial: int | None = None
    """Of the whole index."""
    refused: int = 0
    """Names that none can have."""

    @property
    def has_serials(self) -> bool:
        """Whether changes can be told from it: most names have a serial.

        Those that have none are asked for by their ETag whenever it is compared.
        """
        return 2 * sum(serial is not None for serial in self.serials.values()) > len(self.serials)

    def add(self, name: object, serial: int | None) -> None:
        """Take a name; of two spellings of one the higher serial counts."""
        if not isinstance(name, str) or not is_valid_name(name):
            self.refused += 1
            return
        normal = name if name.isalnum() and name.islower() else canonicalize_name(name)
        known = self.serials.get(normal)
        self.serials[normal] = serial if known is None or serial is None else max(known, serial)


class _Entry(msgspec.Struct, gc=False):
    name: Any = None
    serial: Any = msgspec.field(name="_last-serial", default=None)


class _Meta(msgspec.Struct):
    api_version: str = msgspec.field(name="api-version")
    serial: Any = msgspec.field(name="_last-serial", default=None)


class _Root[E](msgspec.Struct):
    """A list whose ``projects`` are entries, or raw text that is decoded one by one."""

    meta: _Meta
    projects: list[E]


class _Named(msgspec.Struct):
    """Of an entry whose serial cannot be read: the serial is passed over unread."""

    name: Any = None


_whole = msgspec.json.Decoder(_Root[_Entry])
_frame = msgspec.json.Decoder(_Root[msgspec.Raw])
_entry = msgspec.json.Decoder(_Entry)
_named = msgspec.json.Decoder(_Named)


def parse_root_json(body: bytes) -> RootListing:
    """The root list in the JSON of PEP 691.

    Raises:
        PageInvalid: it is none, of another API version, or lists more than any index has.
    """
    if body.count(_KEY) > MOST_NAMES:
        raise PageInvalid("it lists more names than an index has")
    try:
        try:
            root: _Root[_Entry] | _Root[msgspec.Raw] = _whole.decode(body)
        except UNREADABLE:
            root = _frame.decode(body)
    except RecursionError:
        raise PageInvalid("its JSON is nested too deep") from None
    except msgspec.ValidationError as error:
        raise PageInvalid(f"it is no root list of an index: {error}") from None
    except UNREADABLE:
        raise PageInvalid("it is not JSON, or was cut off") from None
    if root.meta.api_version.partition(".")[0] != "1":
        raise PageInvalid("its API version is not 1")
    listing = RootListing(serial=fields.serial(root.meta.serial))
    entries: list[_Entry] | list[msgspec.Raw] = root.projects
    while entries:  # each is let go of at once: there are hundreds of thousands
        entry = entries.pop()
        if isinstance(entry, msgspec.Raw):
            entry = _read_alone(entry)
        listing.add(entry.name, fields.serial(entry.serial))
    return listing


def _read_alone(raw: msgspec.Raw) -> _Entry:
    """An entry of a list in which one is malformed; one without a name when it cannot be read at all."""
    try:
        return _entry.decode(raw)
    except (*UNREADABLE, RecursionError):
        pass
    try:
        return _Entry(_named.decode(raw).name)
    except (*UNREADABLE, RecursionError):
        return _Entry()


def parse_root_html(
    chunks: Iterable[bytes], *, charset: str | None = None, expired: Callable[[], bool]
) -> RootListing:
    """The root list in the HTML of PEP 503: the text of each link is a name.

    Raises:
        PageInvalid: it cannot be read, has no link, or lists more than any index has; or out of time.
    """
    parser = LinkParser()
    listing = RootListing()
    try:
        for text in decoded(chunks, charset):
            if expired():
                raise PageInvalid("it did not arrive and could not be read in time")
            parser.feed(text)
            _take(parser, listing)
        parser.close()
    except PageInvalid:
        raise
    except ValueError as error:
        raise PageInvalid(f"its HTML cannot be read: {error}") from None
    _take(parser, listing)
    if not listing.serials and not parser.meta:
        raise PageInvalid("it has no links to projects")
    return listing


def _take(parser: LinkParser, listing: RootListing) -> None:
    for link in parser.links:
        listing.add(link.text, None)
    parser.links.clear()
    if len(listing.serials) > MOST_NAMES:
        raise PageInvalid("it lists more names than an index has")
