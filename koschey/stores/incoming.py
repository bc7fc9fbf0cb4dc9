"""A file on its way in: spooled and hashed while it comes, gone unless the store takes it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from koschey.stores import spool


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


class Incoming:
    """A spool file of a store, for a ``with`` statement; at its end the file is closed and removed.

    Args:
        spool_dir: the store's, so that publishing needs no copy.

    Raises:
        StoreUnavailable: from ``write`` and ``finish``: the spool folder cannot be written to.
    """

    def __init__(self, spool_dir: Path) -> None:
        self._spool_dir = spool_dir
        self._file: BinaryIO | None = None
        self._hashes: dict[str, _Hash] = {
            "sha256": hashlib.sha256(),
            "md5": hashlib.md5(usedforsecurity=False),
            "blake2b": hashlib.blake2b(digest_size=32),
        }
        self._path: Path | None = None
        self.size = 0

    @property
    def path(self) -> Path:
        """The spool file, once something was written."""
        assert self._path is not None
        return self._path

    @property
    def beside(self) -> Path:
        """Where a document that belongs to it can be spooled; removed with it."""
        return self.path.with_suffix(".document")

    def digest(self, algorithm: str) -> str:
        """``sha256``, ``md5`` or ``blake2b`` (256 bits) of all that was written, in hexadecimal."""
        return self._hashes[algorithm].hexdigest()

    def write(self, chunk: bytes) -> None:
        """Append bytes."""
        with spool.reported("cannot write to the spool folder"):
            if self._file is None:
                handle, name = tempfile.mkstemp(dir=self._spool_dir, prefix="upload-")
                self._path, self._file = Path(name), os.fdopen(handle, "wb", buffering=0)
            left = memoryview(chunk)
            while left:
                left = left[self._file.write(left) :]
        for known in self._hashes.values():
            known.update(chunk)
        self.size += len(chunk)

    def finish(self) -> None:
        """No more bytes come."""
        self.write(b"")
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self.beside.unlink(missing_ok=True)

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()
