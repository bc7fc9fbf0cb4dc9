"""The members of a zip archive: their local headers, how they lie in the file, and their bytes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from operator import attrgetter
from typing import BinaryIO

from koschey.checks.archive_kinds import ArchiveUnsound, shown
from koschey.checks.zip_directory import (
    MAX32,
    UTF8,
    Directory,
    ZipEntry,
    extra_fields,
    wide_sizes,
)

_LOCAL = struct.Struct("<4s5H3L2H")
_DESCRIBED_LATER = 0x8
#: What must be the same in both headers: how the name and the bytes are to be read.
_SAME_FLAGS = UTF8 | 0x1 | 0x40 | 0x2000
_STORED, _DEFLATED = 0, 8
_CHUNK = 2**18
_DESCRIPTOR_SIGNATURE = b"PK\x07\x08"


def check_layout(file: BinaryIO, directory: Directory, *, script_before: bool = False) -> None:
    """Check that entries fill the file up to the directory, one after the other, each as it is listed.

    So a second archive can hide nowhere, and a reader that goes from local header to local header sees what
    one sees that goes by the directory.

    Args:
        script_before: a shell script may stand before the first entry.

    Raises:
        ArchiveUnsound: gaps, overlaps, unlisted entries, or a local header that says something else.
    """
    entries = sorted(directory.entries, key=attrgetter("offset"))
    end = 0
    if script_before and entries:
        file.seek(0)
        end = entries[0].offset if file.read(2) == b"#!" else 0
    for place, entry in enumerate(entries):
        if entry.offset < end:
            raise ArchiveUnsound(f"entry {shown(entry.name)} overlaps another one")
        if entry.offset > end:
            raise ArchiveUnsound(_gap(file, end, entry.offset))
        limit = entries[place + 1].offset if place + 1 < len(entries) else directory.offset
        end = _local_end(file, entry, limit)
    if end > directory.offset:
        raise ArchiveUnsound("its last entry overlaps its directory")
    if end < directory.offset:
        raise ArchiveUnsound(_gap(file, end, directory.offset))


def data_start(file: BinaryIO, entry: ZipEntry) -> int:
    """Where an entry's packed bytes begin."""
    name_length, extra_length = _local_header(file, entry)[-2:]
    return entry.offset + _LOCAL.size + name_length + extra_length


def unpacked(file: BinaryIO, entry: ZipEntry) -> Iterator[bytes]:
    """An entry's bytes, in pieces.

    Raises:
        ArchiveUnsound: they are not of the size or the CRC that the directory says, or cannot be unpacked.
    """
    file.seek(data_start(file, entry))
    if entry.method == _STORED or (entry.method == _DEFLATED and not entry.packed and not entry.unpacked):
        # Old zipfile marks folders as deflated, and writes not even an empty stream for them.
        pieces = _stored(file, entry)
    elif entry.method == _DEFLATED:
        pieces = _inflated(file, entry)
    else:
        raise ArchiveUnsound(
            f"entry {shown(entry.name)} is packed with method {entry.method}: not every installer can read it"
        )
    size = crc = 0
    for piece in pieces:
        size += len(piece)
        crc = zlib.crc32(piece, crc)
        if size > entry.unpacked:
            break
        yield piece
    if size != entry.unpacked:
        raise ArchiveUnsound(f"entry {shown(entry.name)} is not of {entry.unpacked} bytes, as it says")
    if crc != entry.crc:
        raise ArchiveUnsound(f"entry {shown(entry.name)} has another CRC than it says")


def _stored(file: BinaryIO, entry: ZipEntry) -> Iterator[bytes]:
    left = entry.packed
    while left and (piece := file.read(min(left, _CHUNK))):
        left -= len(piece)
        yield piece


