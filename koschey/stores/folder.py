"""Blobs in a folder of the local disk: ``<root>/ab/cd/<sha256>``, arriving through ``<root>/spool``.

Paths are walked one component at a time from an open root, never through a symbolic link, so that
nothing planted inside the folder can lead a blob out of it. The root itself may be a link.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import uuid
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import structlog

from koschey.errors import BlobMissing, StoreUnavailable
from koschey.failpoints import failpoint
from koschey.stores import spool
from koschey.stores.blobs import DIGEST, BlobInfo, Spooled, pairs
from koschey.stores.flushing import flush_file_system

CHUNK = 2**20
_ROOT = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FOLDER = _ROOT | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Mode of a blob.
_SEALED = 0o444
_PAIR = re.compile(r"[0-9a-f]{2}")

log = structlog.get_logger(__name__)


class FolderStore:
    """Obeys ``BlobStore``. ``root`` is made when it is not there; its file system needs hard links."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._spool = self._root / "spool"
        with spool.reported(f"cannot make the folder {self._root}"):
            self._spool.mkdir(parents=True, exist_ok=True)

    @property
    def spool_dir(self) -> Path:
        """Inside the root, so that publishing needs no copy."""
        return self._spool

    def publish(self, spooled: Path, sha256: str, size: int) -> None:
        """See ``BlobStore``. The name appears by ``link``, which cannot overwrite what is there."""
        with spool.reported("cannot publish a blob"):
            _seal(spooled, size)
            failpoint("blob.before-publish")
            with self._folder(sha256, create=True) as folder:
                self._link(spooled, sha256, size, folder)
                failpoint("blob.linked")
                # Also when the blob was there: whoever linked it may not have reached this line yet.
                os.fsync(folder)
                if (found := _regular(sha256, folder)) is None or found.st_size != size:
                    raise StoreUnavailable(spool.STORE, f"blob {sha256} does not read back with {size} bytes")
            failpoint("blob.after-publish")
            spooled.unlink(missing_ok=True)

    def publish_all(self, blobs: Sequence[Spooled]) -> None:
        """See ``BlobStore``. Two waits for the disk in all: no name leads to bytes that are not on it."""
        with spool.reported("cannot publish blobs"), self._opened() as root:
            for blob in blobs:
                _seal_later(blob)
            if not flush_file_system(root):
                for blob in blobs:
                    self.publish(*blob)
                return
            failpoint("blobs.before-publish")
            for blob in blobs:
                with self._folder(blob.sha256, create=True, durable=False) as folder:
                    self._link(*blob, folder)
            failpoint("blobs.linked")
            flush_file_system(root)
            failpoint("blobs.after-publish")
            for blob in blobs:
                blob.path.unlink(missing_ok=True)

    def _link(self, spooled: Path, sha256: str, size: int, folder: int) -> None:
        try:
            os.link(spooled, sha256, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            found = _regular(sha256, folder)
            if found is not None and found.st_size == size:
                return
            log.warning("damaged blob replaced", sha256=sha256, size=size, found=found and found.st_size)
            # By a second link, so that the spooled file outlives a failure.
            twin = self._spool / f"{uuid.uuid4().hex}.replacement"
            os.link(spooled, twin, follow_symlinks=False)
            try:
                os.replace(twin, sha256, dst_dir_fd=folder)
            finally:
                twin.unlink(missing_ok=True)

    def size(self, sha256: str) -> int | None:
        """See ``BlobStore``."""
        with spool.reported("cannot look up a blob"):
            try:
                with self._folder(sha256) as folder:
                    found = _regular(sha256, folder)
            except FileNotFoundError:
                return None
        return None if found is None else found.st_size

    def read(self, sha256: str, start: int = 0, length: int | None = None) -> Generator[bytes]:
        """See ``BlobStore``. The generator closes the file when it ends, is closed or is forgotten."""
        chunks = self._chunks(sha256, start, length)
        next(chunks)
        return chunks

    def _chunks(self, sha256: str, start: int, length: int | None) -> Generator[bytes]:
        """First an empty chunk, which ``read`` takes away and has thereby fetched the first real one."""
        with spool.reported("cannot read a blob"), self._open(sha256) as file:
            end = os.fstat(file.fileno()).st_size
            left = max(0, end - start) if length is None else max(0, min(length, end - start))
            file.seek(start)
            chunk = file.read(min(CHUNK, left))
            yield b""
            while left:
                if not chunk:
                    raise StoreUnavailable(spool.STORE, f"blob {sha256} ended {left} bytes early")
                left -= len(chunk)
                yield chunk
                chunk = file.read(min(CHUNK, left))

    def _open(self, sha256: str) -> BinaryIO:
        try:
            with self._folder(sha256) as folder:
                file = os.open(sha256, _FILE, dir_fd=folder)
        except FileNotFoundError:
            raise BlobMissing(sha256) from None
        # Unbuffered: the chunks are as large as a buffer would ever be.
        return os.fdopen(file, "rb", buffering=0)

    def local_path(self, sha256: str) -> Path:
        """See ``BlobStore``."""
        first, second = pairs(sha256)
        return self._root / first / second / sha256

    def presigned_url(self, sha256: str, *, filename: str, content_type: str, seconds: int) -> None:
        """None: nobody but Koschey serves this folder."""

    def delete(self, sha256: str) -> None:
        """See ``BlobStore``."""
        with (
            spool.reported("cannot delete a blob"),
            suppress(FileNotFoundError),
            self._folder(sha256) as folder,
        ):
            os.unlink(sha256, dir_fd=folder)
            os.fsync(folder)

    def blobs(self, after: str = "") -> Iterator[BlobInfo]:
        """See ``BlobStore``. Holds one folder's names in memory at a time."""
        with spool.reported("cannot list the blobs"):
            for first in self._names(self._root, _PAIR, after[:2]):
                for second in self._names(
                    self._root / first, _PAIR, after[2:4] if first == after[:2] else ""
                ):
                    folder = self._root / first / second
                    for sha256 in self._names(folder, DIGEST, after):
                        with suppress(FileNotFoundError):
                            found = (folder / sha256).lstat()
                            if sha256 > after and stat.S_ISREG(found.st_mode):
                                yield BlobInfo(sha256, found.st_size, found.st_mtime)

    def _names(self, folder: Path, wanted: re.Pattern[str], least: str) -> list[str]:
        """Names in a folder that are not below ``least``, in order; a link or a file has none."""
        try:
            descriptor = os.open(folder, _FOLDER if folder != self._root else _ROOT)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return []
            raise
        try:
            with os.scandir(descriptor) as entries:
                return sorted(e.name for e in entries if e.name >= least and wanted.fullmatch(e.name))
        finally:
            os.close(descriptor)

    def check(self) -> None:
        """Write a byte and link it, as a publication would. Raises: StoreUnavailable."""
        probe, twin = (self._spool / f"{uuid.uuid4().hex}.probe{n}" for n in (1, 2))
        with spool.reported(f"cannot write in the folder {self._root}"):
            try:
                probe.write_bytes(b"?")
                os.link(probe, twin)
            finally:
                probe.unlink(missing_ok=True)
                twin.unlink(missing_ok=True)

    def sweep_spool(self, older_than: float) -> int:
        """See ``BlobStore``."""
        return spool.sweep(self._spool, older_than)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        descriptor = os.open(self._root, _ROOT)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def _folder(self, sha256: str, *, create: bool = False, durable: bool = True) -> Iterator[int]:
        """The open folder of a blob; a new one is made durable here or by the caller. Raises: OSError."""
        descriptor = os.open(self._root, _ROOT)
        try:
            for name in pairs(sha256):
                inner = _enter(name, descriptor, create=create, durable=durable)
                os.close(descriptor)
                descriptor = inner
            yield descriptor
        finally:
            os.close(descriptor)


def _enter(name: str, parent: int, *, create: bool, durable: bool) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=parent)
    except FileNotFoundError:
        if not create:
            raise
    except NotADirectoryError as error:
        # Linux reports a link that way when both O_DIRECTORY and O_NOFOLLOW are asked for.
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error
    with suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=parent)
    if durable:
        os.fsync(parent)
    return os.open(name, _FOLDER, dir_fd=parent)


def _regular(sha256: str, folder: int) -> os.stat_result | None:
    try:
        found = os.stat(sha256, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _seal_later(blob: Spooled) -> None:
    """``_seal`` for one of many, but for making it durable, which is done for all of them together."""
    found = os.lstat(blob.path)
    if not stat.S_ISREG(found.st_mode) or found.st_size != blob.size:
        raise _other_size(found.st_size, blob.size)
    if stat.S_IMODE(found.st_mode) != _SEALED:
        blob.path.chmod(_SEALED)


def _other_size(found: int, size: int) -> StoreUnavailable:
    return StoreUnavailable(spool.STORE, f"the spooled file has {found} bytes instead of {size}")


def _seal(spooled: Path, size: int) -> None:
    """Make a spooled file durable and read-only, and see that it has the promised size."""
    descriptor = os.open(spooled, _FILE)
    try:
        found = os.fstat(descriptor).st_size
        if found != size:
            raise _other_size(found, size)
        os.fchmod(descriptor, _SEALED)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
