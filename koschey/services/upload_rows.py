"""The rows of uploads: what can come in beside what is there, and how it is kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, insert, select

from koschey.checks.embedded import Embedded
from koschey.domain.page import Microseconds
from koschey.domain.upload_form import Submission
from koschey.errors import FileExists, UploadForbidden, UploadInvalid
from koschey.services.project_rows import Known
from koschey.stores.database import Transaction
from koschey.stores.lookup import ReleaseFile
from koschey.stores.models import File

#: Statuses of a project (PEP 792) that take no uploads.
_CLOSED = frozenset({"archived", "quarantined"})
_SDIST = ".tar.gz"


@dataclass(frozen=True)
class Whole:
    """An upload whose bytes are known and in the store."""

    said: Submission
    embedded: Embedded
    sha256: str
    size: int
    metadata_sha256: str
    provenance_sha256: str | None


def check_open(said: Submission, known: Known | None) -> None:
    """Raises: UploadForbidden: the project takes no uploads."""
    if known is not None and known.status in _CLOSED:
        why = f": {known.status_reason}" if known.status_reason else ""
        raise UploadForbidden(
            f"project-{known.status}", f"the project {said.name} is {known.status} and takes no uploads{why}"
        )


def taken_over(said: Submission, sha256: str, files: Iterable[ReleaseFile]) -> dict[str, Any] | None:
    """What a new file takes over from its release; None when the very same file is there.

    Raises:
        FileExists, UploadInvalid: it cannot come in beside those files.
    """
    others = list(files)
    for other in others:
        if other.filename == said.filename:
            if other.withdrawn_at is not None:
                raise UploadInvalid(
                    "filename-deleted",
                    f"{said.filename} was deleted, and no filename is used twice; upload another version",
                )
            if other.sha256 != sha256:
                raise FileExists(said.filename)
            return None
    there = [other for other in others if other.withdrawn_at is None]
    for other in others:
        if other.sha256 == sha256:
            raise UploadInvalid("content-known", f"these bytes are known here as {other.filename}")
    for other in there:
        if other.filename.endswith(_SDIST) and said.filename.endswith(_SDIST):
            raise UploadInvalid(
                "sdist-exists",
                f"the release {other.version} has an sdist, {other.filename}, and can have one only",
            )
    yanked = bool(there) and all(other.yanked for other in there)
    return {
        # 1.0 and 1.0.0 are one release: its first file spells it.
        "version": there[0].version if there else said.version,
        # A release that was yanked stays so.
        "yanked": yanked,
        "yanked_reason": there[0].yanked_reason if yanked else None,
    }


def row_of(whole: Whole, at: Microseconds) -> dict[str, Any]:
    """The columns of a file that came in whole."""
    said, sha256 = whole.said, whole.sha256
    return {
        "filename": said.filename,
        "release": said.release,
        "path": f"/packages/{sha256[:2]}/{sha256[2:4]}/{sha256[4:]}/{said.filename}",
        "sha256": sha256,
        "size": whole.size,
        "upload_time": at,
        "first_seen": at,
        "stored_at": at,
        "requires_python": whole.embedded.requires_python,
        # An sdist's PKG-INFO is kept for its description, and is nothing to resolve by.
        "metadata_advertised": said.filetype == "bdist_wheel",
        "metadata_sha256": whole.metadata_sha256,
        "metadata_stored": True,
        "provenance_sha256": whole.provenance_sha256,
    }


def release_files(tx: Transaction, project_id: int, release: str) -> list[ReleaseFile]:
    """The files that a release has, or had."""
    rows = tx.connection.execute(_RELEASE, {"project_id": project_id, "release": release})
    return [ReleaseFile(*row) for row in rows]


def add_file(tx: Transaction, row: dict[str, Any]) -> int:
    """Add a file; returns its id."""
    return int(tx.connection.execute(_ADD, row).scalar_one())


_FILES = File.__table__
_ADD = insert(_FILES).returning(_FILES.c.id)  # type: ignore[arg-type]
_RELEASE = select(*(_FILES.c[name] for name in ReleaseFile._fields)).where(
    _FILES.c.project_id == bindparam("project_id"), _FILES.c.release == bindparam("release")
)
