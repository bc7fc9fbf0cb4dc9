"""What is learnt from a stored wheel: its METADATA, the only one that an installer will see."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from koschey.checks.inspector import InspectionFailed, Inspector
from koschey.stores.blobs import BlobStore
from koschey.stores.database import Database
from koschey.stores.models import File, Project

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Inspection:
    """Extracts metadata sidecars (PEP 658) from stored wheels, and compares those that upstreams gave."""

    def __init__(self, database: Database, store: BlobStore, inspector: Inspector) -> None:
        self._database = database
        self._store = store
        self._inspector = inspector

    def close(self) -> None:
        """End the inspecting process."""
        self._inspector.close()

    def inspect(self, file_id: int) -> None:
        """Take the METADATA out of a stored wheel and serve that.

        A sidecar that says something else than the wheel is replaced, and that is an alarm: a resolver
        would have decided by what is never installed. Doing it twice changes nothing.

        Raises:
            StoreUnavailable, BlobMissing: the wheel cannot be read now.
        """
        with self._database.reading() as session:
            row = session.get(File, file_id)
            if (
                row is None
                or row.stored_at is None
                or row.sha256 is None
                or not row.filename.endswith(".whl")
            ):
                return
            project_id, filename, sha256 = row.project_id, row.filename, row.sha256
        with tempfile.TemporaryDirectory(dir=self._store.spool_dir, prefix="inspect-") as folder:
            out = Path(folder) / "METADATA"
            try:
                with self._real_path(sha256, Path(folder)) as wheel:
                    self._inspector.ask(wheel, filename, out)
            except InspectionFailed as error:
                log.warning("file.no_metadata", filename=filename, problem=error.problem)
                return
            body = out.read_bytes()
            digest = hashlib.sha256(body).hexdigest()
            self._store.publish(out, digest, len(body))
        self._record(project_id, file_id, digest)

    def _record(self, project_id: int, file_id: int, digest: str) -> None:
        with self._database.transaction() as tx:
            if not tx.lock_project(project_id):
                return
            row = tx.session.get(File, file_id, with_for_update=True)
            if row is None or (row.metadata_stored and row.metadata_sha256 == digest):
                return
            promised = row.metadata_sha256
            row.metadata_sha256, row.metadata_stored = digest, True
            if promised == digest:
                return
            project = tx.session.get(Project, row.project_id)
            assert project is not None
            if promised is not None:
                log.error(
                    "file.metadata_differs",
                    project=project.name,
                    filename=row.filename,
                    promised=promised,
                    wheel=digest,
                )
                tx.record(
                    "file.metadata_differs",
                    actor="koschey",
                    project=project.name,
                    subject=row.filename,
                    before=promised,
                    after=digest,
                    reason="the upstream's sidecar is not the wheel's METADATA",
                )
            tx.session.flush()
            tx.raise_serial(project_id)

    @contextmanager
    def _real_path(self, sha256: str, folder: Path) -> Iterator[Path]:
        """The wheel as a file of this machine, whatever the store is."""
        path = self._store.local_path(sha256)
        if path is not None:
            yield path
            return
        copy = folder / "wheel"
        with copy.open("wb") as out:
            for chunk in self._store.read(sha256):
                out.write(chunk)
        yield copy
