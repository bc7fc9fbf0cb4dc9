"""Room for so many processes of checks on a machine, however many processes of ours start them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from pathlib import Path

from koschey.errors import StoreUnavailable

#: Seconds between two looks whether a slot is free.
_LOOK_SECONDS = 0.1


class Slots:
    """A slot is a file with a lock, and whoever has inherited the open file has the slot.

    So it is free again once that process has ended, however that comes.

    Args:
        folder: of this machine, the same for all who share the slots; made when it is not there.
        count: how many there are.
    """

    #: Seconds after which somebody who has a slot leaves it to those who wait, if any: to have one again it
    #: waits longer than they do between two looks.
    TENURE_SECONDS = 10.0

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._paths = [folder / f"checks.{number}" for number in range(count)]
        self._closed = threading.Event()

    def take(self) -> int:
        """A slot, once there is one: an open file, which a child is to inherit and the caller to close.

        Raises:
            StoreUnavailable: ``close`` was called, or there cannot be any slot.
        """
        while not self._closed.is_set():
            for path in self._paths:
                if (slot := self._try(path)) is not None:
                    return slot
            self._closed.wait(_LOOK_SECONDS)
        raise StoreUnavailable("checks", "they are being stopped")

    def give_way(self) -> None:
        """Let others who wait be the first to take the slot that the caller has just left."""
        time.sleep(2 * _LOOK_SECONDS)

    def close(self) -> None:
        """Wait for no slot any more."""
        self._closed.set()

    def _try(self, path: Path) -> int | None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            slot = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailable("checks", f"no lock at {path}: {error.strerror}") from error
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return slot
        os.close(slot)
        return None
