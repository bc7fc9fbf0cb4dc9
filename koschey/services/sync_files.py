"""Storing the files that are due: small ones whole and in batches, others as a client's download."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import structlog
from sqlalchemy import bindparam, text

from koschey.domain.page import Microseconds
from koschey.errors import (
    DigestMismatch,
    NameOwned,
    UpstreamError,
    UpstreamUnavailable,
    WrongSize,
)
from koschey.failpoints import failpoint
from koschey.services import wrong_bytes
from koschey.services.configuration import SourceConfig
from koschey.services.downloads import Downloads
from koschey.services.sync_due_files import DueFile, DueFiles, file_failures, files_done
from koschey.services.sync_fetching import Fetched, Fetching
from koschey.services.sync_file_choice import choose_files_again
from koschey.services.sync_known import KnownProjects
from koschey.services.sync_pass import Pass, Share
from koschey.services.sync_progress import Counted, count
from koschey.services.sync_retries import FOREVER
from koschey.stores.blobs import BlobStore
from koschey.stores.database import Database, now
from koschey.stores.lookup import Lookup
from koschey.upstream.client import Permit, UpstreamClient
from koschey.upstream.manners import Tally

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: What is read of what is due at once.
_PIECE = 5_000
#: Of one transaction, and of one wait for the disk.
_BATCH = 500


class StoredBySync:
    """Works off the files that are due."""

    def __init__(
        self,
        database: Database,
        lookup: Lookup,
        due: DueFiles,
        client: UpstreamClient,
        blobs: BlobStore,
        downloads: Downloads,
        *,
        deadline: float,
    ) -> None:
        self._database = database
        self._due = due
        self._client = client
        self._blobs = blobs
        self._fetching = Fetching(lookup, client, blobs, downloads, deadline=deadline)
        self._storing = _Storing(database, blobs)

    def choose_again(self, source: SourceConfig, names: Collection[str] | None = None) -> None:
        """Say of every known file of the upstream anew whether it is due, or of those of some names."""
        choose_files_again(self._database, KnownProjects(self._database), source, names)

    def prepare(self, source: SourceConfig) -> None:
        """See that files can be stored, before any is asked for, and remove what one that was killed left.

        Only while no other sync of the upstream runs. Raises: StoreUnavailable.
        """
        self._blobs.check()
        self._fetching.clear_spool(source)

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
        once = _FilesPass(source, self._client, stopping, self._fetching, self._storing)
        once.run(self._pieces(source.id, by), share, connections)

    def _pieces(self, source_id: int, by: Microseconds) -> Iterator[list[DueFile]]:
        after = 0
        while piece := self._due.due(source_id, after, _PIECE, by):
            after = piece[-1].id
            yield piece


class _FilesPass(Pass[DueFile, Fetched]):
    """One pass over the files that are due."""

    things = "files"
    batch = _BATCH
    batch_seconds = 0.5

    def __init__(
        self,
        source: SourceConfig,
        client: UpstreamClient,
        stopping: Callable[[], str | None],
        fetching: Fetching,
        storing: _Storing,
    ) -> None:
        super().__init__(source, client, stopping)
        self._fetching = fetching
        self._storing = storing

    def ask(self, turn: tuple[DueFile, Permit]) -> Fetched:
        file, permit = turn
        return self._fetching.fetch(self.source, file, permit, self.tally)

    def is_outage(self, problem: UpstreamError) -> bool:
        return isinstance(problem, UpstreamUnavailable)

    def record(self, batch: Sequence[Fetched]) -> None:
        self._storing.store(self.source, batch, self.tally)


class _Storing:
    """Brings what was fetched into the store, and what came of it into the database."""

    def __init__(self, database: Database, blobs: BlobStore) -> None:
        self._database = database
        self._blobs = blobs

    def store(self, source: SourceConfig, batch: Sequence[Fetched], tally: Tally) -> None:
        """Store files, all of them on the disk before a row says so. Raises: StoreUnavailable."""
        spooled = {each.spooled.sha256: each.spooled for each in batch if each.spooled is not None}
        try:
            if spooled:
                self._blobs.publish_all(list(spooled.values()))
        finally:
            for each in batch:
                if each.spooled is not None:
                    each.spooled.path.unlink(missing_ok=True)
        self._record(source, batch, tally)

    def _record(self, source: SourceConfig, batch: Sequence[Fetched], tally: Tally) -> None:
        problems = {
            each.file.id: str(each.problem)
            for each in batch
            if each.problem is not None and not isinstance(each.problem, NameOwned)
        }
        good = [each.file.id for each in batch if each.problem is None]
        finished = [each.file.id for each in batch if each.file.id not in problems]
        _log(source, batch)
        failpoint("sync.before_files")
        with self._database.transaction() as tx:
            unrecorded = sorted(each.file.id for each in batch if each.spooled is not None)
            for start in range(0, len(unrecorded), 500):
                values = {"ids": unrecorded[start : start + 500], "at": now()}
                tx.connection.execute(_STORED, values)
            for each in batch:
                if isinstance(each.problem, DigestMismatch | WrongSize):
                    wrong_bytes.note(tx, each.file.id, each.problem.actual)
            files_done(tx, finished)
            file_failures(tx, problems)
            requests, _, received = tally.taken()
            counted = Counted(
                files_done=len(good), files_failed=len(problems), requests=requests, bytes=received
            )
            count(tx, source.id, counted)
        failpoint("sync.after_files")


def _log(source: SourceConfig, batch: Sequence[Fetched]) -> None:
    """One line for each file that failed, unless its download has written one."""
    for each in batch:
        if each.problem is not None and not each.problem.logged:
            log.warning(
                "sync.file_failed",
                upstream=source.name,
                filename=each.file.filename,
                problem=str(each.problem),
            )


_IDS: Any = bindparam("ids", expanding=True)
#: The digest in the row never changes, and it is the one that was verified.
_STORED = text("UPDATE file SET stored_at = :at WHERE id IN :ids AND stored_at IS NULL").bindparams(_IDS)
