"""The directory of a zip archive, parsed so strictly that no two readers can see two archives in one file.

Source of all layouts: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3.7 to 4.3.16 and 4.5.3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from koschey.checks.archive_kinds import ArchiveUnsound, check_entry_count, shown

END_SIGNATURE = b"PK\x05\x06"
UTF8 = 0x800
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_MAX_COMMENT = 0xFFFF
_ZIP64, _UNICODE_PATH = 0x0001, 0x7075
MAX16, MAX32 = 0xFFFF, 0xFFFFFFFF


class ZipEntry(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An entry as the central directory has it."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    unpacked: int
    offset: int
    """Of its local header."""
    mode: int
    """As Unix has it: type and permissions."""


class Directory(msgspec.Struct, frozen=True, kw_only=True):
    """Where the central directory is, and what the end records say of it."""

    offset: int
    size: int
    count: int
    entries: tuple[ZipEntry, ...] = ()


def read_directory(file: BinaryIO, size: int) -> Directory:
    """The central directory of the archive of ``size`` bytes in ``file``.

    Raises:
        ArchiveUnsound: it has none, two, or one that contradicts itself.
    """
    place = _end_record(file, size)
    check_entry_count(place.count)
    file.seek(place.offset)
    block = file.read(place.size)
    entries = tuple(_entries(block, place.count))
    return Directory(offset=place.offset, size=place.size, count=place.count, entries=entries)


def _end_record(file: BinaryIO, size: int) -> Directory:
    start = max(0, size - _END.size - _MAX_COMMENT)
    file.seek(start)
    tail = file.read(size - start)
    at = _only_end(tail)
    _, disk, first_disk, here, count, length, offset, _ = _END.unpack_from(tail, at)
    end = start + at
    place = Directory(offset=offset, size=length, count=count)
    if (wide := _end64(file, end)) is not None:
        end, wider = wide
        for narrow, wider_value, sentinel in (
            (count, wider.count, MAX16),
            (length, wider.size, MAX32),
            (offset, wider.offset, MAX32),
        ):
            if narrow not in (sentinel, wider_value):
                raise ArchiveUnsound("its two end records, ZIP and ZIP64, contradict each other")
        here = count if here != MAX16 else MAX16
        place = wider
    if disk not in (0, MAX16) or first_disk not in (0, MAX16) or here != count:
        raise ArchiveUnsound("it says that it is one part of several")
    if place.offset + place.size != end:
        missing = end - place.offset - place.size
        raise ArchiveUnsound(
            f"its directory does not end where its end record begins: {missing} bytes between"
            " (something was put before the archive, or into it)"
        )
    return place


def _only_end(tail: bytes) -> int:
    """Where the one end record is: its comment reaches to the end of the file."""
    found = []
    at = tail.find(END_SIGNATURE)
    while 0 <= at <= len(tail) - _END.size:
        if at + _END.size + int.from_bytes(tail[at + 20 : at + 22], "little") == len(tail):
            found.append(at)
        at = tail.find(END_SIGNATURE, at + 1)
    if len(found) > 1:
        raise ArchiveUnsound("it has two end records")
    if found:
        return found[0]
    if END_SIGNATURE in tail:
        raise ArchiveUnsound("there are bytes after its end record")
    raise ArchiveUnsound("it is no zip archive: it has no end record")


def _end64(file: BinaryIO, end: int) -> tuple[int, Directory] | None:
    """Where the ZIP64 end record begins and what it says; None when there is none."""
    if end < _LOCATOR.size + _END64.size:
        return None
    file.seek(end - _LOCATOR.size)
    signature, disk, at, disks = _LOCATOR.unpack(file.read(_LOCATOR.size))
    if signature != b"PK\x06\x07":
        return None
    if disk != 0 or disks > 1 or at != end - _LOCATOR.size - _END64.size:
        raise ArchiveUnsound("its ZIP64 locator points elsewhere than to the record before it")
    file.seek(at)
    record = _END64.unpack(file.read(_END64.size))
    signature, length, _, _, disk, first_disk, here, count, size, offset = record
    if signature != b"PK\x06\x06" or length != _END64.size - 12 or disk or first_disk or here != count:
        raise ArchiveUnsound("its ZIP64 end record is malformed")
    return at, Directory(offset=offset, size=size, count=count)


def _entries(block: bytes, count: int) -> Iterator[ZipEntry]:
    at = 0
    for _ in range(count):
        if at + _ENTRY.size > len(block):
            raise ArchiveUnsound("its directory has fewer entries than its end record says")
        fields = _ENTRY.unpack_from(block, at)
        name_end = at + _ENTRY.size + fields[10]
        extra_end = name_end + fields[11]
        raw_name = block[at + _ENTRY.size : name_end]
        at = extra_end + fields[12]
        if fields[0] != b"PK\x01\x02" or at > len(block):
            raise ArchiveUnsound("its directory is malformed")
        yield _entry(fields, raw_name, block[name_end:extra_end])
    if at != len(block):
        raise ArchiveUnsound("its directory has more in it than the entries that its end record counts")


def _entry(fields: tuple[int, ...], raw_name: bytes, raw_extra: bytes) -> ZipEntry:
    flags, method, crc, packed, unpacked = fields[3], fields[4], fields[7], fields[8], fields[9]
    disk, attributes, offset = fields[13], fields[15], fields[16]
    name = decoded(raw_name, flags)
    if flags & _ENCRYPTED:
        raise ArchiveUnsound(f"entry {shown(name)} is encrypted")
    if disk not in (0, MAX16):
        raise ArchiveUnsound(f"entry {shown(name)} says that it is in another part")
    unpacked, packed, offset = wide_sizes(
        extra_fields(raw_extra, name, raw_name), name, unpacked, packed, offset
    )
    return ZipEntry(
        name=name,
        raw_name=raw_name,
        flags=flags,
        method=method,
        crc=crc,
        packed=packed,
        unpacked=unpacked,
        offset=offset,
        mode=attributes >> 16,
    )


def decoded(raw_name: bytes, flags: int) -> str:
    """An entry's name. Raises: ArchiveUnsound: it says that it is UTF-8 and is not."""
    try:
        return raw_name.decode("utf-8" if flags & UTF8 else "cp437")
    except UnicodeDecodeError:
        raise ArchiveUnsound(f"an entry's name is not the UTF-8 that it says: {raw_name[:100]!r}") from None


