"""The bytes of a compressed file, unpacked while they are read, within limits."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from koschey.checks.archive_kinds import ArchiveUnsound, check_amount

_CHUNK = 2**17
_PIECE = 2**18


class Unpacked:
    """What a compressed file holds; read once, from the start.

    Args:
        file: at its start.
        filename: its extension says how it is compressed.
        size: of the file, packed.
    """

    def __init__(self, file: BinaryIO, filename: str, size: int) -> None:
        self._pieces = filter(None, _unpacked(file, filename.lower()))
        self._packed = size
        self._waiting, self._at = b"", 0
        self.read_so_far = 0

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes; fewer at the end only.

        Raises:
            ArchiveUnsound: a bomb, cut off, damaged, or followed by something else.
        """
        parts, left = [], count
        while left:
            if self._at == len(self._waiting):
                self._waiting, self._at = next(self._pieces, b""), 0
                if not self._waiting:
                    break
                self.read_so_far += len(self._waiting)
                check_amount(self.read_so_far, self._packed)
            part = self._waiting[self._at : self._at + left]
            parts.append(part)
            self._at += len(part)
            left -= len(part)
        return b"".join(parts)


def _unpacked(file: BinaryIO, filename: str) -> Iterator[bytes]:
    if filename.endswith("gz"):
        return _gunzipped(file)
    if filename.endswith(("bz2", "tbz")):
        return _streams(file, bz2.BZ2Decompressor, OSError)
    if filename.endswith("xz"):
        return _streams(file, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=2**28), lzma.LZMAError)
    return iter(lambda: file.read(_CHUNK), b"")


def _gunzipped(file: BinaryIO) -> Iterator[bytes]:
    """One gzip member (RFC 1952): some readers stop at its end and others go on, so nothing may follow it.

    Zeros may: tapes and some old tools fill the last block.
    """
    inflater, waiting = zlib.decompressobj(zlib.MAX_WBITS | 16), b""
    try:
        while not inflater.eof:
            waiting = waiting or file.read(_CHUNK)
            if not waiting:
                raise ArchiveUnsound("its compressed data is cut off")
            yield inflater.decompress(waiting, _PIECE)
            waiting = inflater.unconsumed_tail
    except zlib.error as error:
        raise ArchiveUnsound(f"its compressed data is damaged: {error}") from None
    _check_only_zeros(file, inflater.unused_data)


def _streams(
    file: BinaryIO,
    decompressor: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor],
    damage: type[Exception],
) -> Iterator[bytes]:
    """Streams one after the other: the parallel bzip2 and xz tools write that, and every reader reads it."""
    rest = file.read(_CHUNK)
    try:
        while rest.strip(b"\0"):
            unpacker = decompressor()
            yield unpacker.decompress(rest, _PIECE)
            while not unpacker.eof:
                more = file.read(_CHUNK) if unpacker.needs_input else b""
                if unpacker.needs_input and not more:
                    raise ArchiveUnsound("its compressed data is cut off")
                yield unpacker.decompress(more, _PIECE)
            rest = unpacker.unused_data or file.read(_CHUNK)
    except (damage, EOFError) as error:
        raise ArchiveUnsound(
            f"its compressed data is damaged, or followed by something else: {error}"
        ) from None
    _check_only_zeros(file, rest)


def _check_only_zeros(file: BinaryIO, rest: bytes) -> None:
    while rest:
        if rest.strip(b"\0"):
            raise ArchiveUnsound("there are bytes after the end of its compressed data")
        rest = file.read(_CHUNK)
