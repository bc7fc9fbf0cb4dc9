"""METADATA of wheels beside them (PEP 658): what is served is the wheel's own."""

from __future__ import annotations

import hashlib
from pathlib import Path

import structlog
from sqlalchemy import select

from koschey.services.settling import ACTOR
from koschey.stores.blobs import BlobStore
from koschey.stores.database import Database, Transaction
from koschey.stores.lookup import FileLook
from koschey.stores.models import Event, File

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_DIFFERS = "file.metadata_differs"


class Sidecars:
    """Keeps the METADATA that wheels have in them, and knows what their upstreams said it was."""

    def __init__(self, database: Database, store: BlobStore) -> None:
        self._database = database
        self._store = store

    def promised(self, look: FileLook) -> str | None:
        """sha256 of the sidecar that the upstream advertised, also when it was replaced since."""
        if not look.metadata_stored:
            return look.metadata_sha256 if look.metadata_advertised else None
        said = select(Event.before).where(
            Event.project == look.name,
            Event.action == _DIFFERS,
            Event.subject == look.filename,
            Event.after == look.metadata_sha256,
        )
        with self._database.reading() as session:
            replaced = session.scalar(said.order_by(Event.id.desc()).limit(1))
        return replaced or look.metadata_sha256

    def kept(self, look: FileLook, metadata: Path) -> str | None:
        """sha256 of a wheel's METADATA once it is in the store; None when there is none to serve.

        Raises:
            StoreUnavailable: it could not be stored.
        """
        if not look.filename.endswith(".whl"):
            return None
        if not metadata.is_file():
            problem = "it has no METADATA that could be believed"
            log.warning("file.no_metadata", filename=look.filename, problem=problem)
            return None
        body = metadata.read_bytes()
        digest = hashlib.sha256(body).hexdigest()
        self._store.publish(metadata, digest, len(body))
        return digest


def take_metadata(tx: Transaction, look: FileLook, row: File, digest: str) -> bool:
    """Serve the METADATA of the wheel itself; whether that changes the page.

    A sidecar that says something else is replaced, and that is an alarm: a resolver would have decided
    by what is never installed.
    """
    promised = row.metadata_sha256
    row.metadata_sha256, row.metadata_stored = digest, True
    if promised is not None and promised != digest:
        log.error(_DIFFERS, project=look.name, filename=look.filename, promised=promised, wheel=digest)
        tx.record(
            _DIFFERS,
            actor=ACTOR,
            project=look.name,
            subject=look.filename,
            before=promised,
            after=digest,
            reason="the upstream's sidecar is not the wheel's METADATA",
        )
    return promised != digest
