"""Going through the files of an archive, leniently: what is wrong with it, the check ``archive`` says."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from koschey.checks.archive_kinds import (
    MAX_TEXT_BYTES,
    ArchiveUnsound,
    Kind,
    check_entry_count,
    kind_of,
    shown,
)
from koschey.checks.streams import Unpacked
from koschey.checks.tar_members import TarType, members


class Item(msgspec.Struct, frozen=True):
    """A file of an archive. ``read(n)`` gives its first n bytes: once, before the next item is asked for."""

    name: str
    size: int
    """Unpacked, as the archive says."""
    read: Callable[[int], bytes]

    def text(self) -> bytes:
        """All of a file that is a short text. Raises: ArchiveUnsound: it is not short."""
        body = self.read(MAX_TEXT_BYTES + 1) if self.size <= MAX_TEXT_BYTES else b""
        if self.size > MAX_TEXT_BYTES or len(body) > MAX_TEXT_BYTES:
            raise ArchiveUnsound(f"its {shown(self.name)} is over {MAX_TEXT_BYTES} bytes")
        return body


def walk(path: Path, filename: str) -> Iterator[Item]:
    """Every file of the archive at ``path``, published as ``filename``; none of other kinds of files.

    Raises:
        ArchiveUnsound: it cannot be read.
    """
    kind = kind_of(filename)
    with readable():
        if kind is Kind.TAR_SDIST:
            yield from _tar_items(path, filename)
        elif kind is not Kind.OTHER:
            yield from _zip_items(path)


@contextmanager
def readable() -> Iterator[None]:
    """What archives' readers raise for a broken one becomes ArchiveUnsound."""
    try:
        yield
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        OSError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        MemoryError,
        UnicodeError,
    ) as error:
        raise ArchiveUnsound(f"it cannot be read: {error or type(error).__name__}") from error


def _zip_items(path: Path) -> Iterator[Item]:
    with zipfile.ZipFile(path) as archive:
        check_entry_count(len(archive.infolist()))
        for entry in archive.infolist():
            if not entry.is_dir():
                yield Item(entry.filename, entry.file_size, _zip_reader(archive, entry))


def _zip_reader(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Callable[[int], bytes]:
    def read(count: int) -> bytes:
        with readable(), archive.open(entry) as member:
            return member.read(count)

    return read


def _tar_items(path: Path, filename: str) -> Iterator[Item]:
    with path.open("rb") as file:
        unpacked = Unpacked(file, filename, path.stat().st_size)
        for count, (member, pieces) in enumerate(members(unpacked), start=1):
            check_entry_count(count)
            if member.type is TarType.FILE:
                yield Item(member.name, member.size, _tar_reader(pieces))


def _tar_reader(pieces: Iterator[bytes]) -> Callable[[int], bytes]:
    def read(count: int) -> bytes:
        parts, left = [], count
        while left > 0 and (piece := next(pieces, b"")):
            parts.append(piece[:left])
            left -= len(piece)
        return b"".join(parts)

    return read
