"""One flight across threads and processes: locks by name that die with their holder.

Whoever gets a lock looks again whether the work is still to be done: the holder before may have done it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from koschey.errors import Busy, StoreUnavailable

log = structlog.get_logger(__name__)


class Locks(Protocol):
    """Named locks, safe to use from many threads and processes; not re-entrant."""

    def hold(self, key: str, timeout: float) -> AbstractContextManager[bool]:
        """Hold the lock ``key`` for the block, after waiting for it for at most ``timeout`` seconds.

        Yields True; there is no False, for a lock that was not got raises.

        Raises:
            Busy: somebody else held it all the time. StoreUnavailable: locks cannot be used now.
        """


def make_locks(engine: Engine, folder: Path) -> Locks:
    """The locks that reach as far as the database does: every machine, or this one with SQLite."""
    return AdvisoryLocks(engine) if engine.dialect.name == "postgresql" else FileLocks(folder)


class FileLocks:
    """Byte-range locks of one file, a byte per key; the kernel releases them when a process dies.

    Args:
        folder: where the lock file lies, made when it is not there; not on a network file system.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = _LockFile.of(folder.resolve() / "locks")
        except OSError as error:
            raise StoreUnavailable("locks", f"cannot use the folder {folder}: {error.strerror}") from error

    @contextmanager
    def hold(self, key: str, timeout: float) -> Iterator[bool]:
        """See ``Locks``."""
        number = _number(key) >> 1  # an offset has 63 bits
        deadline = time.monotonic() + timeout
        mutexes = self._file.mutexes
        mutexes.acquire(number, key, timeout)
        try:
            _poll(lambda: self._file.lock(number), key, deadline, longest=0.02)
            try:
                yield True
            finally:
                self._file.unlock(number)
        finally:
            mutexes.release(number)


class AdvisoryLocks:
    """Advisory locks of a PostgreSQL session that this process keeps apart for them.

    One connection carries all locks of a process: a lock may be held for as long as a large file
    downloads, and no number of them shall use up connections. It never is in a transaction. When it
    is lost, the server has released its locks: their holders are not told before the end of their
    blocks, where the loss is logged. So the work under a lock is such that doing it twice does no harm.
    A pooler between must not share sessions among transactions.

    Args:
        engine: of the database; one connection is taken out of its pool for good.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._session: _Session | None = None
        self._opening = threading.Lock()
        self._mutexes = _Mutexes()
        _forgetful.add(self)

    @contextmanager
    def hold(self, key: str, timeout: float) -> Iterator[bool]:
        """See ``Locks``."""
        number = _number(key) - 2**63  # PostgreSQL's bigint has a sign
        deadline = time.monotonic() + timeout
        mutexes = self._mutexes
        mutexes.acquire(number, key, timeout)
        try:
            session = self._lock(number, key, deadline)
            try:
                yield True
            finally:
                self._unlock(session, number, key)
        finally:
            mutexes.release(number)

    def close(self) -> None:
        """Close the connection and so release every lock of this process."""
        with self._opening:
            if self._session:
                self._session.close()
                self._session = None

    def _lock(self, number: int, key: str, deadline: float) -> _Session:
        session = self._connected()
        try:
            _poll(lambda: session.call("pg_try_advisory_lock", number), key, deadline, longest=0.05)
        except StoreUnavailable:
            # The server may have been restarted since the last lock; a new connection will tell.
            session = self._connected()
            _poll(lambda: session.call("pg_try_advisory_lock", number), key, deadline, longest=0.05)
        return session

    def _connected(self) -> _Session:
        with self._opening:
            if self._session is None or self._session.closed:
                self._session = _Session(self._engine)
            return self._session

    def _unlock(self, session: _Session, number: int, key: str) -> None:
        try:
            held = session.call("pg_advisory_unlock", number)
        except StoreUnavailable:
            held = False
        if not held:
            log.warning("lock was lost with its database connection while it was held", key=key)

    def forget(self) -> None:
        """In a forked child: the connection and the waiting threads are the parent's."""
        # Not closed: psycopg2 says goodbye to the server only in the process that connected.
        self._session = None
        self._opening = threading.Lock()
        self._mutexes = _Mutexes()


