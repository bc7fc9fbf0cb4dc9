"""The first download of a file: one fetch for all who ask, who read it while it comes.

Whoever asks in this process follows the same spool file; in another process on the same
disk as well, for its path is known; elsewhere they wait for the store.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog
from sqlalchemy import bindparam, func, or_, update

from koschey.errors import (
    Busy,
    DigestMismatch,
    KoscheyError,
    StoreUnavailable,
    UpstreamInvalid,
    WrongSize,
)
from koschey.failpoints import failpoint
from koschey.services import wrong_bytes
from koschey.services.configuration import SourceConfig
from koschey.services.fetching import DownloadLimits, Fetch
from koschey.services.following import Download, Follower
from koschey.stores.blobs import BlobStore
from koschey.stores.database import Database, now
from koschey.stores.locks import Locks
from koschey.stores.lookup import FileLook, Lookup
from koschey.stores.models import File
from koschey.upstream.client import UpstreamClient
from koschey.upstream.manners import Tally

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_POLL = 0.02
#: How long a verified file may take to get into the store.
_STORING_SECONDS = 300.0

_FILES = File.__table__
_STORED = (
    update(_FILES)  # type: ignore[arg-type]
    .where(
        _FILES.c.id == bindparam("_id"),
        _FILES.c.filename == bindparam("_filename"),
        or_(_FILES.c.sha256.is_(None), _FILES.c.sha256 == bindparam("_sha256")),
    )
    .values(
        sha256=bindparam("_sha256"),
        size=bindparam("_size"),
        stored_at=bindparam("_stored_at"),
        due_at=func.coalesce(_FILES.c.due_at, bindparam("_due_at")),
    )
)
#: Seconds until a file that a client fetched is looked into by a sweep, if nobody found a lull before.
_CHECKED_AFTER = 30


class Downloads:
    """Starts downloads, joins those that run, and records files that arrived."""

    def __init__(
        self,
        database: Database,
        lookup: Lookup,
        client: UpstreamClient,
        store: BlobStore,
        locks: Locks,
        limits: DownloadLimits,
        stored: Callable[[int], None],
        *,
        threads: int = 16,
    ) -> None:
        self._database = database
        self._lookup = lookup
        self._client = client
        self._store = store
        self._locks = locks
        self._limits = limits
        self._stored = stored
        self._threads = threads
        self._pools: dict[int, ThreadPoolExecutor] = {}
        self._guard = threading.Lock()
        self._running: dict[int, Download] = {}

    def join(self, file: FileLook, source: SourceConfig, tally: Tally | None = None) -> Follower:
        """Follow the download of that file: the one that runs already, or a new one."""
        with self._guard:
            download = self._running.get(file.file_id)
            if download is None:
                download = self._running[file.file_id] = Download(file, tally)
                download.enter()  # for the thread that downloads
                self._pool(source.id).submit(self._run, download, source)
            return Follower(download)

    def fetch(self, file: FileLook, source: SourceConfig, tally: Tally | None = None) -> FileLook:
        """Have a file in the store, by the same one download that clients would share; as it is then.

        Args:
            tally: counts what it came to, if nobody else has it on its way; None: the client's own does.

        Raises:
            UpstreamError, DigestMismatch: it could not be downloaded.
            StoreUnavailable: it arrived and could not be stored. Busy: not within the deadline.
        """
        follower = self.join(file, source, tally)
        try:
            follower.wait_for_end(self._limits.deadline)
        finally:
            follower.close()
        with self._locks.hold(f"file:{file.file_id}", _STORING_SECONDS):
            stored = self._lookup.file(file.file_id)  # whoever downloads holds the lock until it is recorded
        if stored is None or stored.stored_at is None or stored.stored_at == file.stored_at:
            raise StoreUnavailable("files", f"{file.filename} arrived and could not be stored")
        return stored

    def close(self) -> None:
        """Finish nothing more; what runs is left to its deadline."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def _pool(self, source_id: int) -> ThreadPoolExecutor:
        """Threads for each upstream: one that drips must not keep the others' files waiting."""
        pool = self._pools.get(source_id)
        if pool is None:
            pool = ThreadPoolExecutor(self._threads, thread_name_prefix=f"download-{source_id}")
            self._pools[source_id] = pool
        return pool

    def _run(self, download: Download, source: SourceConfig) -> None:
        file = download.file
        ends = time.monotonic() + self._limits.deadline
        try:
            while not self._attempt(download, source, ends):
                if time.monotonic() > ends:
                    raise Busy(f"the download of {file.filename}")
        except (KoscheyError, OSError) as raised:
            error = raised if isinstance(raised, KoscheyError) else _unspoolable(file, raised)
            log.error(
                "file.download_failed",
                upstream=source.name,
                project=file.name,
                filename=file.filename,
                problem=str(error),
            )
            error.logged = True
            if isinstance(error, DigestMismatch | WrongSize):
                self._note_wrong(file, error)
            download.failed(error)
        except BaseException as error:
            log.exception("file.download_crashed", filename=file.filename)
            download.failed(UpstreamInvalid(source.name, f"the download failed: {type(error).__name__}"))
        finally:
            with self._guard:
                del self._running[file.file_id]
            download.leave()

    def _note_wrong(self, file: FileLook, error: DigestMismatch | WrongSize) -> None:
        try:
            with self._database.transaction() as tx:
                wrong_bytes.note(tx, file.file_id, error.actual)
        except StoreUnavailable as unrecorded:
            log.error("file.wrong_bytes_unrecorded", filename=file.filename, problem=str(unrecorded))

    def _attempt(self, download: Download, source: SourceConfig, ends: float) -> bool:
        """Fetch under the lock, or follow whoever holds it; False: the other one gave up, try again."""
        file = download.file
        try:
            with self._locks.hold(f"file:{file.file_id}", 0.0):
                if self._is_stored(file):
                    self._from_store(download)
                else:
                    self._fetch(download, source, ends)
                return True
        except Busy:
            return self._follow(download, ends)

    def _fetch(self, download: Download, source: SourceConfig, ends: float) -> None:
        spool = self._spool_path(download.file)
        Fetch(
            self._client,
            self._limits,
            self.publish,
            download=download,
            source=source,
            spool=spool,
            ends=ends,
        ).run()

    def _from_store(self, download: Download) -> None:
        """Another process has just stored it: copy the blob where the readers look for it."""
        row = self._lookup.file(download.file.file_id)
        assert row is not None and row.sha256 is not None
        digest, size = row.sha256, row.size
        path = self._store.local_path(digest)
        if path is not None:
            download.opened(os.open(path, os.O_RDONLY))
            download.verified(path.stat().st_size)
            return
        spool = self._spool_path(download.file, f"copy-{os.getpid()}")
        with spool.open("w+b") as out:
            spool.unlink()
            for chunk in self._store.read(digest):
                out.write(chunk)
            out.flush()
            download.opened(os.dup(out.fileno()))
        download.verified(size or 0)

    def _follow(self, download: Download, ends: float) -> bool:
        """Read along in the spool file of the process that holds the lock."""
        file = download.file
        path = self._spool_path(file)
        inode = 0
        while time.monotonic() < ends:
            try:
                at = path.stat()
                if at.st_ino != inode:
                    fd = os.open(path, os.O_RDONLY)
                    download.opened(fd)
                    at = os.fstat(fd)
                    inode = at.st_ino
                if file.size is not None:
                    download.advance(min(at.st_size, file.size), file.size)
            except FileNotFoundError:
                pass  # not begun, or published or dropped by now
            time.sleep(_POLL)
            try:
                with self._locks.hold(f"file:{file.file_id}", 0.0):
                    stored = self._is_stored(file)
            except Busy:
                continue
            if stored:
                self._from_store(download)
            return stored
        return False

    def _is_stored(self, file: FileLook) -> bool:
        row = self._lookup.file(file.file_id)
        if row is None:
            raise UpstreamInvalid(file.name, f"{file.filename} is known no more")
        return row.stored_at is not None and row.stored_at != file.stored_at

    def _spool_path(self, file: FileLook, mark: str = "part") -> Path:
        return self._store.spool_dir / f"file-{file.file_id}.{mark}"

    def publish(self, file: FileLook, spooled: Path, sha256: str, size: int) -> None:
        """Move a verified file into the store and record it.

        Raises:
            StoreUnavailable: it could not be stored or recorded now.
            UpstreamInvalid: the upstream promises other bytes by now, or the file was forgotten.
        """
        self._store.publish(spooled, sha256, size)
        failpoint("download.before_record")
        news = {"_id": file.file_id, "_filename": file.filename, "_sha256": sha256, "_size": size}
        listing_changes = file.sha256 != sha256 or file.size != size
        with self._database.transaction() as tx:
            if listing_changes:
                tx.lock_project(file.project_id)
            at = now()
            times = {"_stored_at": at, "_due_at": at + _CHECKED_AFTER * 1_000_000}
            if tx.connection.execute(_STORED, news | times).rowcount == 0:
                raise UpstreamInvalid(file.name, f"{file.filename} is another file by now")
            if listing_changes:
                tx.raise_serial(file.project_id)
        self._stored(file.file_id)
        log.info("file.stored", project=file.name, filename=file.filename, size=size, sha256=sha256)


def _unspoolable(file: FileLook, error: OSError) -> StoreUnavailable:
    """A full disk, most of all: the upstream is not to blame."""
    problem = error.strerror or type(error).__name__
    return StoreUnavailable("files", f"cannot spool {file.filename}: {problem}")
