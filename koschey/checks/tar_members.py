"""The members of a tar archive, parsed so strictly that no two readers can see two archives in one file.

Source: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar manual, "Basic Tar
Format". Nothing is ever written to disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

import msgspec

from koschey.checks.archive_kinds import MAX_TEXT_BYTES, ArchiveUnsound, shown
from koschey.checks.streams import Unpacked

_BLOCK = 512
_ZEROS = bytes(_BLOCK)
_CHUNK = 2**18
_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL = b"L", b"K", b"x", b"g"


class TarType(StrEnum):
    """What a member is."""

    FILE = "file"
    FOLDER = "folder"
    HARD_LINK = "hard link"
    SYMLINK = "symbolic link"
    DEVICE = "device"
    FIFO = "FIFO"


_TYPES = {
    b"0": TarType.FILE,
    b"\0": TarType.FILE,
    b"7": TarType.FILE,  # contiguous: nobody cares
    b"1": TarType.HARD_LINK,
    b"2": TarType.SYMLINK,
    b"3": TarType.DEVICE,
    b"4": TarType.DEVICE,
    b"5": TarType.FOLDER,
    b"6": TarType.FIFO,
}


class TarMember(msgspec.Struct, frozen=True, kw_only=True):
    """A member, with what its extended headers say."""

    name: str
    type: TarType
    size: int
    link: str = ""


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    name: bytes
    type: bytes
    size: int
    link: bytes


def members(stream: Unpacked) -> Iterator[tuple[TarMember, Iterator[bytes]]]:
    """Each member with its bytes in pieces, which are there until the next one is asked for.

    Raises:
        ArchiveUnsound: damaged, cut off, followed by something else, or readable in two ways.
    """
    waiting: dict[bytes, bytes] = {}
    while (block := stream.read(_BLOCK)) and block != _ZEROS:
        header = _header(block)
        if header.type in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL):
            body = _extended(stream, header)
            if header.type == _PAX_GLOBAL:
                _check_global(body)
            elif header.type in waiting:
                raise ArchiveUnsound("a member has two extended headers of one kind")
            else:
                waiting[header.type] = body
            continue
        member = _member(header, waiting)
        waiting = {}
        pieces = _pieces(stream, member)
        yield member, pieces
        for _ in pieces:
            pass
        padding = -member.size % _BLOCK
        if len(stream.read(padding)) != padding:
            raise ArchiveUnsound(f"member {shown(member.name)} is cut off")
    if waiting:
        raise ArchiveUnsound("its last extended header belongs to no member")
    while rest := stream.read(_CHUNK):
        if rest.strip(b"\0"):
            raise ArchiveUnsound("there is something after the end of the tar archive")


def _pieces(stream: Unpacked, member: TarMember) -> Iterator[bytes]:
    left = member.size
    while left:
        piece = stream.read(min(left, _CHUNK))
        if not piece:
            raise ArchiveUnsound(f"member {shown(member.name)} is cut off")
        left -= len(piece)
        yield piece


def is_header(block: bytes) -> bool:
    """Whether 512 bytes have a tar header's checksum."""
    if len(block) != _BLOCK or not any(block[148:156]):
        return False
    try:
        said = _number(block[148:156])
    except ArchiveUnsound:
        return False
    total = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    # Some old systems summed signed bytes.
    return said == total or said == total - 256 * sum(byte > 127 for byte in block[:148] + block[156:])


def _header(block: bytes) -> _Header:
    if len(block) != _BLOCK:
        raise ArchiveUnsound("it is cut off in a header")
    if not is_header(block):
        raise ArchiveUnsound("a header's checksum is wrong: damaged, or no tar archive")
    name, kind, link = _text(block[:100]), block[156:157], _text(block[157:257])
    # The prefix is POSIX's; GNU tar has other things there (and another magic).
    if block[257:263] == b"ustar\0" and (prefix := _text(block[345:500])):
        name = prefix + b"/" + name
    return _Header(name=name, type=kind, size=_number(block[124:136]), link=link)


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes) -> int:
    """An octal number, or GNU's base 256 for large ones. Raises: ArchiveUnsound: neither, or negative."""
    if field[0] & 0x80:
        if field[0] != 0x80:
            raise ArchiveUnsound("a header has a negative or absurd number")
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        raise ArchiveUnsound("a header has a number that is none")
    return int(digits or b"0", 8)


def _extended(stream: Unpacked, header: _Header) -> bytes:
    if header.size > MAX_TEXT_BYTES:
        raise ArchiveUnsound(f"an extended header is of {header.size} bytes, over {MAX_TEXT_BYTES}")
    padded = header.size + -header.size % _BLOCK
    body = stream.read(padded)
    if len(body) != padded:
        raise ArchiveUnsound("it is cut off in an extended header")
    return body[: header.size]


def _records(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The ``length key=value`` records of a pax header."""
    at = 0
    while at < len(body):
        digits, space, _ = body[at : at + 20].partition(b" ")
        length = int(digits) if space and digits.isdigit() else 0
        record = body[at : at + length]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if length <= len(digits) + 1 or len(record) != length or record[-1:] != b"\n" or not equals:
            raise ArchiveUnsound("a pax header is malformed")
        yield key, value
        at += length


def _check_global(body: bytes) -> None:
    """A global header may comment (git writes the commit there); it may not rename or resize what follows."""
    for key, _ in _records(body):
        if key in (b"path", b"linkpath", b"size") or key.startswith(b"GNU.sparse"):
            raise ArchiveUnsound(
                f"a global pax header sets {shown(key.decode('utf-8', 'replace'))} for all members"
            )


def _member(header: _Header, waiting: dict[bytes, bytes]) -> TarMember:
    name = _text(waiting.get(_LONG_NAME, header.name))
    link = _text(waiting.get(_LONG_LINK, header.link))
    seen: set[bytes] = set()
    for key, value in _records(waiting.get(_PAX, b"")):
        label = shown(header.name.decode("utf-8", "replace"))
        if key.startswith(b"GNU.sparse"):
            raise ArchiveUnsound(f"member {label} is sparse")
        if key in (b"path", b"linkpath", b"size") and key in seen:
            raise ArchiveUnsound(f"member {label} has two pax records of its {key.decode()}")
        seen.add(key)
        if key == b"path":
            name = value
        elif key == b"linkpath":
            link = value
        elif key == b"size" and value != str(header.size).encode():
            # A reader that goes by the header would take the rest of the data for members of their own.
            raise ArchiveUnsound(
                f"member {label} has one size in its header and another one in its pax header"
            )
    return _typed(header, name, link)


def _typed(header: _Header, raw_name: bytes, link: bytes) -> TarMember:
    name = raw_name.decode("utf-8", "surrogateescape")
    if header.type == b"S":
        raise ArchiveUnsound(f"member {shown(name)} is sparse")
    kind = _TYPES.get(header.type)
    if kind is None:
        raise ArchiveUnsound(f"member {shown(name)} is of the unknown type {header.type!r}")
    if kind is TarType.FILE and name.endswith("/"):
        kind = TarType.FOLDER  # as tar had it before there was a type for folders
    if kind is not TarType.FILE and header.size:
        raise ArchiveUnsound(f"member {shown(name)} is a {kind} and has {header.size} bytes of data")
    if b"\0" in raw_name or b"\0" in link:
        raise ArchiveUnsound(f"member {shown(name)} has a NUL in a name")
    return TarMember(name=name, type=kind, size=header.size, link=link.decode("utf-8", "surrogateescape"))