class _Session:
    """A connection of its own in autocommit; psycopg2 lets threads share it and queues their calls."""

    # A client that vanished without a word shall not keep its locks for the hours TCP would allow.
    SET_UP = (
        "SET application_name = 'koschey locks'; SET tcp_keepalives_idle = 10;"
        " SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; SET idle_session_timeout = 0"
    )

    def __init__(self, engine: Engine) -> None:
        self._error: type[Exception] = engine.dialect.loaded_dbapi.Error
        try:
            pooled = engine.raw_connection()
            pooled.detach()
            self._connection = cast("Any", pooled.dbapi_connection)  # psycopg2 brings no types
            self._connection.autocommit = True
            with self._connection.cursor() as cursor:
                cursor.execute(self.SET_UP)
        except (SQLAlchemyError, self._error) as error:
            raise StoreUnavailable("locks", f"no database connection ({type(error).__name__})") from error

    def call(self, function: str, number: int) -> bool:
        """The boolean answer of an advisory lock function. Raises: StoreUnavailable."""
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(f"SELECT {function}(%s)", (number,))
                return bool(cursor.fetchone()[0])
        except self._error as error:
            problem = f"the database connection was lost ({type(error).__name__})"
            raise StoreUnavailable("locks", problem) from error

    @property
    def closed(self) -> bool:
        """Whether a call has found the connection broken, or ``close`` was called."""
        return bool(self._connection.closed)

    def close(self) -> None:
        self._connection.close()


class _LockFile:
    """The lock file of a folder: one in a process, and open until its end.

    POSIX locks belong to the process, and closing any descriptor of the file drops all of them.
    Between the threads of the process they mean nothing, which is why there are mutexes as well.
    """

    _files: ClassVar[dict[Path, _LockFile]] = {}
    _opening: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        self.mutexes = _Mutexes()
        _forgetful.add(self)

    @classmethod
    def of(cls, path: Path) -> _LockFile:
        """The lock file at a resolved path. Raises: OSError."""
        with cls._opening:
            if path not in cls._files:
                cls._files[path] = cls(path)
            return cls._files[path]

    def lock(self, number: int) -> bool:
        """Lock one byte, unless another process has it. Raises: StoreUnavailable."""
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise StoreUnavailable("locks", f"cannot lock a file: {error.strerror}") from error
        return True

    def unlock(self, number: int) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, number)

    def forget(self) -> None:
        """In a forked child, which inherits no lock of its parent, but the descriptor and mutexes."""
        self.mutexes = _Mutexes()


class _Mutexes:
    """A mutex per number, kept while somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._mutexes: dict[int, tuple[threading.Lock, int]] = {}

    def acquire(self, number: int, key: str, timeout: float) -> None:
        """Raises: Busy."""
        with self._guard:
            mutex, users = self._mutexes.get(number) or (threading.Lock(), 0)
            self._mutexes[number] = mutex, users + 1
        if not mutex.acquire(timeout=max(0.0, timeout)):
            self._leave(number)
            raise Busy(key)

    def release(self, number: int) -> None:
        self._leave(number).release()

    def _leave(self, number: int) -> threading.Lock:
        with self._guard:
            mutex, users = self._mutexes.pop(number)
            if users > 1:
                self._mutexes[number] = mutex, users - 1
        return mutex


class _Forgetful(Protocol):
    def forget(self) -> None: ...


_forgetful: weakref.WeakSet[_Forgetful] = weakref.WeakSet()


def _after_fork() -> None:
    for one in list(_forgetful):
        one.forget()


os.register_at_fork(after_in_child=_after_fork)


def _number(key: str) -> int:
    """64 bits of a key, the same in every process."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8, person=b"koschey").digest())


def _poll(attempt: Callable[[], bool], key: str, deadline: float, *, longest: float) -> None:
    """Repeat ``attempt`` until it succeeds, with pauses of 1 ms up to ``longest`` seconds. Raises: Busy."""
    pause = 0.001
    while not attempt():
        left = deadline - time.monotonic()
        if left <= 0:
            raise Busy(key)
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, longest)
