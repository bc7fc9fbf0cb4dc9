"""When the next request to an upstream may go out, for all processes of a machine."""

from __future__ import annotations

import fcntl
import functools
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path

_TIME = struct.Struct("=d")
#: What a time of the monotonic clock belongs to: it begins anew with each start of the machine.
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Turn:
    """Somebody's look at the pace of an upstream, while nobody else has one."""

    def __init__(self, at: float) -> None:
        self.at = at
        """Earliest moment (``time.monotonic``) of the next request; whoever takes it sets the one after."""


class Pace:
    """A small file for each upstream, with a lock; without a folder, or where it cannot be used, in memory.

    Args:
        folder: of this machine, the same for all processes that share the pace; made when it is needed.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._own: dict[str, float] = {}
        self._guard = threading.Lock()

    @contextmanager
    def turn(self, upstream: str) -> Iterator[Turn]:
        """The pace of an upstream, by its name, which others wait for during the block."""
        with self._guard:
            opened = self._opened(upstream)
            try:
                turn = Turn(self._own.get(upstream, 0.0) if opened is None else _read(opened))
                before = turn.at
                yield turn
                if turn.at != before:
                    self._own[upstream] = turn.at
                    if opened is not None:
                        with suppress(OSError):  # a full disk; others may then be a little early
                            os.pwrite(opened, _boot() + _TIME.pack(turn.at), 0)
            finally:
                if opened is not None:
                    os.close(opened)

    def _opened(self, upstream: str) -> int | None:
        """Opened for each turn: a lock belongs to what was opened, which forked processes would share."""
        if self._folder is None or not _boot():
            return None
        name = blake2b(upstream.encode(), digest_size=8).hexdigest()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            opened = os.open(self._folder / f"pace.{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return None
        fcntl.flock(opened, fcntl.LOCK_EX)
        return opened


def _read(opened: int) -> float:
    """What another turn wrote since the machine was started."""
    boot = _boot()
    said = os.pread(opened, len(boot) + _TIME.size, 0)
    if len(said) != len(boot) + _TIME.size or not said.startswith(boot):
        return 0.0
    at: float = _TIME.unpack(said[len(boot) :])[0]
    return at


@functools.cache
def _boot() -> bytes:
    """Which start of the machine this is; empty where it cannot be told."""
    try:
        return _BOOT.read_bytes().strip()
    except OSError:
        return b""
