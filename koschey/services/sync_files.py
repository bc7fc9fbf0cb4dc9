"""Storing the files that are due: small ones whole and in batches, others as a client's download."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import bindparam, text

from koschey.domain.filters import wanted
from koschey.domain.page import Microseconds
from koschey.errors import (
    DigestMismatch,
    KoscheyError,
    NameOwned,
    StoreUnavailable,
    UpstreamError,
    UpstreamInvalid,
    UpstreamUnavailable,
    WrongSize,
)
from koschey.failpoints import failpoint
from koschey.services import wrong_bytes
from koschey.services.configuration import SourceConfig
from koschey.services.downloads import Downloads
from koschey.services.sync_crew import Crew
from koschey.services.sync_pages import PERMITTED, Outage, Share, Stopped, wants_peace
from koschey.services.sync_store import (
    AT_ONCE,
    FOREVER,
    Counted,
    DueFile,
    SyncStore,
    add_files_named,
    add_files_of,
    count,
    file_failures,
    files_done,
)
from koschey.stores.blobs import BlobStore, Spooled
from koschey.stores.database import Database, now
from koschey.stores.lookup import Lookup
from koschey.upstream.client import Permit, UpstreamClient
from koschey.upstream.manners import Tally

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: A file of at most so many bytes is held in memory, one for each connection.
_SMALL = 2**20
#: Of one transaction, and of one wait for the disk.
_BATCH = 500
_BATCH_SECONDS = 0.5
_OUTAGE = 20


@dataclass(frozen=True)
class _Fetched:
    """What came of a file: spooled, a problem, or neither where it is in the store and its row says so."""

    file: DueFile
    spooled: Spooled | None = None
    problem: KoscheyError | None = None


class StoredBySync:
    """Works off the files that are due."""

    def __init__(
        self,
        database: Database,
        lookup: Lookup,
        store: SyncStore,
        client: UpstreamClient,
        blobs: BlobStore,
        downloads: Downloads,
        *,
        deadline: float,
    ) -> None:
        self._database = database
        self._lookup = lookup
        self._store = store
        self._client = client
        self._blobs = blobs
        self._downloads = downloads
        self._deadline = deadline

    def choose_again(self, source: SourceConfig, names: Mapping[str, list[str]]) -> None:
        """Say of every known file of the upstream anew whether it is due: mode or filters changed."""
        after = 0
        while rows := self._projects(source.id, after):
            after = rows[-1][0]
            with self._database.transaction() as tx:
                ids = [project_id for project_id, _ in rows]
                tx.connection.execute(_FORGET, {"ids": ids})
                added = 0
                for project_id, name in rows:
                    specifiers = names.get(name)
                    if not source.filters.by_file and (specifiers is None or "" in specifiers):
                        added += add_files_of(tx, source.id, [project_id])
                        continue
                    files = [
                        ListedRow(*row) for row in tx.connection.execute(_LISTED, {"project": project_id})
                    ]
                    kept = wanted(source.filters, files, specifiers)
                    added += add_files_named(tx, source.id, project_id, [f.filename for f in kept])
                count(tx, source.id, Counted(files_due=added))

    def clear_spool(self, source: SourceConfig) -> None:
        """Remove what a sync that was killed left on its way in. Only while no other one runs."""
        for left in self._blobs.spool_dir.glob(f"{_spooled(source.id)}-*.part"):
            left.unlink(missing_ok=True)

    def _projects(self, source_id: int, after: int) -> list[tuple[int, str]]:
        with self._database.reading() as session:
            rows = session.execute(_PROJECTS, {"source_id": source_id, "after": after})
            return [(row.id, row.name) for row in rows]

    def run(
        self,
        source: SourceConfig,
        share: Share,
        connections: int,
        stopping: Callable[[], str | None],
        by: Microseconds = FOREVER,
    ) -> None:
        """Store every file that is due and in this share, once; those that failed before last.

        Raises: as ``sync_pages.Pages.run``.
        """
        run = _Run(self, source, stopping)
        after = 0
        again: list[DueFile] = []
        with ThreadPoolExecutor(connections, thread_name_prefix=f"sync-{source.name}") as pool:
            while chunk := self._store.files(source.id, after, AT_ONCE, by):
                after = chunk[-1].id
                mine = [file for file in chunk if share.has(file.id)]
                again += (file for file in mine if file.attempts)
                run.through([file for file in mine if not file.attempts], pool, connections)
            again.sort(key=lambda file: file.attempts)
            with suppress(Outage):  # as of ``sync_pages``
                run.through(again, pool, connections)


@dataclass(frozen=True)
class ListedRow:
    """A known file as the filters look at it."""

    filename: str
    version: str | None
    size: int | None
    requires_python: str | None
    yanked: bool
    stored: bool


class _Run:
    def __init__(self, by: StoredBySync, source: SourceConfig, stopping: Callable[[], str | None]) -> None:
        self._by = by
        self._source = source
        self._stopping = stopping
        self._tally = Tally()
        self._in_a_row = 0
        self._mark = uuid.uuid4().hex

    def through(self, chunk: Sequence[DueFile], pool: ThreadPoolExecutor, connections: int) -> None:
        """Store those, so many at once."""
        crew = Crew(pool, connections, self._fetch, self._permitted(chunk), 2 * _BATCH)
        batch: list[_Fetched] = []
        begun = time.monotonic()
        try:
            while (fetched := crew.landed()) is not None:
                for each in fetched:
                    batch.append(each)
                    self._judge(each.problem)
                if batch and (len(batch) >= _BATCH or time.monotonic() - begun > _BATCH_SECONDS):
                    storing, batch, begun = batch, [], time.monotonic()
                    self._store(storing)
                if problem := self._stopping():
                    raise Stopped("stopped", problem)
        finally:
            self._store(batch + crew.stop())

    def _permitted(self, chunk: Sequence[DueFile]) -> Iterator[tuple[DueFile, Permit]]:
        """As of ``sync_pages``."""
        assert self._source.endpoint is not None
        for start in range(0, len(chunk), PERMITTED):
            some = chunk[start : start + PERMITTED]
            names = sorted({file.project for file in some})
            permit = self._by._client.permit(self._source.endpoint, names)
            yield from ((file, permit) for file in some)

    def _judge(self, problem: KoscheyError | None) -> None:
        if isinstance(problem, StoreUnavailable):
            raise Stopped("failed", str(problem))
        if problem is None or not isinstance(problem, UpstreamUnavailable):
            self._in_a_row = 0
            return
        if (asked := wants_peace(problem)) is not None:
            raise Stopped("paused", problem.problem, asked)
        self._in_a_row += 1
        if self._in_a_row >= _OUTAGE:
            raise Outage(f"{_OUTAGE} files in a row could not be had, the last: {problem.problem}")

    def _fetch(self, turn: tuple[DueFile, Permit]) -> _Fetched:
        file, permit = turn
        try:
            if file.due_at is None and file.sha256 and file.size is not None and file.size <= _SMALL:
                return self._small(file, permit)
            self._large(file)
        except (UpstreamError, DigestMismatch, StoreUnavailable) as error:
            return _Fetched(file, problem=error)
        return _Fetched(file)

    def _large(self, file: DueFile) -> None:
        """As a client's download: resumed where it broke, and at most one of all who want it."""
        look = self._by._lookup.file(file.id)
        if look is None or look.stored_at is not None:
            return
        self._by._downloads.fetch(look, self._source, self._tally)

    def _small(self, file: DueFile, permit: Permit) -> _Fetched:
        """In one piece, verified, spooled; the store and its row are for the batch."""
        by, source = self._by, self._source
        body = self._body(file, permit)
        actual = hashlib.sha256(body).hexdigest()
        if actual != file.sha256:
            raise DigestMismatch(file.filename, f"sha256 {file.sha256}", actual)
        # Nobody else writes there, and nothing that is there is written to: it may be a blob's other name.
        path = by._blobs.spool_dir / f"{_spooled(source.id)}-{self._mark}-{file.id}.part"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
            with os.fdopen(descriptor, "wb", buffering=0) as out:
                out.write(body)
        except OSError as error:
            path.unlink(missing_ok=True)
            problem = f"cannot spool {file.filename}: {error.strerror}"
            raise StoreUnavailable("files", problem) from error
        return _Fetched(file, Spooled(path, actual, len(body)))

    def _body(self, file: DueFile, permit: Permit) -> bytes:
        """All its bytes, by one request where the upstream answers plainly."""
        by, source = self._by, self._source
        assert source.endpoint is not None and file.url is not None and file.size is not None
        ends = time.monotonic() + by._deadline
        plain = by._client.small_file(
            source.endpoint,
            file.url,
            name=file.project,
            size=file.size,
            deadline=by._deadline,
            apart=file.attempts > 0,
            permit=permit,
            tally=self._tally,
        )
        if isinstance(plain, bytes):
            return plain
        if plain is not None:
            raise UpstreamInvalid(source.name, f"answered {plain} for {file.filename}")
        with by._client.file(
            source.endpoint,
            file.url,
            name=file.project,
            start=0,
            validator=None,
            deadline=max(0.001, ends - time.monotonic()),
            apart=file.attempts > 0,
            permit=permit,
            tally=self._tally,
        ) as answer:
            if answer.status != 200:
                problem = f"answered {answer.status} for {file.filename}"
                raise (UpstreamInvalid if answer.status in (404, 410) else UpstreamUnavailable)(
                    source.name, problem
                )
            declared = answer.headers.get("Content-Length", "")
            if declared.isascii() and declared.isdigit() and int(declared) != file.size:
                raise WrongSize(source.name, file.filename, promised=file.size, size=int(declared))
            body = answer.read(file.size)
        if len(body) < file.size:
            problem = f"{file.filename} ended after {len(body)} of {file.size} bytes"
            raise UpstreamUnavailable(source.name, problem)
        return body

    def _store(self, batch: Sequence[_Fetched]) -> None:
        """Bring what was fetched into the store, all of it on the disk before a row says so."""
        if not batch:
            return
        spooled = {each.spooled.sha256: each.spooled for each in batch if each.spooled is not None}
        try:
            if spooled:
                self._by._blobs.publish_all(list(spooled.values()))
        finally:
            for each in batch:
                if each.spooled is not None:
                    each.spooled.path.unlink(missing_ok=True)
        self._record(batch)

    def _record(self, batch: Sequence[_Fetched]) -> None:
        problems = {
            each.file.id: str(each.problem)
            for each in batch
            if each.problem is not None and not isinstance(each.problem, NameOwned)
        }
        good = [each.file.id for each in batch if each.problem is None]
        finished = [each.file.id for each in batch if each.file.id not in problems]
        for each in batch:
            if each.problem is not None and not each.problem.logged:  # a download has said so itself
                log.warning(
                    "sync.file_failed",
                    upstream=self._source.name,
                    filename=each.file.filename,
                    problem=str(each.problem),
                )
        failpoint("sync.before_files")
        with self._by._database.transaction() as tx:
            unrecorded = sorted(each.file.id for each in batch if each.spooled is not None)
            for start in range(0, len(unrecorded), 500):
                values = {"ids": unrecorded[start : start + 500], "at": now()}
                tx.connection.execute(_STORED, values)
            for each in batch:
                if isinstance(each.problem, DigestMismatch | WrongSize):
                    wrong_bytes.note(tx, each.file.id, each.problem.actual)
            files_done(tx, finished)
            file_failures(tx, problems)
            requests, _, received = self._tally.taken()
            counted = Counted(
                files_done=len(good), files_failed=len(problems), requests=requests, bytes=received
            )
            count(tx, self._source.id, counted)
        failpoint("sync.after_files")


def _spooled(source_id: int) -> str:
    """How names of files begin that syncs of an upstream spool."""
    return f"sync-{source_id}"


_IDS: Any = bindparam("ids", expanding=True)
#: The digest in the row never changes, and it is the one that was verified.
_STORED = text("UPDATE file SET stored_at = :at WHERE id IN :ids AND stored_at IS NULL").bindparams(_IDS)
_PROJECTS = text(
    "SELECT id, name FROM project WHERE source_id = :source_id AND id > :after AND state = 'present' "
    "ORDER BY id LIMIT 500"
)
_FORGET = text(
    "DELETE FROM sync_file WHERE file_id IN (SELECT id FROM file WHERE project_id IN :ids)"
).bindparams(bindparam("ids", expanding=True))
_LISTED = text(
    "SELECT filename, version, size, requires_python, yanked, stored_at IS NOT NULL FROM file "
    "WHERE project_id = :project AND withdrawn_at IS NULL"
)
