"""A stored file, its METADATA and its provenance have a blob of their size and digest (HARDENING 1)."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import text

from koschey.errors import BlobMissing
from koschey.services.fsck.findings import Context, Finding
from koschey.stores.blobs import BlobInfo

_AT_ONCE = 500


class _Reference(NamedTuple):
    """A row that refers to a blob, in the order of digests."""

    sha256: str
    kind: str
    """file, metadata or provenance."""
    file_id: int
    project_id: int
    project: str
    filename: str
    size: int | None
    again: bool
    """Whether it can be fetched again."""


def blobs(context: Context) -> Iterator[Finding]:
    """Compare what rows refer to with what the store has, in one pass over both, in the order of digests."""
    references = heapq.merge(*(_references(context, kind) for kind in _KINDS))
    listed = context.store.blobs()
    at: BlobInfo | None = next(listed, None)
    read: tuple[str, str | None] = ("", None)
    for reference in references:
        context.step(1)
        while at is not None and at.sha256 < reference.sha256:
            at = next(listed, None)
        size = at.size if at is not None and at.sha256 == reference.sha256 else None
        problem = _problem(context, reference, size)
        if problem is None and not context.quick:
            if read[0] != reference.sha256:
                read = (reference.sha256, _damage(context, reference.sha256))
            problem = read[1]
        if problem is not None and _still(context, reference):
            yield _found(context, reference, problem)


def _problem(context: Context, reference: _Reference, size: int | None) -> str | None:
    if size is None:
        # It may have come after its place in the listing was passed.
        size = context.store.size(reference.sha256)
    if size is None:
        return "its blob is missing"
    if reference.size is not None and size != reference.size:
        return f"its blob has {size:,} bytes instead of {reference.size:,}"
    return None


def _damage(context: Context, sha256: str) -> str | None:
    found = hashlib.sha256()
    try:
        for chunk in context.store.read(sha256):
            found.update(chunk)
    except BlobMissing:
        return "its blob is missing"
    return None if found.hexdigest() == sha256 else f"its blob has other bytes, sha256 {found.hexdigest()}"


def _found(context: Context, reference: _Reference, problem: str) -> Finding:
    subject = reference.filename if reference.kind == "file" else f"{reference.kind} of {reference.filename}"
    if not reference.again:
        advice = f"restore the blob {reference.sha256} from a backup"
        return Finding("blobs", subject, problem, advice=advice)
    if context.repair:
        _mend(context, reference, problem)
        return Finding("blobs", subject, problem, mended=True)
    return Finding("blobs", subject, problem, advice="--repair has it fetched again when it is asked for")


def _mend(context: Context, reference: _Reference, problem: str) -> None:
    """Say that it is not stored; damaged bytes go first, so that nobody takes them for the right ones."""
    if "missing" not in problem:
        with context.locks.hold(f"blob:{reference.sha256}", 30.0):
            context.store.delete(reference.sha256)
    with context.database.transaction() as tx:
        tx.lock_project(reference.project_id)
        tx.connection.execute(text(_MEND[reference.kind]), {"id": reference.file_id})
        if reference.kind == "file":
            tx.connection.execute(_DUE_IN_FULL, {"id": reference.file_id})
        context.note(
            tx,
            reference.filename,
            project=reference.project,
            before=f"{reference.kind} stored",
            after="fetched again when it is asked for",
            reason=problem,
        )


def _still(context: Context, reference: _Reference) -> bool:
    """Whether the row still refers to that blob; it may have been given up meanwhile."""
    with context.database.reading() as session:
        statement = text(f"{_KINDS[reference.kind]} AND f.id = :id")
        given: dict[str, Any] = {"id": reference.file_id, "after": "", "after_id": 0, "limit": 1}
        return any(row[0] == reference.sha256 for row in session.execute(statement, given))


def _references(context: Context, kind: str) -> Iterator[_Reference]:
    query = f"{_KINDS[kind]} ORDER BY 1, f.id LIMIT :limit"
    after, after_id = "", 0
    while True:
        with context.database.reading() as session:
            rows = session.execute(
                text(query), {"after": after, "after_id": after_id, "limit": _AT_ONCE}
            ).all()
        for row in rows:
            digest, file_id, project_id, project, filename, size, again = row
            yield _Reference(digest, kind, file_id, project_id, project, filename, size, bool(again))
        if len(rows) < _AT_ONCE:
            return
        after, after_id = rows[-1][0], rows[-1][1]


# By the index of each, which has only rows that refer to a blob.
_COMMON = """
SELECT f.{digest}, f.id, p.id, p.name, f.filename, {size},
  CASE WHEN s.kind = 'upstream' AND p.state = 'present' AND f.withdrawn_at IS NULL AND {again}
  THEN 1 ELSE 0 END
FROM file f JOIN project p ON p.id = f.project_id JOIN source s ON s.id = p.source_id
WHERE {stored} AND f.{digest} >= :after AND (f.{digest} > :after OR f.id > :after_id)
"""
_KINDS = {
    "file": _COMMON.format(
        digest="sha256", size="f.size", again="f.url IS NOT NULL", stored="f.stored_at IS NOT NULL"
    ),
    "metadata": _COMMON.format(
        digest="metadata_sha256", size="NULL", again="f.url IS NOT NULL", stored="f.metadata_stored"
    ),
    "provenance": _COMMON.format(
        digest="provenance_sha256",
        size="NULL",
        again="f.provenance_url IS NOT NULL",
        stored="f.provenance_sha256 IS NOT NULL",
    ),
}
_MEND = {
    # What is held has to be there for its checks.
    "file": "UPDATE file SET stored_at = NULL, due_at = CASE WHEN EXISTS "
    "(SELECT 1 FROM hold h WHERE h.file_id = file.id) THEN 0 ELSE due_at END WHERE id = :id",
    "metadata": "UPDATE file SET metadata_stored = false WHERE id = :id",
    "provenance": "UPDATE file SET provenance_sha256 = NULL WHERE id = :id",
}
# Where everything is kept, nobody has to ask for it: the next sync does.
_DUE_IN_FULL = text(
    "INSERT INTO sync_file (file_id, source_id, attempts) SELECT f.id, s.id, 0 FROM file f "
    "JOIN project p ON p.id = f.project_id JOIN source s ON s.id = p.source_id "
    "WHERE f.id = :id AND s.mode = 'full' AND f.url IS NOT NULL AND f.withdrawn_at IS NULL "
    "ON CONFLICT (file_id) DO NOTHING"
)
