"""What the files of a version say that they need."""

from __future__ import annotations

from collections.abc import Sequence
from email.parser import HeaderParser

import msgspec
from sqlalchemy import select

from koschey.checks.subject import Contents
from koschey.errors import BlobMissing
from koschey.services.known import KnownFile, batches
from koschey.stores.blobs import BlobStore
from koschey.stores.database import Database
from koschey.stores.quarantine_rows import FileContents

_MAX_METADATA_BYTES = 16 * 2**20


class Requirements:
    """Reads them from what the checks found, else from a stored METADATA."""

    def __init__(self, database: Database, store: BlobStore) -> None:
        self._database = database
        self._store = store

    def of(self, files: Sequence[KnownFile]) -> list[str] | None:
        """Dependencies of all of a version's files as they spell them; None when nothing is known of them.

        Raises:
            StoreUnavailable: the store failed.
        """
        found: dict[str, None] = {}
        known = False
        for required in self._each(files):
            known = True
            found.update(dict.fromkeys(required))
        return list(found) if known else None

    def _each(self, files: Sequence[KnownFile]) -> list[Sequence[str]]:
        read = self._found([file.id for file in files])
        for file in files:
            if file.id not in read and file.metadata_stored and file.metadata_sha256 is not None:
                required = self._stored(file.metadata_sha256)
                if required is not None:
                    read[file.id] = required
        return list(read.values())

    def _found(self, file_ids: Sequence[int]) -> dict[int, Sequence[str]]:
        """What the checks found, by the file's id."""
        read: dict[int, Sequence[str]] = {}
        with self._database.reading() as session:
            for batch in batches(file_ids):
                rows = select(FileContents.file_id, FileContents.contents)
                for file_id, text in session.execute(rows.where(FileContents.file_id.in_(batch))):
                    contents = msgspec.json.decode(text, type=Contents)
                    if contents.name is not None:  # its metadata could be read
                        read[file_id] = contents.requires_dist
        return read

    def _stored(self, sha256: str) -> list[str] | None:
        size = self._store.size(sha256)
        if size is None or size > _MAX_METADATA_BYTES:
            return None
        try:
            text = b"".join(self._store.read(sha256)).decode(errors="replace")
        except BlobMissing:
            return None
        return requires_dist(text)


def requires_dist(metadata: str) -> list[str]:
    """The ``Requires-Dist`` fields of a METADATA (core metadata specification: header fields of an email)."""
    fields = HeaderParser().parsestr(metadata).get_all("Requires-Dist") or []
    return [" ".join(str(field).split()) for field in fields]
