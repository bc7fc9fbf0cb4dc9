"""multipart/form-data of an upload (RFC 7578), parsed while it comes: one file goes to a sink, text is kept.

Werkzeug's own form parser would spool the file a second time, and its limits are for forms of people.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from koschey.errors import TooLarge, UploadInvalid

CONTENT = "content"
MAX_PARTS = 10_000
#: Of all fields together: long descriptions are some hundred kilobytes.
MAX_FIELD_BYTES = 16 * 2**20
#: Of the headers of one part, and of what is read at once.
_MAX_HEAD = 256 * 1024
_CHUNK = 64 * 1024
_MAX_BOUNDARY = 200


@dataclass
class Form:
    """The fields that have come so far, and the name of the file."""

    fields: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    filename: str | None = None
    content: bool = False
    """Whether the part with the file has begun."""


@dataclass(frozen=True)
class Sink:
    """Where the file goes."""

    begin: Callable[[Mapping[str, Sequence[str]], str | None], None]
    """Called with the fields so far and the filename, before the first byte; may raise to refuse it."""
    write: Callable[[bytes], None]
    max_bytes: int


def read_form(stream: IO[bytes], content_type: str, sink: Sink) -> Form:
    """The fields of a form whose part ``content`` went to ``sink``.

    Raises:
        UploadInvalid: it is no such form, has no or two files, is cut off, or has text that is not UTF-8.
        TooLarge: it has too many parts, too much text, or too large a file.
    """
    decoder = MultipartDecoder(_boundary(content_type), _MAX_HEAD, max_parts=MAX_PARTS)
    reader = _Reader(sink)
    try:
        for event in _events(decoder, stream):
            reader.take(event)
    except RequestEntityTooLarge:
        raise TooLarge("parts of a form, or bytes of the headers of a part", MAX_PARTS) from None
    except UnicodeDecodeError:
        raise UploadInvalid("text-invalid", "a field of the form, or its name, is not UTF-8") from None
    except ValueError as error:
        raise UploadInvalid("form-invalid", f"the form is malformed or cut off: {error}") from None
    if not reader.form.content:
        raise UploadInvalid("content-missing", "the form has no file: a part named content")
    return reader.form


def _boundary(content_type: str) -> bytes:
    kind, options = parse_options_header(content_type)
    boundary = options.get("boundary", "").encode("latin-1", "replace")
    if kind != "multipart/form-data" or not 0 < len(boundary) <= _MAX_BOUNDARY:
        raise UploadInvalid("form-invalid", "an upload is multipart/form-data, with a boundary")
    return boundary


def _events(decoder: MultipartDecoder, stream: IO[bytes]) -> Iterator[Event]:
    while True:
        try:
            chunk = stream.read(_CHUNK)
        except OSError as error:  # the server's word for a client that is gone
            raise UploadInvalid("form-invalid", f"the form is cut off: {error}") from error
        decoder.receive_data(chunk or None)
        event = decoder.next_event()
        while not isinstance(event, NeedData | Epilogue):
            yield event
            event = decoder.next_event()
        if isinstance(event, Epilogue) or not chunk:
            return


class _Reader:
    """Puts the events of the decoder where they belong."""

    def __init__(self, sink: Sink) -> None:
        self.form = Form()
        self._sink = sink
        self._part: Field | File | None = None
        self._text = bytearray()
        self._text_bytes = 0
        self._file_bytes = 0

    def take(self, event: Event) -> None:
        match event:
            case Field() | File():
                self._begin(event)
            case Data():
                self._data(event)

    def _begin(self, part: Field | File) -> None:
        self._part = part
        self._text = bytearray()
        if part.name is None:
            raise UploadInvalid("form-invalid", "a part of the form has no name")
        if part.name != CONTENT:
            return
        if self.form.content:
            raise UploadInvalid("content-repeated", "the form has two files: only one part is named content")
        if not isinstance(part, File):
            raise UploadInvalid("content-missing", "the part named content has no filename")
        # Clients send a backslash as it is (RFC 7578); the parser takes it for an escape, and drops it.
        if "\\" in part.headers.get("content-disposition", ""):
            raise UploadInvalid("filename-invalid", "the filename has a backslash, and may not")
        self.form.content, self.form.filename = True, part.filename
        self._sink.begin(self.form.fields, part.filename)

    def _data(self, event: Data) -> None:
        part = self._part
        assert part is not None and part.name is not None
        if part.name == CONTENT:
            self._file_bytes += len(event.data)
            if self._file_bytes > self._sink.max_bytes:
                raise TooLarge("bytes of a file", self._sink.max_bytes)
            self._sink.write(event.data)
            return
        self._text_bytes += len(event.data)
        if self._text_bytes > MAX_FIELD_BYTES:
            raise TooLarge("bytes of all fields of a form", MAX_FIELD_BYTES)
        if isinstance(part, File):
            return  # gpg_signature and the like, which nobody reads
        self._text += event.data
        if not event.more_data:
            self.form.fields[part.name].append(self._text.decode("utf-8"))
