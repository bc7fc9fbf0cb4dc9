"""Stored root lists as files of this machine: put together once for each form, then sent by the kernel.

They are copies of what the database has, which anybody may delete at any time.
"""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

from koschey.domain.negotiation import Representation
from koschey.domain.simple_api import RootFrame, read_entries, render_entries, root_frame
from koschey.errors import StoreUnavailable
from koschey.services.root_build import bodies, deflate, inflate, stored
from koschey.stores.database import Database
from koschey.stores.locks import FileLocks

#: Seconds that a request waits for another one that makes the same file.
_WAIT = 60.0
#: Generations of a list whose files are kept: somebody may be about to open one of the one before.
_KEPT = 2
_GZIP_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"

#: Whether a reader may see a normalised name; None: every name.
MaySee = Callable[[str], bool] | None


class RootFiles:
    """Makes and finds the files. ``folder``: this machine's own; made when it is not there."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder
        self._locks: FileLocks | None = None

    def path(
        self, index_id: int, mark: str, form: Representation, encoding: str, view: str, may_see: MaySee
    ) -> Path | None:
        """The file of a list as it was built under that ``mark``; None: another build has replaced it.

        Args:
            view: names what ``may_see`` lets through, the same for the same names; empty for all.

        Raises:
            StoreUnavailable: it could not be written. Busy: another process makes it and is not done.
        """
        kind = "json" if form is Representation.JSON else "html"
        view = blake2b(view.encode(), digest_size=8).hexdigest() if view else "all"
        variant = f"{index_id}.{view}.{kind}.{encoding}"
        path = self._folder / f"{variant}.{mark}"
        if path.is_file():
            return path
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._guard().hold(variant, _WAIT):
                if not path.is_file() and not self._make(path, index_id, mark, form, encoding, may_see):
                    return None
                self._tidy(variant)
        except OSError as error:
            raise StoreUnavailable("files", f"cannot write a root list: {error.strerror}") from error
        return path

    def _guard(self) -> FileLocks:
        if self._locks is None:
            self._locks = FileLocks(self._folder)
        return self._locks

    def _make(
        self, path: Path, index_id: int, mark: str, form: Representation, encoding: str, may_see: MaySee
    ) -> bool:
        with self._database.snapshot() as connection:
            built = stored(connection, index_id)
            if built is None or built.mark != mark:
                return False
            frame = root_frame(built.serial, form)
            handle, name = tempfile.mkstemp(dir=self._folder, prefix="making-")
            try:
                with os.fdopen(handle, "wb") as out:
                    pieces = bodies(connection, index_id)
                    if form is Representation.JSON and encoding == "gzip" and may_see is None:
                        _spliced(out, frame, pieces)
                    else:
                        _written(out, encoding, _pieces(frame, pieces, form, may_see))
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        return True

    def _tidy(self, variant: str) -> None:
        """Remove the files of older builds; who has one open goes on reading it."""
        found = []
        for path in self._folder.glob(f"{variant}.*"):
            with suppress(FileNotFoundError):
                found.append((path.stat().st_mtime_ns, path))
        for _, path in sorted(found)[:-_KEPT]:
            path.unlink(missing_ok=True)


class _Out(Protocol):
    def write(self, data: bytes, /) -> object: ...


def _pieces(
    frame: RootFrame, bodies: Iterable[bytes], form: Representation, may_see: MaySee
) -> Iterator[bytes]:
    between = b""
    yield frame.head
    for body in bodies:
        piece = inflate(body)
        if form is not Representation.JSON or may_see is not None:
            entries = [entry for entry in read_entries(piece) if may_see is None or may_see(entry.name)]
            piece = render_entries(entries, form)
        if piece:
            yield between + piece
            between = frame.between
    yield frame.tail


def _spliced(out: _Out, frame: RootFrame, bodies: Iterable[bytes]) -> None:
    """One gzip member (RFC 1952) of bodies that are compressed already."""
    head, between = deflate(frame.head), deflate(frame.between)
    out.write(_GZIP_HEAD + head)
    crc, size = zlib.crc32(frame.head), len(frame.head)
    first = True
    for body in bodies:
        if not first:
            out.write(between)
            crc, size = zlib.crc32(frame.between, crc), size + len(frame.between)
        first = False
        out.write(body)
        piece = inflate(body)
        crc, size = zlib.crc32(piece, crc), size + len(piece)
    last = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    out.write(last.compress(frame.tail) + last.flush())
    crc, size = zlib.crc32(frame.tail, crc), size + len(frame.tail)
    out.write(struct.pack("<II", crc, size & 0xFFFFFFFF))


def _written(out: _Out, encoding: str, pieces: Iterable[bytes]) -> None:
    if encoding == "zstd":
        import zstandard  # few clients ask for it

        with zstandard.ZstdCompressor(level=3).stream_writer(out, closefd=False) as compressed:  # type: ignore[arg-type]
            for piece in pieces:
                compressed.write(piece)
        return
    if encoding == "gzip":
        compressor = zlib.compressobj(4, zlib.DEFLATED, zlib.MAX_WBITS | 16)
        for piece in pieces:
            out.write(compressor.compress(piece))
        out.write(compressor.flush())
        return
    for piece in pieces:
        out.write(piece)
