"""Files whose bytes never were those that the upstream's page promised.

The digest of a file is fixed when it is first listed (HARDENING invariant 3). One that was listed with a
wrong one by mistake would never be had, also after its page was put right. So it is on record when bytes of
an upstream are others than promised. A file of which that is known, and of which nothing was ever stored, is
taken for a new one when its page promises something else.
"""

from __future__ import annotations

from sqlalchemy import select, text

from koschey.stores.database import Transaction
from koschey.stores.models import Event, File, Project, Source

#: An upstream sent other bytes than its page promised: ``before`` is the promise, ``after`` what came.
WRONG_BYTES = "file.wrong_bytes"
#: A page promises other bytes than it did.
BYTES_CHANGED = "file.bytes_changed"
#: After these a file is not in the store, and was.
_WAS_STORED = ("file.evicted", "fsck.repaired")


def note(tx: Transaction, file_id: int, actual: str) -> None:
    """Put on record, once for each promise, that bytes are others; ``actual``: their digest or size."""
    query = (
        select(Project.id, Project.name, Source.id, Source.name, File.filename, File.sha256, File.digest)
        .join(Project, Project.id == File.project_id)
        .join(Source, Source.id == Project.source_id)
        .where(File.id == file_id)
    )
    row = tx.session.execute(query).one_or_none()
    if row is None:
        return
    project_id, name, source_id, source, filename, sha256, digest = row
    promised, actor = sha256 or digest, f"upstream:{source}"
    if not _event(tx, actor, name, filename, WRONG_BYTES, promised):
        tx.record(
            WRONG_BYTES,
            actor=actor,
            project=name,
            subject=filename,
            before=promised,
            after=actual,
            reason="the upstream sent other bytes than its page promises; they are not kept",
        )
        if _event(tx, actor, name, filename, BYTES_CHANGED, None):
            _look_again(tx, project_id, source_id, name)


def never_right(tx: Transaction, actor: str, project: str, filename: str, promised: str | None) -> bool:
    """Whether bytes of that digest were promised under that name, asked for and never had."""
    stored = select(Event.id).where(
        Event.project == project, Event.subject == filename, Event.action.in_(_WAS_STORED)
    )
    return (
        _event(tx, actor, project, filename, WRONG_BYTES, promised)
        and tx.session.scalar(stored.limit(1)) is None
    )


def _event(
    tx: Transaction, actor: str, project: str, filename: str, action: str, promised: str | None
) -> bool:
    """Whether that is on record; ``promised``: None for any digest."""
    found = select(Event.id).where(
        Event.project == project,
        Event.actor == actor,
        Event.action == action,
        Event.subject == filename,
    )
    if promised is not None:
        found = found.where(Event.before == promised)
    return tx.session.scalar(found.limit(1)) is not None


def _look_again(tx: Transaction, project_id: int, source_id: int, name: str) -> None:
    """The page promises something else already: it is looked at once more, though it has not changed."""
    tx.connection.execute(_FORGET_ETAG, {"id": project_id})
    tx.connection.execute(_DUE, {"source_id": source_id, "name": name})


_FORGET_ETAG = text("UPDATE project SET etag = NULL WHERE id = :id")
_DUE = text(
    "INSERT INTO sync_due (source_id, name, why, attempts) SELECT id, :name, 'age', 0 FROM source "
    "WHERE id = :source_id AND mode <> 'proxy' ON CONFLICT (source_id, name) DO NOTHING"
)
