"""The first download of a file: one fetch for all who ask, streamed while it is spooled and hashed.

The last block is withheld until the digest is right, so a wrong file is never complete (HARDENING
invariant 15). Whoever asks in this process follows the same spool file; in another process on the same
disk as well, for its path is known; elsewhere they wait for the store.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import bindparam, func, or_, update

from koschey.errors import (
    Busy,
    DigestMismatch,
    KoscheyError,
    StoreUnavailable,
    UpstreamInvalid,
    UpstreamUnavailable,
)
from koschey.failpoints import failpoint
from koschey.services.configuration import SourceConfig
from koschey.services.following import WITHHELD, Download, Follower
from koschey.stores.blobs import BlobStore
from koschey.stores.database import Database, now
from koschey.stores.locks import Locks
from koschey.stores.lookup import FileLook, Lookup
from koschey.stores.models import File
from koschey.upstream.client import UpstreamClient
from koschey.upstream.manners import Tally

if TYPE_CHECKING:
    from koschey.upstream.answer import Answer

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_CHUNK = 256 * 1024
_POLL = 0.02
#: Seconds that the first byte may wait for an upstream that asks to be left alone: a client is better told.
_REST = 5.0
#: How long a verified file may take to get into the store.
_STORING_SECONDS = 300.0


@dataclass(frozen=True)
class DownloadLimits:
    """Seconds for a whole file, its largest size in bytes, and how often a broken transfer is resumed."""

    deadline: float
    max_bytes: int
    retries: int


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
            download.failed(error)
        except BaseException as error:
            log.exception("file.download_crashed", filename=file.filename)
            download.failed(UpstreamInvalid(source.name, f"the download failed: {type(error).__name__}"))
        finally:
            with self._guard:
                del self._running[file.file_id]
            download.leave()

    def _attempt(self, download: Download, source: SourceConfig, ends: float) -> bool:
        """Fetch under the lock, or follow whoever holds it; False: the other one gave up, try again."""
        file = download.file
        try:
            with self._locks.hold(f"file:{file.file_id}", 0.0):
                if self._is_stored(file):
                    self._from_store(download)
                else:
                    _Fetch(self, download, source, ends).run()
                return True
        except Busy:
            return self._follow(download, ends)

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


class _Fetch:
    """One download by the process that holds the file's lock: spool, hash, resume, verify, publish."""

    def __init__(self, downloads: Downloads, download: Download, source: SourceConfig, ends: float) -> None:
        self._downloads = downloads
        self._download = download
        self._file = download.file
        self._source = source
        self._ends = ends
        self._limits = downloads._limits
        self._sha256 = hashlib.sha256()
        algorithm, _, self._other_expected = (self._file.digest or "").partition(":")
        self._other = hashlib.new(algorithm) if algorithm else None
        self._written = 0
        self._total = self._file.size
        self._validator: str | None = None

    def run(self) -> None:
        spool = self._downloads._spool_path(self._file)
        spool.unlink(missing_ok=True)  # what a killed process left
        made = 0
        try:
            with spool.open("w+b", buffering=0) as out:
                made = os.fstat(out.fileno()).st_ino
                self._download.opened(os.dup(out.fileno()))
                self._fetch(out.fileno())
            digest = self._verified()
            # What readers would miss in the listing afterwards goes into it before they have the file.
            news = self._file.sha256 is None or self._file.size is None
            if not news:
                self._download.verified(self._written)
            try:
                if not _is(spool, made):
                    # Our lock was lost with the database's connection, and somebody else began.
                    raise StoreUnavailable(
                        "files", f"another process downloads {self._file.filename} as well"
                    )
                self._downloads.publish(self._file, spool, digest, self._written)
            except StoreUnavailable as error:
                # The clients have their file; the next one makes us fetch it once more.
                log.error("file.not_stored", filename=self._file.filename, problem=str(error))
            self._download.verified(self._written)
        finally:
            if _is(spool, made):
                spool.unlink(missing_ok=True)

    def _fetch(self, fd: int) -> None:
        for attempt in range(self._limits.retries + 1):
            try:
                self._transfer(fd)
            except UpstreamUnavailable as error:
                if attempt == self._limits.retries or not self._written:
                    raise  # without a byte the session has tried often enough already
                log.warning(
                    "file.resumed", filename=self._file.filename, at=self._written, problem=str(error)
                )
                time.sleep(min(0.2 * 2**attempt, max(0.0, self._ends - time.monotonic())))
            else:
                return

    def _small(self, fd: int) -> bool:
        """A small file by one plain exchange; False: it takes the session, which knows the rest of HTTP.

        Nobody could read of it before its end, so it need not come in pieces.
        """
        file, source = self._file, self._source
        if self._written or file.size is None or file.size > WITHHELD:
            return False
        assert source.endpoint is not None and file.url is not None
        body = self._downloads._client.small_file(
            source.endpoint,
            file.url,
            name=file.name,
            size=file.size,
            deadline=max(self._ends - time.monotonic(), 0.001),
            rest=_REST,
            tally=self._download.tally,
        )
        if isinstance(body, int):
            raise UpstreamInvalid(source.name, f"answered {body} for {file.filename}")
        if body is not None:
            self._take(fd, body)
        return body is not None

    def _transfer(self, fd: int) -> None:
        if self._small(fd):
            return
        assert self._source.endpoint is not None and self._file.url is not None
        remaining = self._ends - time.monotonic()
        with self._downloads._client.file(
            self._source.endpoint,
            self._file.url,
            name=self._file.name,
            start=self._written,
            validator=self._validator,
            deadline=max(remaining, 0.001),
            rest=None if self._written else _REST,
            tally=self._download.tally,
        ) as answer:
            skip = self._accepted(answer)
            for chunk in answer.chunks(_CHUNK):
                if skip:
                    dropped = min(skip, len(chunk))
                    skip -= dropped
                    chunk = chunk[dropped:]
                self._take(fd, chunk)
        if self._total is not None and self._written < self._total:
            raise UpstreamUnavailable(
                self._source.name, f"{self._file.filename} ended after {self._written} of {self._total} bytes"
            )

    def _accepted(self, answer: Answer) -> int:
        """Check the head of an answer; returns how many bytes of its body we have already."""
        name = self._source.name
        if answer.status not in (200, 206) or (answer.status == 206 and not self._written):
            problem = f"answered {answer.status} for {self._file.filename}"
            raise (UpstreamInvalid if answer.status in (404, 410) else UpstreamUnavailable)(name, problem)
        declared = _length(answer)
        if answer.status == 206:
            begins = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
            if begins != str(self._written):
                raise UpstreamInvalid(
                    name, f"sent another range of {self._file.filename} than it was asked for"
                )
            declared = None if declared is None else declared + self._written
        etag = answer.headers.get("ETag", "")
        self._validator = etag if etag.startswith('"') else None
        if declared is not None:
            if self._total is not None and declared != self._total:
                raise UpstreamInvalid(
                    name, f"{self._file.filename} has {declared} bytes, the page promised {self._total}"
                )
            self._total = declared
        if self._total is not None and self._total > self._limits.max_bytes:
            raise UpstreamInvalid(
                name, f"{self._file.filename} is over the limit of {self._limits.max_bytes} bytes"
            )
        return self._written if answer.status == 200 else 0

    def _take(self, fd: int, chunk: bytes) -> None:
        self._written += len(chunk)
        if self._written > (self._limits.max_bytes if self._total is None else self._total):
            raise UpstreamInvalid(self._source.name, f"{self._file.filename} is longer than was declared")
        view = memoryview(chunk)
        while view:
            view = view[os.write(fd, view) :]
        self._sha256.update(chunk)
        if self._other is not None:
            self._other.update(chunk)
        self._download.advance(self._written, self._total)

    def _verified(self) -> str:
        actual = self._sha256.hexdigest()
        if self._file.sha256 is not None and actual != self._file.sha256:
            raise DigestMismatch(self._file.filename, f"sha256 {self._file.sha256}", actual)
        if self._file.sha256 is None and self._other is not None:
            found = self._other.hexdigest()
            if found != self._other_expected:
                raise DigestMismatch(self._file.filename, self._file.digest or "", found)
        return actual


def _unspoolable(file: FileLook, error: OSError) -> StoreUnavailable:
    """A full disk, most of all: the upstream is not to blame."""
    problem = error.strerror or type(error).__name__
    return StoreUnavailable("files", f"cannot spool {file.filename}: {problem}")


def _is(path: Path, inode: int) -> bool:
    try:
        return path.stat().st_ino == inode
    except FileNotFoundError:
        return False


def _length(answer: Answer) -> int | None:
    text = answer.headers.get("Content-Length", "")
    return (
        int(text)
        if text.isascii() and text.isdigit() and not answer.headers.get("Content-Encoding")
        else None
    )
