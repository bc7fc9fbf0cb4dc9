"""What stores share on the local disk: the spool folder, and sentences for an ``OSError``."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from koschey.errors import StoreUnavailable

#: How a store of files names itself in errors.
STORE = "file store"

_SENTENCES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file would exceed the size limit of the file system or of this process",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted (the file system must support hard links)",
    errno.EOPNOTSUPP: "the file system does not support hard links",
    errno.EMFILE: "too many open files in this process",
    errno.EIO: "the disk reported an input/output error",
    errno.ELOOP: "a symbolic link stands where a folder or file of the store should be",
}


def unavailable(doing: str, error: OSError) -> StoreUnavailable:
    """The domain error for an ``OSError``; ``doing`` says what failed ("cannot publish a blob")."""
    sentence = _SENTENCES.get(error.errno or 0) or error.strerror or type(error).__name__
    return StoreUnavailable(STORE, f"{doing}: {sentence}")


@contextmanager
def reported(doing: str) -> Iterator[None]:
    """Turn each ``OSError`` of the block into ``StoreUnavailable``."""
    try:
        yield
    except OSError as error:
        raise unavailable(doing, error) from error


def sweep(folder: Path, older_than: float) -> int:
    """Remove what nobody wrote to in a spool folder for ``older_than`` seconds; returns how much that was.

    A folder is what an inspection worked in; its process was killed, or it would be gone.
    """
    oldest = time.time() - older_than
    removed = 0
    with reported("cannot sweep the spool folder"), os.scandir(folder) as entries:
        for entry in entries:
            try:
                found = entry.stat(follow_symlinks=False)
                if found.st_mtime >= oldest:
                    continue
                if stat.S_ISDIR(found.st_mode):
                    shutil.rmtree(entry.path)
                else:
                    Path(entry.path).unlink()
                removed += 1
            except FileNotFoundError:
                continue  # published, or swept by another process
    return removed
