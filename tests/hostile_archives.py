"""Zip and tar archives made byte by byte, so that each part can lie about the others."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import struct
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tests.artifacts import Release

RELEASE = Release("acme", "1.0", requires_python=">=3.9")
INFO = "acme-1.0.dist-info"
WHEEL_NAME, SDIST_NAME = "acme-1.0-py3-none-any.whl", "acme-1.0.tar.gz"
STORED, DEFLATED = 0, 8
MAX32 = 0xFFFFFFFF


@dataclass(frozen=True)
class Entry:
    """An entry of a zip archive. What is None follows from the data."""

    name: str
    data: bytes = b""
    method: int = STORED
    flags: int = 0
    mode: int = 0o100644
    size: int | None = None
    crc: int | None = None
    packed: bytes | None = None
    packed_size: int | None = None
    extra: bytes = b""
    offset: int | None = None
    """Where the directory says that it is."""
    disk: int = 0
    local: Mapping[str, object] = field(default_factory=dict)
    """What its local header has otherwise, by the names of these fields."""
    before: bytes = b""
    after: bytes = b""
    listed: bool = True
    present: bool = True

    @property
    def body(self) -> bytes:
        if self.packed is not None:
            return self.packed
        return self.data if self.method != DEFLATED else deflated(self.data)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """CRC, packed size and size."""
        return (
            zlib.crc32(self.data) if self.crc is None else self.crc,
            len(self.body) if self.packed_size is None else self.packed_size,
            len(self.data) if self.size is None else self.size,
        )

    def local_header(self) -> bytes:
        said = replace(self, **self.local)
        name = said.name.encode()
        parts = (b"PK\x03\x04", 20, said.flags, said.method, 0, 33, *said.sizes, len(name), len(said.extra))
        return struct.pack("<4s5H3L2H", *parts) + name + said.extra

    def listing(self, offset: int) -> bytes:
        name = self.name.encode()
        offset = offset if self.offset is None else self.offset
        parts = (b"PK\x01\x02", 0x314, 20, self.flags, self.method, 0, 33, *self.sizes, len(name))
        rest = (len(self.extra), 0, self.disk, 0, self.mode << 16, offset)
        return struct.pack("<4s6H3L5H2L", *parts, *rest) + name + self.extra


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def zip_of(
    entries: Sequence[Entry],
    *,
    count: int | None = None,
    comment: bytes = b"",
    directory_after: bytes = b"",
    wide: Mapping[str, int] | None = None,
    end: Mapping[str, int] | None = None,
) -> bytes:
    """A zip archive; ``wide`` gives it a ZIP64 end record with those lies, ``end`` the plain one some."""
    body, listings = b"", b""
    for entry in entries:
        offset = len(body) + len(entry.before)
        if entry.present:
            body += entry.before + entry.local_header() + entry.body + entry.after
        if entry.listed:
            listings += entry.listing(offset)
    count = sum(entry.listed for entry in entries) if count is None else count
    listings += directory_after
    true = {"count": count, "size": len(listings), "offset": len(body)}
    tail = b""
    if wide is not None:
        at = len(body) + len(listings)
        said = {**true, "locator": at, "length": 44} | wide
        fields = (said["count"], said["count"], said["size"], said["offset"])
        tail += struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", said["length"], 45, 45, 0, 0, *fields)
        tail += struct.pack("<4sLQL", b"PK\x06\x07", 0, said["locator"], 1)
        true = {"count": 0xFFFF, "size": MAX32, "offset": MAX32}
    said = true | dict(end or {})
    disk = said.get("disk", 0)
    numbers = (disk, 0, said["count"], said["count"], said["size"], said["offset"], len(comment))
    return body + listings + tail + struct.pack("<4s4H2LH", b"PK\x05\x06", *numbers) + comment


def wheel_contents(**files: bytes) -> dict[str, bytes]:
    """What a sound wheel has, without its RECORD; further files by name."""
    return {
        "acme.py": RELEASE.source,
        f"{INFO}/METADATA": RELEASE.metadata,
        f"{INFO}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **files,
    }


def record_of(contents: Mapping[str, bytes]) -> bytes:
    lines = [f"{name},sha256={_urlsafe(data)},{len(data)}" for name, data in contents.items()]
    return ("\n".join([*lines, f"{INFO}/RECORD,,"]) + "\n").encode()


def wheel_entries(*more: Entry, contents: Mapping[str, bytes] | None = None) -> list[Entry]:
    """The entries of a sound wheel and some more, all of them in RECORD."""
    entries = [Entry(name, data) for name, data in (contents or wheel_contents()).items()]
    entries += more
    listed = {e.name: e.data for e in entries if not e.name.endswith("/")}
    return [*entries, Entry(f"{INFO}/RECORD", record_of(listed))]


def wheel_with(*more: Entry, **options: object) -> bytes:
    return zip_of(wheel_entries(*more), **options)


def _urlsafe(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


@dataclass(frozen=True)
class Member:
    """A member of a tar archive."""

    name: str
    data: bytes = b""
    type: bytes = b"0"
    link: str = ""
    size_field: bytes | None = None
    magic: bytes = b"ustar\x0000"
    prefix: str = ""
    checksum: int | None = None
    with_data: bool = True

    def blocks(self) -> bytes:
        size = b"%011o\0" % len(self.data) if self.size_field is None else self.size_field
        head = self.name.encode()[:100].ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + size
        rest = self.type + self.link.encode().ljust(100, b"\0") + self.magic + bytes(80)
        rest += self.prefix.encode().ljust(155, b"\0") + bytes(12)
        total = sum(head + b"00000000000\0" + b" " * 8 + rest) if self.checksum is None else self.checksum
        header = head + b"00000000000\0" + b"%06o\0 " % total + rest
        assert len(header) == 512
        return header + (self.data + bytes(-len(self.data) % 512) if self.with_data else b"")


def pax(records: Mapping[str, str], kind: bytes = b"x") -> Member:
    """An extended header for the member after it."""
    body = b""
    for key, value in records.items():
        rest = f" {key}={value}\n".encode()
        length = len(rest) + 1
        while length != len(rest) + len(str(length)):
            length = len(rest) + len(str(length))
        body += str(length).encode() + rest
    return Member("pax_header", body, type=kind)


def sdist_members(*more: Member) -> list[Member]:
    """The members of a sound sdist and some more."""
    return [
        Member("acme-1.0/", type=b"5"),
        Member("acme-1.0/PKG-INFO", RELEASE.metadata),
        Member("acme-1.0/acme.py", RELEASE.source),
        *more,
    ]


def tar_of(members: Sequence[Member], *, end: bytes = bytes(1024)) -> bytes:
    return b"".join(member.blocks() for member in members) + end


def sdist_of(members: Sequence[Member], *, end: bytes = bytes(1024), after: bytes = b"") -> bytes:
    """A ``.tar.gz``; ``after`` follows the compressed data."""
    return gzip.compress(tar_of(members, end=end), 6, mtime=0) + after


def sdist_with(*more: Member, **options: bytes) -> bytes:
    return sdist_of(sdist_members(*more), **options)


def zip_that_is_a_tar() -> bytes:
    """A sound wheel whose first 512 bytes are a header that tar believes."""
    # The CRC stands in a data descriptor: were it in the header, tar's checksum would depend on itself.
    name, flags = "acme.py", 0x8
    head = len(Entry(name).local_header())
    filler = bytearray(512 - head)
    filler[124 - head : 136 - head] = b"00000000000\0"
    filler[148 - head : 156 - head] = b" " * 8
    filler[156 - head : 157 - head] = b"0"
    unknown = {"crc": 0, "packed_size": 0, "size": 0}
    header = Entry(name, bytes(filler), flags=flags, local=unknown).local_header()
    filler[148 - head : 156 - head] = b"%06o\0 " % sum(header + filler)
    data = bytes(filler)
    descriptor = struct.pack("<4s3L", b"PK\x07\x08", zlib.crc32(data), len(data), len(data))
    first = Entry(name, data, flags=flags, local=unknown, after=descriptor)
    contents = {n: d for n, d in wheel_contents().items() if n != name}
    listed = {name: data, **contents}
    rest = [Entry(n, d) for n, d in contents.items()]
    wheel = zip_of([first, *rest, Entry(f"{INFO}/RECORD", record_of(listed))])
    assert tarfile.TarInfo.frombuf(wheel[:512], "utf-8", "strict").chksum
    return wheel


def streamed(name: str, data: bytes, *, signature: bool = True, wide: bool = False) -> Entry:
    """An entry as a tool writes it that cannot go back: its sizes follow the data."""
    sizes = struct.pack("<L2Q" if wide else "<3L", zlib.crc32(data), len(data), len(data))
    unknown = {"crc": 0, "packed_size": 0, "size": 0}
    return Entry(name, data, flags=0x8, local=unknown, after=(b"PK\x07\x08" if signature else b"") + sizes)


def tarfile_sdist(
    names: Mapping[str, bytes], *, mode: str = "w:gz", layout: int = tarfile.PAX_FORMAT
) -> bytes:
    """A source archive as Python's own tarfile writes it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=layout) as archive:
        for name, data in names.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
