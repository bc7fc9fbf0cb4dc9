"""A download as its readers see it: bytes of the spool file, as far as they are released."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from enum import Enum, auto

from koschey.errors import Busy, KoscheyError, UpstreamInvalid
from koschey.stores.lookup import FileLook
from koschey.upstream.manners import Tally

WITHHELD = 64 * 1024
"""Bytes at the end of a file that nobody gets before the digest is right."""
_CHUNK = 256 * 1024


class State(Enum):
    OPENING = auto()
    RUNNING = auto()
    VERIFIED = auto()
    FAILED = auto()


class Download:
    """One file on its way in. It counts who uses its spool file, and closes it after the last one."""

    def __init__(self, file: FileLook, tally: Tally | None = None) -> None:
        self.file = file
        self.tally = tally
        self.total: int | None = file.size
        self.state = State.OPENING
        self.error: KoscheyError | None = None
        self.written = 0
        self.changed = threading.Condition()
        self._fds: list[int] = []
        self._users = 0

    @property
    def ended(self) -> bool:
        """Whether the digest is known to be right, or the download failed."""
        return self.state in (State.VERIFIED, State.FAILED)

    @property
    def promising(self) -> bool:
        """Whether a reader may be told that the file comes.

        A file that fits into the withheld block is waited for to its end: its failure is a clean error.
        """
        if self.state is State.RUNNING:
            return self.total is not None and self.total > WITHHELD
        return self.ended

    def released(self) -> int:
        """How many bytes may be read by now."""
        if self.state is State.VERIFIED:
            return self.written
        limit = self.written if self.total is None else min(self.written, self.total)
        held_back = WITHHELD if self.total is None else max(0, WITHHELD - (self.total - limit))
        return max(0, limit - held_back)

    @property
    def spool(self) -> int:
        """Number of the newest spool file: whoever began with another has to compare before going on."""
        return len(self._fds) - 1

    def pread(self, spool: int, size: int, position: int) -> bytes:
        """Bytes of a spool file as it is now."""
        return os.pread(self._fds[spool], size, position)

    def alike(self, spool: int, other: int, start: int, end: int) -> bool:
        """Whether two spool files have the same bytes between two positions."""
        if os.path.sameopenfile(self._fds[spool], self._fds[other]):
            return True
        pieces = ((min(_CHUNK, end - at), at) for at in range(start, end, _CHUNK))
        return all(self.pread(spool, *piece) == self.pread(other, *piece) for piece in pieces)

    def opened(self, fd: int) -> None:
        """The spool file is there (again). An earlier one stays open: somebody may be reading from it."""
        with self.changed:
            self._fds.append(fd)
            self.written = 0

    def advance(self, written: int, total: int | None) -> None:
        """So many bytes are in the spool file, of so many."""
        with self.changed:
            self.written = written
            self.total = total
            self.state = State.RUNNING
            self.changed.notify_all()

    def verified(self, size: int) -> None:
        """The digest is right: everything may be read."""
        with self.changed:
            self.written = self.total = size
            self.state = State.VERIFIED
            self.changed.notify_all()

    def failed(self, error: KoscheyError) -> None:
        """No more bytes will come; those who read get the error."""
        with self.changed:
            if self.state is not State.VERIFIED:
                self.error = error
                self.state = State.FAILED
            self.changed.notify_all()

    def enter(self) -> None:
        """One more user of the spool file."""
        with self.changed:
            self._users += 1

    def leave(self) -> None:
        """One user less."""
        with self.changed:
            self._users -= 1
            if self._users == 0:
                while self._fds:
                    os.close(self._fds.pop())


class Follower:
    """A reader of a download: an iterable of bytes that must be closed, as WSGI servers do."""

    def __init__(self, download: Download) -> None:
        download.enter()
        self._download = download
        self._closed = False
        self._start = 0
        self._length: int | None = None

    def wait_for_start(self, timeout: float) -> int | None:
        """Wait until bytes can be promised; returns the file's size, None when only the end will tell.

        Raises:
            UpstreamError, DigestMismatch: the download failed. Busy: not within ``timeout`` seconds.
        """
        self._wait(lambda: self._download.promising, timeout)
        return self._download.total

    def wait_for_end(self, timeout: float) -> int:
        """Wait until the file is verified; returns its size. Raises: as wait_for_start."""
        self._wait(lambda: self._download.ended, timeout)
        return self._download.written

    def select(self, start: int, length: int | None) -> None:
        """Read only ``length`` bytes from ``start`` on."""
        self._start = start
        self._length = length

    def __iter__(self) -> Iterator[bytes]:
        """Bytes as they are released. An error in the middle is raised: the transfer must break."""
        download = self._download
        position = self._start
        end = None if self._length is None else position + self._length
        spool: int | None = None
        while end is None or position < end:
            newest, upto = self._released_beyond(position)
            if upto <= position:
                return
            if spool is not None and spool != newest:
                newest = self._continued(spool, position)
            spool = newest
            upto = upto if end is None else min(upto, end)
            while position < upto:
                block = download.pread(spool, min(_CHUNK, upto - position), position)
                if not block:
                    raise UpstreamInvalid(
                        download.file.name, f"the spool of {download.file.filename} ended early"
                    )
                position += len(block)
                yield block

    def close(self) -> None:
        """Done with the spool file; safe to call more than once."""
        if not self._closed:
            self._closed = True
            self._download.leave()

    def _wait(self, condition: Callable[[], bool], timeout: float | None) -> None:
        download = self._download
        with download.changed:
            if not download.changed.wait_for(condition, timeout):
                raise Busy(f"the download of {download.file.filename}")
            if download.state is State.FAILED:
                assert download.error is not None
                raise download.error

    def _released_beyond(self, position: int) -> tuple[int, int]:
        """The spool file to read, and how far, once that is beyond ``position`` or the file has ended."""
        download = self._download
        with download.changed:
            self._wait(lambda: download.ended or download.released() > position, None)
            return download.spool, download.released()

    def _continued(self, spool: int, position: int) -> int:
        """The spool file to go on with after the one that we began with was given up.

        What is verified is the new one. If the client has other bytes, the rest of the right file must
        not complete them.
        """
        download = self._download
        self._wait(lambda: download.ended, None)
        if not download.alike(spool, download.spool, self._start, position):
            raise UpstreamInvalid(download.file.name, f"{download.file.filename} began with other bytes")
        return download.spool
