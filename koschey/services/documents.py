"""The documents beside files: metadata and provenance, verified, fetched the first time, and kept."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import ColumnElement, true, update

from koschey.domain.page import offers_metadata
from koschey.domain.provenance import provenance_problem
from koschey.errors import BlobMissing, NotFound, StoreUnavailable, UpstreamInvalid
from koschey.services.configuration import Configuration
from koschey.services.flights import Flights
from koschey.stores.blobs import BlobStore
from koschey.stores.database import Database
from koschey.stores.lookup import FileLook, Lookup
from koschey.stores.models import File
from koschey.upstream.client import UpstreamClient
from koschey.upstream.manners import Tally

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Documents:
    """Gives the documents of files that were judged. ``deadline``: for fetching one, in seconds."""

    def __init__(
        self,
        database: Database,
        lookup: Lookup,
        configuration: Configuration,
        store: BlobStore,
        client: UpstreamClient,
        flights: Flights,
        *,
        deadline: float,
    ) -> None:
        self._database = database
        self._lookup = lookup
        self._configuration = configuration
        self._store = store
        self._client = client
        self._flights = flights
        self._deadline = deadline

    def metadata(self, look: FileLook, tally: Tally | None = None) -> bytes:
        """The wheel's METADATA (PEP 658), verified; fetched and kept the first time.

        Args:
            tally: counts what the request came to, if there is one; None: the client's own does.

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
        return self._fetched(
            look, _METADATA, f"{path}.metadata{question}{query}", look.metadata_sha256, tally
        )

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

    def _kept(self, sha256: str | None) -> bytes | None:
        if sha256 is None:
            return None
        try:
            return b"".join(self._store.read(sha256))
        except BlobMissing:
            log.error("blob.missing", sha256=sha256)
            return None

    def _fetched(
        self, look: FileLook, document: _Document, url: str, sha256: str | None, tally: Tally | None = None
    ) -> bytes:
        """Fetch a document, check it, and keep it; once for all who ask at the same time."""

        def work() -> bytes:
            again = [
                f for f in self._lookup.files_named(look.name, look.filename) if f.file_id == look.file_id
            ]
            body = self._kept(document.stored(again[0])) if again else None
            return self._fetch(look, document, url, sha256, tally) if body is None else body

        body, _ = self._flights.run(f"{document.kind}:{look.file_id}", work, timeout=self._deadline)
        return body

    def _fetch(
        self, look: FileLook, document: _Document, url: str, sha256: str | None, tally: Tally | None
    ) -> bytes:
        source = self._configuration.source(look.source_id)
        assert source.endpoint is not None
        body = self._client.document(
            source.endpoint,
            url,
            name=look.name,
            accept=document.accept,
            sha256=sha256,
            deadline=self._deadline,
            tally=tally,
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
