"""What projects say of themselves: read from the METADATA of a file, rendered once, and kept."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog
from sqlalchemy import text

from koschey.checks.description import Description
from koschey.domain.policy import DAY
from koschey.errors import BlobMissing, KoscheyError, NotFound
from koschey.services.documents import Documents
from koschey.stores.blobs import BlobStore
from koschey.stores.database import Database, now
from koschey.stores.lookup import FileLook

if TYPE_CHECKING:
    from koschey.checks.examiner import Examiner

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Rendered again after so long: by a newer renderer then, if there is one.
_KEPT_DAYS = 60


class Descriptions:
    """Describes files. What a METADATA says is rendered in a process that can be killed."""

    def __init__(
        self, database: Database, store: BlobStore, documents: Documents, examiner: Examiner
    ) -> None:
        self._database = database
        self._store = store
        self._documents = documents
        self._examiner = examiner

    def of(self, look: FileLook) -> Description | None:
        """The description of a visible file; None when there is none to be had now."""
        try:
            if look.metadata_stored and look.metadata_sha256 is not None:
                known = self._known(look.metadata_sha256)
                if known is not None:
                    return known
                metadata = b"".join(self._store.read(look.metadata_sha256))
            else:
                metadata = self._documents.metadata(look)
            return self._made(metadata, look.filename)
        except (NotFound, BlobMissing):
            return None
        except KoscheyError as error:
            log.warning("file.not_described", project=look.name, filename=look.filename, problem=str(error))
            return None

    def close(self) -> None:
        """End the process that renders."""
        self._examiner.close()

    def _known(self, sha256: str) -> Description | None:
        since = now() - _KEPT_DAYS * DAY
        with self._database.reading() as session:
            body = session.execute(_KNOWN, {"sha256": sha256, "since": since}).scalar()
        return None if body is None else msgspec.json.decode(body, type=Description)

    def _made(self, metadata: bytes, filename: str) -> Description:
        sha256 = hashlib.sha256(metadata).hexdigest()
        known = self._known(sha256)
        if known is not None:
            return known
        with tempfile.TemporaryDirectory(dir=self._store.spool_dir, prefix="describe-") as folder:
            path = Path(folder) / "METADATA"
            path.write_bytes(metadata)
            made = self._examiner.describe(path, filename)
        at = now()
        row = {"sha256": sha256, "body": msgspec.json.encode(made).decode(), "at": at}
        with self._database.transaction() as tx:
            tx.connection.execute(_KEEP, row)
            tx.connection.execute(_FORGET, {"before": at - 2 * _KEPT_DAYS * DAY})
        return made


_KNOWN = text("SELECT body FROM description WHERE sha256 = :sha256 AND made_at >= :since")
_KEEP = text(
    "INSERT INTO description (sha256, body, made_at) VALUES (:sha256, :body, :at) "
    "ON CONFLICT (sha256) DO UPDATE SET body = excluded.body, made_at = excluded.made_at"
)
_FORGET = text("DELETE FROM description WHERE made_at < :before")
