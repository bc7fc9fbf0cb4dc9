"""The bytes of stored files for those who look into them, and what was found there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import structlog
from sqlalchemy import text

from koschey.checks.subject import Contents
from koschey.errors import BlobMissing, KoscheyError
from koschey.services.configuration import Configuration
from koschey.services.downloads import Downloads
from koschey.stores.blobs import BlobStore
from koschey.stores.database import Database
from koschey.stores.lookup import FileLook, Lookup

if TYPE_CHECKING:
    from koschey.checks.examiner import Examiner
    from koschey.upstream.manners import Tally

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: A visible file that another one is compared with is downloaded for that up to this size, in bytes.
_LARGEST_FOR_COMPARISON = 64 * 2**20


class OnDisk(NamedTuple):
    """A stored file as a file of this machine, and a folder to work in."""

    path: Path
    folder: Path


class StoredFiles:
    """Files as this machine can read them, downloaded where they are not stored."""

    def __init__(
        self,
        database: Database,
        lookup: Lookup,
        configuration: Configuration,
        store: BlobStore,
        downloads: Downloads,
        examiner: Examiner,
    ) -> None:
        self._database = database
        self._lookup = lookup
        self._configuration = configuration
        self._store = store
        self._downloads = downloads
        self._examiner = examiner

    def stored(self, look: FileLook, tally: Tally | None = None) -> FileLook:
        """The file once it is in the store.

        Args:
            tally: as of ``Downloads.fetch``.

        Raises:
            UpstreamError, DigestMismatch: it could not be downloaded.
            BlobMissing: it was stored once, is gone, and has no upstream.
            StoreUnavailable, Busy: not now.
        """
        if look.stored_at is not None and look.sha256 is not None:
            if self._store.size(look.sha256) is not None:
                return look
            if look.url is None:
                raise BlobMissing(look.sha256)
        return self._downloads.fetch(look, self._configuration.source(look.source_id), tally)

    @contextmanager
    def on_disk(self, sha256: str) -> Iterator[OnDisk]:
        """A stored file's bytes, whatever the store is. Raises: BlobMissing, StoreUnavailable."""
        with tempfile.TemporaryDirectory(dir=self._store.spool_dir, prefix="inspect-") as name:
            folder = Path(name)
            path = self._store.local_path(sha256)
            if path is None:
                path = folder / "file"
                with path.open("wb") as out:
                    for chunk in self._store.read(sha256):
                        out.write(chunk)
            yield OnDisk(path, folder)

    def contents(self, file_id: int, tally: Tally | None = None) -> Contents | None:
        """What is in a file, read now if nobody did before; None when it cannot be had.

        Args:
            tally: as of ``Downloads.fetch``.
        """
        with self._database.reading() as session:
            known = session.execute(_KNOWN, {"id": file_id}).scalar()
        if known is not None:
            return msgspec.json.decode(known, type=Contents)
        look = self._lookup.file(file_id)
        if look is None or (look.stored_at is None and not 0 < (look.size or 0) <= _LARGEST_FOR_COMPARISON):
            return None
        try:
            look = self.stored(look, tally)
            assert look.sha256 is not None
            with self.on_disk(look.sha256) as file:
                contents = self._examiner.read(file.path, look.filename, file.folder / "metadata")
        except KoscheyError as error:
            log.warning("file.not_compared", project=look.name, filename=look.filename, problem=str(error))
            return None
        with self._database.transaction() as tx:
            tx.connection.execute(KEEP, kept(file_id, contents))
        return contents


def kept(file_id: int, contents: Contents) -> dict[str, object]:
    """Parameters of ``KEEP``."""
    return {"id": file_id, "contents": msgspec.json.encode(contents).decode()}


_KNOWN = text("SELECT contents FROM file_contents WHERE file_id = :id")
#: Records what is in a file.
KEEP = text(
    "INSERT INTO file_contents (file_id, contents) SELECT id, :contents FROM file WHERE id = :id "
    "ON CONFLICT (file_id) DO UPDATE SET contents = excluded.contents"
)
