"""Files: found, judged, and opened from the store or on their way in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from koschey.domain.explanation import iso, sentence
from koschey.domain.quarantine import Rule, Verdict
from koschey.errors import FileHidden, NotFound, StoreUnavailable
from koschey.services.catalog import Catalog
from koschey.services.configuration import Configuration, IndexConfig
from koschey.services.downloads import Downloads
from koschey.services.following import Follower
from koschey.services.gate import Gate
from koschey.services.upstream_spec import without_userinfo
from koschey.stores.blobs import BlobStore
from koschey.stores.database import Database, now
from koschey.stores.lookup import FileLook, Lookup
from koschey.stores.models import File, Project

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class StoredFile:
    """A file that lies in the store."""

    look: FileLook
    size: int
    path: Path | None
    """On this machine's disk, or None for a remote store."""


@dataclass(frozen=True)
class ArrivingFile:
    """A file on its way in; ``follower`` gives its bytes and must be closed."""

    look: FileLook
    size: int | None
    follower: Follower


class Files:
    """Answers for ``/packages/…`` and ``/integrity/…``. Every method judges before it answers."""

    def __init__(
        self,
        database: Database,
        lookup: Lookup,
        configuration: Configuration,
        gate: Gate,
        catalog: Catalog,
        store: BlobStore,
        downloads: Downloads,
        *,
        start_deadline: float,
    ) -> None:
        self._database = database
        self._lookup = lookup
        self._configuration = configuration
        self._gate = gate
        self._catalog = catalog
        self._store = store
        self._downloads = downloads
        self._deadline = start_deadline

    def find(self, index_name: str, path: str, admit: Callable[[FileLook], bool] | None = None) -> FileLook:
        """The visible file at a public path in an index.

        Args:
            admit: whether the one who asks may know of a file; asked before anything is said of it.

        Raises:
            NotFound: no such file there, or its project is another source's in this index.
            FileHidden: it is there and not visible.
        """
        found = [f for f in self._lookup.files_at(path) if admit is None or admit(f)]
        return self._judged(index_name, found, path)

    def find_named(self, index_name: str, name: str, version: str, filename: str) -> FileLook:
        """The visible file of that name in a project's version. Raises: as ``find``."""
        found = [f for f in self._lookup.files_named(name, filename) if f.version == version]
        return self._judged(index_name, found, filename)

    def open(self, look: FileLook) -> StoredFile | ArrivingFile:
        """The file's bytes, from the store or, the first time, from its upstream.

        Raises:
            UpstreamError, DigestMismatch: it could not be fetched. Busy: it did not start in time.
        """
        if look.stored_at is not None and look.sha256 is not None and look.size is not None:
            path = self._store.local_path(look.sha256)
            if path is None or path.is_file():
                return StoredFile(look, look.size, path)
            log.error("blob.missing", filename=look.filename, sha256=look.sha256)
        return self._fetched_file(look)

    def again(self, look: FileLook) -> ArrivingFile:
        """Fetch a file once more whose blob turned out to be missing. Raises: as ``open``."""
        log.error("blob.missing", filename=look.filename, sha256=look.sha256)
        return self._fetched_file(look)

    def _fetched_file(self, look: FileLook) -> ArrivingFile:
        if look.url is None:
            raise StoreUnavailable("files", f"{look.filename} is not in the store")
        follower = self._downloads.join(look, self._configuration.source(look.source_id))
        try:
            return ArrivingFile(look, follower.wait_for_start(self._deadline), follower)
        except BaseException:
            follower.close()
            raise

    def chunks(self, stored: StoredFile, start: int, length: int) -> Iterator[bytes]:
        """Bytes of a stored file. Raises: BlobMissing, StoreUnavailable."""
        assert stored.look.sha256 is not None
        return self._store.read(stored.look.sha256, start, length)

    def presigned_url(self, stored: StoredFile, content_type: str, seconds: int) -> str | None:
        """A link to the file in the store, when the store can give one."""
        assert stored.look.sha256 is not None
        return self._store.presigned_url(
            stored.look.sha256, filename=stored.look.filename, content_type=content_type, seconds=seconds
        )

    def close(self) -> None:
        """Start no more downloads."""
        self._downloads.close()

    def record(self, index_name: str, look: FileLook) -> dict[str, Any]:
        """Where the file's bytes came from: its audit record in an index, as plain values."""
        source = self._configuration.source(look.source_id)
        verdict, words = self._verdict(self._configuration.index(index_name), look)
        with self._database.reading() as session:
            row = session.get(File, look.file_id)
            project = session.get(Project, look.project_id)
            assert row is not None and project is not None
            return {
                "filename": row.filename,
                "sha256": row.sha256,
                "size": row.size,
                "upstream": source.name if source.endpoint else None,
                "upstream_url": without_userinfo(row.url).partition("?")[0] if row.url else None,
                "upstream_serial": project.upstream_serial,
                "upload_time": iso(row.upload_time),
                "first_seen": iso(row.first_seen),
                "fetched_at": iso(row.stored_at),
                "verdict": {"state": verdict.state, "reason": words},
            }

    def _judged(self, index_name: str, found: list[FileLook], asked: str) -> FileLook:
        """The one of ``found`` whose project owns its name in the index, if the gate lets it be seen."""
        for look in found:
            having = None if look.deleted_at else self._catalog.having(index_name, look)
            if having is not None:
                index, quarantined = having
                verdict, words = self._verdict(index, look, quarantined=quarantined)
                if look.url is None and look.status == "quarantined" and verdict.rule is Rule.WITHDRAWN:
                    words = f"the project is quarantined: {look.status_reason}"
                if not verdict.visible:
                    log.info("file.hidden", filename=look.filename, index=index.name, reason=words)
                    raise FileHidden(
                        look.filename,
                        words,
                        index=index.name,
                        project=look.name,
                        version=look.version,
                        state=verdict.state,
                        rule=verdict.rule,
                        clears_at=verdict.clears,
                    )
                return look
        self._configuration.index(index_name)
        raise NotFound("file", asked)

    def _verdict(
        self, index: IndexConfig, look: FileLook, *, quarantined: bool = False
    ) -> tuple[Verdict, str]:
        """The gate's word on a file in an index, and the same in one sentence."""
        at = now()
        judge = self._gate.judge(index, look.name, look, quarantined=quarantined)
        verdict = judge.verdict(look, at)
        return verdict, "" if verdict.visible else sentence(verdict, judge.policy, at)