def _inflated(file: BinaryIO, entry: ZipEntry) -> Iterator[bytes]:
    left, inflater, waiting = entry.packed, zlib.decompressobj(-zlib.MAX_WBITS), b""
    try:
        while not inflater.eof:
            if not waiting:
                waiting = file.read(min(left, _CHUNK))
                left -= len(waiting)
                if not waiting:
                    break
            yield inflater.decompress(waiting, _CHUNK)
            waiting = inflater.unconsumed_tail
    except zlib.error as error:
        raise ArchiveUnsound(f"entry {shown(entry.name)} cannot be unpacked: {error}") from None
    if left or inflater.unused_data:
        raise ArchiveUnsound(f"entry {shown(entry.name)} has bytes after the end of its packed data")
    if not inflater.eof:
        raise ArchiveUnsound(f"entry {shown(entry.name)} is cut off")


def _local_header(file: BinaryIO, entry: ZipEntry) -> tuple[int, ...]:
    """The fields of an entry's local header; the name and the extra fields are what is read next."""
    file.seek(entry.offset)
    header = file.read(_LOCAL.size)
    if len(header) != _LOCAL.size or header[:4] != b"PK\x03\x04":
        raise ArchiveUnsound(f"entry {shown(entry.name)} has no local header where the directory says")
    return _LOCAL.unpack(header)


def _local_end(file: BinaryIO, entry: ZipEntry, limit: int) -> int:
    """Where an entry ends; ``limit`` is where it must, when it has a data descriptor."""
    header = _local_header(file, entry)
    _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = header
    raw_name = file.read(name_length)
    wide = extra_fields(file.read(extra_length), entry.name, raw_name)
    if raw_name != entry.raw_name:
        other = shown(raw_name.decode("utf-8", "replace"))
        raise ArchiveUnsound(f"entry {shown(entry.name)} is called {other} in its local header")
    if method != entry.method or (flags ^ entry.flags) & _SAME_FLAGS:
        raise ArchiveUnsound(
            f"entry {shown(entry.name)} has another method or other flags in its local header"
        )
    size, packed = wide_sizes(wide, entry.name, size, packed)
    end = entry.offset + _LOCAL.size + name_length + extra_length + entry.packed
    said, true = (crc, packed, size), (entry.crc, entry.packed, entry.unpacked)
    if flags & _DESCRIBED_LATER:
        # Streaming tools do not know CRC and sizes yet; some know a part of them already.
        if any(value not in (0, MAX32, known) for value, known in zip(said, true, strict=True)):
            raise ArchiveUnsound(f"entry {shown(entry.name)} has another size or CRC in its local header")
        return end + _descriptor_length(file, end, limit, entry)
    if said != true:
        raise ArchiveUnsound(f"entry {shown(entry.name)} has another size or CRC in its local header")
    return end


def _descriptor_length(file: BinaryIO, at: int, limit: int, entry: ZipEntry) -> int:
    """Length of the data descriptor (APPNOTE 4.3.9): with a signature or not, with 4 or 8 bytes a size."""
    file.seek(at)
    body = file.read(max(0, min(limit - at, 24)))
    for sizes in ("2L", "2Q"):
        plain = (
            struct.pack("<L" + sizes, entry.crc, entry.packed, entry.unpacked) if _fits(entry, sizes) else b""
        )
        if plain and body in (plain, _DESCRIPTOR_SIGNATURE + plain):
            return len(body)
    raise ArchiveUnsound(f"entry {shown(entry.name)} has another size or CRC in its data descriptor")


def _fits(entry: ZipEntry, sizes: str) -> bool:
    return sizes == "2Q" or max(entry.packed, entry.unpacked) <= MAX32


def _gap(file: BinaryIO, start: int, end: int) -> str:
    if start == 0:
        return f"there are {end} bytes before its first entry"
    file.seek(start)
    if file.read(4) == b"PK\x03\x04":
        return f"it has an entry at byte {start} that its directory does not list"
    return f"there are {end - start} bytes at byte {start} that belong to no entry"
