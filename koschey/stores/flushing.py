"""Having a whole file system on the disk at once: for many files it costs a fraction of an fsync for each."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Any


def flush_file_system(descriptor: int) -> bool:
    """Wait until all of the file system that ``descriptor`` is on lies on the disk: ``syncfs(2)``.

    Returns:
        False where the system has no such call; then nothing was done.

    Raises:
        OSError: the disk failed.
    """
    function = _syncfs()
    if function is None:
        return False
    if function(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return True


@cache
def _syncfs() -> Any:
    try:
        return ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, AttributeError):  # it is Linux's
        return None
