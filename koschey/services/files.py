"""Files and the documents beside them: found, judged, and opened from the store or on their way in."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import ColumnElement, true, update

from koschey.domain.explanation import iso, sentence
from koschey.domain.page import offers_metadata
from koschey.domain.provenance import provenance_problem
from koschey.domain.quarantine import Rule, Verdict
from koschey.errors import BlobMissing, FileHidden, NotFound, StoreUnavailable, UpstreamInvalid
from koschey.services.catalog import Catalog
from koschey.services.configuration import Configuration, IndexConfig
from koschey.services.downloads import Downloads
from koschey.services.flights import Flights
from koschey.services.following import Follower
from koschey.services.gate import Gate
from koschey.services.upstream_spec import without_userinfo
from koschey.stores.blobs import BlobStore
from koschey.stores.database import Database, now
from koschey.stores.lookup import FileLook, Lookup
from koschey.stores.models import File, Project
from koschey.upstream.client import UpstreamClient

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
        client: UpstreamClient,
        flights: Flights,
        *,
        document_deadline: float,
    ) -> None:
        self._database = database
        self._lookup = lookup
        self._configuration = configuration
        self._gate = gate
        self._catalog = catalog
        self._store = store
        self._downloads = downloads
        self._client = client
        self._flights = flights
        self._deadline = document_deadline

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

    def metadata(self, look: FileLook) -> bytes:
        """The wheel's METADATA (PEP 658), verified; fetched and kept the first time.

        Raises:
            NotFound: none is advertised. UpstreamError: it could not be fetched.
        """
        known = look.metadata_stored or look.metadata_advertised
        if not known or not offers_metadata(look.filename, look.metadata_advertised):
            raise NotFound("metadata of file", look.filename)
        body = self._kept(_METADATA.stored(look))
        if body is not None:
            return body
        if look.url is None:
            raise NotFound("metadata of file", look.filename)
        path, question, query = look.url.partition("?")
        return self._fetched(look, _METADATA, f"{path}.metadata{question}{query}", look.metadata_sha256)

    def provenance(self, look: FileLook) -> bytes:
        """The file's provenance document (PEP 740), verified; fetched and kept the first time.

        Raises:
            NotFound: there is none. UpstreamError: it could not be fetched or is none.
        """
        body = self._kept(_PROVENANCE.stored(look))
        if body is not None:
            return body
        if look.provenance_url is None:
            raise NotFound("provenance of file", look.filename)
        return self._fetched(look, _PROVENANCE, look.provenance_url, None)

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

    def _kept(self, sha256: str | None) -> bytes | None:
        if sha256 is None:
            return None
        try:
            return b"".join(self._store.read(sha256))
        except BlobMissing:
            log.error("blob.missing", sha256=sha256)
            return None

    def _fetched(self, look: FileLook, document: _Document, url: str, sha256: str | None) -> bytes:
        """Fetch a document, check it, and keep it; once for all who ask at the same time."""

        def work() -> bytes:
            again = [
                f for f in self._lookup.files_named(look.name, look.filename) if f.file_id == look.file_id
            ]
            body = self._kept(document.stored(again[0])) if again else None
            return self._fetch(look, document, url, sha256) if body is None else body

        body, _ = self._flights.run(f"{document.kind}:{look.file_id}", work, timeout=self._deadline)
        return body

    def _fetch(self, look: FileLook, document: _Document, url: str, sha256: str | None) -> bytes:
        source = self._configuration.source(look.source_id)
        assert source.endpoint is not None
        body = self._client.document(
            source.endpoint,
            url,
            name=look.name,
            accept=document.accept,
            sha256=sha256,
            deadline=self._deadline,
        )
        if body is None:
            raise UpstreamInvalid(
                source.name, f"the {document.kind} of {look.filename} is advertised and not there"
            )
        problem = document.problem(body, look)
        if problem is not None:
            raise UpstreamInvalid(source.name, f"the {document.kind} of {look.filename} {problem}")
        digest = hashlib.sha256(body).hexdigest()
        self._publish(body, digest)
        with self._database.transaction() as tx:
            tx.lock_project(look.project_id)
            values = document.values(digest)
            kept = update(File).where(File.id == look.file_id, document.replaceable)
            recorded = tx.connection.execute(kept.values(**values)).rowcount
            if recorded and values.get("metadata_sha256", look.metadata_sha256) != look.metadata_sha256:
                tx.raise_serial(look.project_id)
        return body

    def _publish(self, body: bytes, digest: str) -> None:
        try:
            handle, name = tempfile.mkstemp(dir=self._store.spool_dir, prefix="document-")
            with os.fdopen(handle, "wb") as out:
                out.write(body)
        except OSError as error:
            raise StoreUnavailable("files", f"cannot write to the spool folder: {error.strerror}") from error
        try:
            self._store.publish(Path(name), digest, len(body))
        finally:
            Path(name).unlink(missing_ok=True)


@dataclass(frozen=True)
class _Document:
    """A kind of document beside a file: how it is asked for, checked, found and kept."""

    kind: str
    accept: str
    stored: Callable[[FileLook], str | None]
    """Digest of the kept document."""
    problem: Callable[[bytes, FileLook], str | None]
    replaceable: ColumnElement[bool]
    """Of a file's row: whether the document may be recorded there."""
    values: Callable[[str], dict[str, Any]]
    """What the file's row says once the document with that digest is kept."""


_METADATA = _Document(
    kind="metadata",
    accept="text/plain, */*;q=0.5",
    stored=lambda look: look.metadata_sha256 if look.metadata_stored else None,
    problem=lambda _body, _look: None,  # its digest is all that can be said before the wheel is here
    # What was taken from the wheel in the meantime outranks what the upstream says of it.
    replaceable=File.metadata_stored.is_(False),
    values=lambda digest: {"metadata_sha256": digest, "metadata_stored": True},
)
_PROVENANCE = _Document(
    kind="provenance",
    accept="application/vnd.pypi.integrity.v1+json",
    stored=lambda look: look.provenance_sha256,
    problem=lambda body, look: provenance_problem(body, look.sha256),
    replaceable=true(),
    values=lambda digest: {"provenance_sha256": digest},
)
