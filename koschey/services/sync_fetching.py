"""Fetching a file that is due: a small one whole and by one request, any other as a client's download."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from koschey.errors import (
    Busy,
    DigestMismatch,
    KoscheyError,
    StoreUnavailable,
    UpstreamError,
    UpstreamInvalid,
    UpstreamUnavailable,
    WrongSize,
)
from koschey.services.configuration import SourceConfig
from koschey.services.downloads import Downloads
from koschey.services.sync_due_files import DueFile
from koschey.services.sync_pass import PATIENCE
from koschey.stores.blobs import BlobStore, Spooled
from koschey.stores.lookup import Lookup
from koschey.upstream.client import Permit, UpstreamClient
from koschey.upstream.manners import Tally

#: A file of at most so many bytes is held in memory, one for each connection.
_SMALL = 2**20


@dataclass(frozen=True)
class Fetched:
    """What came of a file: spooled, a problem, or neither where it is in the store and its row says so."""

    file: DueFile
    spooled: Spooled | None = None
    problem: KoscheyError | None = None

    @property
    def host(self) -> str:
        """As of the file."""
        return self.file.host


class Fetching:
    """Fetches and verifies files. ``deadline``: of a small one, in seconds."""

    def __init__(
        self,
        lookup: Lookup,
        client: UpstreamClient,
        blobs: BlobStore,
        downloads: Downloads,
        *,
        deadline: float,
    ) -> None:
        self._lookup = lookup
        self._client = client
        self._blobs = blobs
        self._downloads = downloads
        self._deadline = deadline

    def fetch(self, source: SourceConfig, file: DueFile, permit: Permit, tally: Tally) -> Fetched:
        """Fetch one; what is wrong with it, or with where it should go, is the problem that is returned."""
        try:
            if file.due_at is None and file.sha256 and file.size is not None and file.size <= _SMALL:
                return Fetched(file, self._small(source, file, permit, tally))
            self._large(source, file, tally)
        except (UpstreamError, DigestMismatch, StoreUnavailable, Busy) as error:
            return Fetched(file, problem=error)
        return Fetched(file)

    def clear_spool(self, source: SourceConfig) -> None:
        """Remove what a sync that was killed left on its way in. Only while no other one runs."""
        for left in self._blobs.spool_dir.glob(f"{_prefix(source)}-*.part"):
            left.unlink(missing_ok=True)

    def _large(self, source: SourceConfig, file: DueFile, tally: Tally) -> None:
        """As a client's download: resumed where it broke, and at most one of all who want it."""
        look = self._lookup.file(file.id)
        if look is not None and look.stored_at is None:
            self._downloads.fetch(look, source, tally)

    def _small(self, source: SourceConfig, file: DueFile, permit: Permit, tally: Tally) -> Spooled:
        """In one piece, verified, spooled; the store and its row are for the batch."""
        body = self._body(source, file, permit, tally)
        actual = hashlib.sha256(body).hexdigest()
        if actual != file.sha256:
            raise DigestMismatch(file.filename, f"sha256 {file.sha256}", actual)
        # Nobody else writes there, and nothing that is there is written to: it may be a blob's other name.
        path = self._blobs.spool_dir / f"{_prefix(source)}-{uuid.uuid4().hex}-{file.id}.part"
        _write(path, body, file.filename)
        return Spooled(path, actual, len(body))

    def _body(self, source: SourceConfig, file: DueFile, permit: Permit, tally: Tally) -> bytes:
        """All its bytes, by one request where the upstream answers plainly."""
        assert source.endpoint is not None and file.url is not None and file.size is not None
        ends = time.monotonic() + self._deadline
        plain = self._client.small_file(
            source.endpoint,
            file.url,
            name=file.project,
            size=file.size,
            deadline=self._deadline,
            rest=PATIENCE,
            apart=file.attempts > 0,
            permit=permit,
            tally=tally,
        )
        if isinstance(plain, bytes):
            return plain
        if plain is not None:
            raise UpstreamInvalid(source.name, f"answered {plain} for {file.filename}")
        return self._streamed(source, file, permit, tally, deadline=max(0.001, ends - time.monotonic()))

    def _streamed(
        self, source: SourceConfig, file: DueFile, permit: Permit, tally: Tally, *, deadline: float
    ) -> bytes:
        """All its bytes as a download has them: redirects are followed, and what failed is tried again."""
        assert source.endpoint is not None and file.url is not None and file.size is not None
        with self._client.file(
            source.endpoint,
            file.url,
            name=file.project,
            start=0,
            validator=None,
            deadline=deadline,
            rest=PATIENCE,
            apart=file.attempts > 0,
            permit=permit,
            tally=tally,
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


def _write(path: Path, body: bytes, filename: str) -> None:
    """A new file that is read-only from its first byte. Raises: StoreUnavailable."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
        with os.fdopen(descriptor, "wb", buffering=0) as out:
            out.write(body)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise StoreUnavailable("files", f"cannot spool {filename}: {error.strerror}") from error


def _prefix(source: SourceConfig) -> str:
    """How names of files begin that syncs of an upstream spool."""
    return f"sync-{source.id}"
