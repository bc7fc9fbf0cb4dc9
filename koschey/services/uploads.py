"""Uploads: a file of the company's own, taken in whole or not at all.

Order (HARDENING invariant 2): spooled, verified, on the disk, published, its folder on the disk, committed;
only then is it acknowledged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from koschey.checks.embedded import Embedded
from koschey.domain.attestations import provenance_of
from koschey.domain.names import NormalizedName
from koschey.domain.permissions import Actor, Permission
from koschey.domain.upload_form import Submission, check_embedded
from koschey.errors import Busy, UploadInvalid
from koschey.failpoints import failpoint
from koschey.services.access import Access
from koschey.services.admission import Admission
from koschey.services.configuration import Configuration, SourceConfig
from koschey.services.holds import Holds
from koschey.services.project_rows import known_project, new_project, set_project
from koschey.services.upload_rows import Whole, add_file, check_open, release_files, row_of, taken_over
from koschey.stores.blobs import BlobStore
from koschey.stores.database import Database, Transaction, now
from koschey.stores.incoming import Incoming
from koschey.stores.lookup import Lookup
from koschey.stores.models import ProjectState

if TYPE_CHECKING:
    from koschey.checks.examiner import Examiner

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Somebody else uploads to the same new project at the same moment: then this one comes second.
_TRIES = 3
#: Uploads that are looked into at once in a process, each by a child of its own.
AT_ONCE = 2
#: Files that are published at once in a process.
_PUBLISHING = 8


class Received(StrEnum):
    """How an upload ended that was not refused."""

    NEW = "new"
    UNCHANGED = "unchanged"  # the very same file was there


class Uploads:
    """Takes files into the hosted sources of indexes."""

    def __init__(
        self,
        database: Database,
        lookup: Lookup,
        configuration: Configuration,
        store: BlobStore,
        examiner: Examiner,
        access: Access,
        holds: Holds,
        admission: Admission,
    ) -> None:
        self._database = database
        self._lookup = lookup
        self._configuration = configuration
        self._store = store
        self._examiner = examiner
        self._access = access
        self._holds = holds
        self._admission = admission
        self._pool = ThreadPoolExecutor(_PUBLISHING, thread_name_prefix="publish")

    def incoming(self) -> Incoming:
        """A place for the bytes of one upload; for a ``with`` statement."""
        return Incoming(self._store.spool_dir)

    def begin(self, index_name: str, name: NormalizedName | None, actor: Actor) -> None:
        """Refuse what can be refused before the file is read. ``name``: None when it is not known yet.

        Raises:
            NotFound: no such index. UploadForbidden: it takes no uploads. Forbidden, Unauthenticated: the
            actor may not upload under that name.
        """
        _ = self._configuration.index(index_name, self._lookup.configuration()).uploads_to
        if name is not None:
            self._access.require(actor, Permission.UPLOAD, index=index_name, name=name)

    def receive(self, index_name: str, said: Submission, incoming: Incoming, actor: Actor) -> Received:
        """Take a file in that has come whole.

        Raises:
            UploadInvalid: it is not what it says, not sound, or its name cannot be used.
            FileExists: other bytes have its name. UploadForbidden: the project takes no uploads.
            NameTaken, NameUnsettled: the name exists outside and is not claimed, or that cannot be told.
            Forbidden, Unauthenticated: the actor may not upload under that name.
            StoreUnavailable, Busy: not now.
        """
        look = self._lookup.name(said.name)
        index = self._configuration.index(index_name, look.configuration)
        source = index.uploads_to
        self._access.require(actor, Permission.UPLOAD, index=index_name, name=said.name)
        failpoint("upload.spooled")
        _check_digests(said.digests, incoming)
        sha256 = incoming.digest("sha256")
        known = look.projects.get(source.id)
        if known is not None:
            there = self._lookup.release(known.project_id, said.release)
            if taken_over(said, sha256, there) is None:
                return Received.UNCHANGED
        embedded, provenance = self._looked_into(said, incoming, sha256)
        if known is None:  # what cannot come in anyway is no reason to ask anybody outside
            self._admission.admit(index, said.name)
        whole = self._whole(said, incoming, sha256, embedded, provenance)
        failpoint("upload.published")
        received = self._recorded(source, whole, actor)
        failpoint("upload.committed")
        log.info(
            "upload.received",
            index=index_name,
            project=said.name,
            filename=said.filename,
            size=whole.size,
            actor=actor.audit_name,
            outcome=received,
        )
        return received

    def close(self) -> None:
        """End the processes that look into uploads."""
        self._pool.shutdown()
        self._examiner.close()

    def _looked_into(
        self, said: Submission, incoming: Incoming, sha256: str
    ) -> tuple[Embedded, bytes | None]:
        """What the file says of itself, and its provenance if attestations came along.

        Raises: UploadInvalid.
        """
        # Heavy, and not wanted by a web process that takes no uploads.
        from koschey.checks.examiner import Unreadable

        try:
            embedded = self._examiner.upload(incoming.path, said.filename, incoming.beside)
        except Unreadable as error:
            raise UploadInvalid("file-unsound", f"{said.filename}: {error.problem}") from None
        check_embedded(said, embedded.name, embedded.version, embedded.requires_python)
        provenance = None
        if said.attestations is not None:
            provenance = provenance_of(said.attestations, said.filename, sha256)
        failpoint("upload.verified")
        return embedded, provenance

    def _whole(
        self, said: Submission, incoming: Incoming, sha256: str, embedded: Embedded, provenance: bytes | None
    ) -> Whole:
        """Put the file, and what belongs to it, into the store."""
        size = incoming.size
        # At the same time: what both wait for is the disk, or a store far away.
        publishing = self._pool.submit(self._store.publish, incoming.path, sha256, size)
        try:
            metadata_sha256 = self._published(incoming.beside)
            provenance_sha256 = None
            if provenance is not None:
                incoming.beside.write_bytes(provenance)
                provenance_sha256 = self._published(incoming.beside)
        finally:
            wait([publishing])
        publishing.result()
        return Whole(said, embedded, sha256, size, metadata_sha256, provenance_sha256)

    def _published(self, document: Path) -> str:
        body = document.read_bytes()
        digest = hashlib.sha256(body).hexdigest()
        self._store.publish(document, digest, len(body))
        return digest

    def _recorded(self, source: SourceConfig, whole: Whole, actor: Actor) -> Received:
        for attempt in range(1, _TRIES + 1):
            try:
                with self._database.transaction(durable=True) as tx:
                    return self._record(tx, source, whole, actor.audit_name)
            except Busy:
                if attempt == _TRIES:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _record(self, tx: Transaction, source: SourceConfig, whole: Whole, actor: str) -> Received:
        said = whole.said
        tx.lock_name(said.name)
        known = known_project(tx, source.id, said.name)
        check_open(said, known)
        files = [] if known is None else release_files(tx, known.id, said.release)
        place = taken_over(said, whole.sha256, files)
        if place is None:
            return Received.UNCHANGED
        at = now()
        if known is None:
            project_id, decided = new_project(
                tx,
                source_id=source.id,
                name=said.name,
                state=ProjectState.PRESENT,
                status="active",
                first_seen=at,
                serial=0,
            )
        else:
            project_id, decided = known.id, known.decided
            if known.state != ProjectState.PRESENT:
                set_project(tx, project_id, state=ProjectState.PRESENT)
        row = row_of(whole, at) | place | {"project_id": project_id}
        file_id = add_file(tx, row)
        if decided:
            self._holds.settle(tx, [project_id], actor=actor, at=at, file_ids=[file_id], raise_serial=True)
        else:
            tx.raise_serial(project_id)
        tx.record(
            "file.upload",
            actor=actor,
            project=said.name,
            subject=said.filename,
            after=whole.sha256,
            reason="first file of the project" if known is None else None,
        )
        return Received.NEW


def _check_digests(promised: Mapping[str, str], incoming: Incoming) -> None:
    for algorithm, expected in promised.items():
        actual = incoming.digest(algorithm)
        if actual != expected:
            raise UploadInvalid(
                "digest-mismatch",
                f"the file that arrived has another {algorithm} than was promised: {actual}, not {expected}",
            )