def extra_fields(raw: bytes, name: str, raw_name: bytes) -> bytes | None:
    """The ZIP64 field among an entry's extra fields, if it has one.

    Raises:
        ArchiveUnsound: the fields are malformed, repeated, or give the entry a second name.
    """
    at, wide = 0, None
    while at + 4 <= len(raw):
        kind, length = struct.unpack_from("<2H", raw, at)
        body = raw[at + 4 : at + 4 + length]
        if len(body) != length:
            # Tools that align entries pad this area with zeros; a field with no kind ends the list.
            if not raw[at:].strip(b"\0"):
                return wide
            raise ArchiveUnsound(f"entry {shown(name)} has a malformed extra field")
        if kind == _ZIP64:
            if wide is not None:
                raise ArchiveUnsound(f"entry {shown(name)} has two ZIP64 fields")
            wide = body
        elif kind == _UNICODE_PATH and body[5:] != raw_name:
            raise ArchiveUnsound(
                f"entry {shown(name)} has a second name: {shown(body[5:].decode('utf-8', 'replace'))}"
            )
        at += 4 + length
    return wide


def wide_sizes(wide: bytes | None, name: str, *narrow: int) -> list[int]:
    """Sizes and offsets (in the order of APPNOTE 4.5.3) with the ZIP64 field's in place of the overflown.

    Raises:
        ArchiveUnsound: the field is missing where it is needed, or says something else than the header.
    """
    needed = sum(value == MAX32 for value in narrow)
    values = list(struct.unpack(f"<{len(wide) // 8}Q", wide[: len(wide) // 8 * 8])) if wide else []
    if len(values) < needed:
        if wide is None:
            return list(narrow)  # just that large: the last size that needs no ZIP64
        raise ArchiveUnsound(f"entry {shown(name)} has a ZIP64 field without the sizes that it is for")
    if len(values) > needed:
        # Some tools write both sizes though they would fit; then they must be the same.
        if any(value not in (MAX32, wider) for value, wider in zip(narrow, values, strict=False)):
            raise ArchiveUnsound(f"entry {shown(name)} has a ZIP64 field that contradicts its header")
        return [values[n] if n < len(values) else value for n, value in enumerate(narrow)]
    given = iter(values)
    return [next(given) if value == MAX32 else value for value in narrow]
