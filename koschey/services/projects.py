"""The life of the company's own projects: yank, delete, restore, archive, deprecate, quarantine.

Each verb is one transaction with one event; what it changes is so for everybody from its commit on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from sqlalchemy import select, update

from koschey.errors import Conflict, Forbidden, NotFound, RequestInvalid
from koschey.services.configuration import Configuration
from koschey.services.deciding import checked_reason
from koschey.services.holds import Holds
from koschey.services.hosted_project import HostedProject, ProjectOutcome
from koschey.services.known import batches
from koschey.services.scope import Scope, scope_of
from koschey.stores.database import Database, Transaction, now
from koschey.stores.models import File, Project, ProjectState, Source, SourceKind


class Status(StrEnum):
    """What a project's maintainers say of it (PEP 792)."""

    ACTIVE = "active"
    ARCHIVED = "archived"  # finished: no uploads
    DEPRECATED = "deprecated"  # another one is to be used
    QUARANTINED = "quarantined"  # no uploads, and no file is listed or served


class Projects:
    """Verbs about hosted projects; what comes from an upstream has the quarantine's.

    All take a ``reason`` (one line for people), an ``actor``, and ``source``, the name of the hosted source;
    None: the only one that has the project.

    Raises:
        RequestInvalid: a name, version, filename or reason is no such thing. NotFound: no such project,
            version or file. Conflict: several hosted sources have the project.
    """

    def __init__(self, database: Database, configuration: Configuration, holds: Holds) -> None:
        self._database = database
        self._configuration = configuration
        self._holds = holds

    def yank(
        self,
        name: str,
        version: str | None = None,
        filename: str | None = None,
        *,
        source: str | None = None,
        reason: str,
        actor: str,
    ) -> ProjectOutcome:
        """Mark files as not to be chosen by themselves (PEP 592); the reason is shown to installers."""
        scope, reason = scope_of(name, version, filename, None), checked_reason(reason)
        with self._opened(scope, source) as project:
            files = [f for f in project.files(scope) if not f.yanked or f.yanked_reason != reason]
            project.set(files, yanked=True, yanked_reason=reason)
            return project.close("yank", scope, files, actor=actor, reason=reason)

    def unyank(
        self,
        name: str,
        version: str | None = None,
        filename: str | None = None,
        *,
        source: str | None = None,
        reason: str,
        actor: str,
    ) -> ProjectOutcome:
        """Take yanks back; the reason is for the audit."""
        scope, reason = scope_of(name, version, filename, None), checked_reason(reason)
        with self._opened(scope, source) as project:
            files = [file for file in project.files(scope) if file.yanked]
            project.set(files, yanked=False, yanked_reason=None)
            return project.close("unyank", scope, files, actor=actor, reason=reason)

    def delete(
        self,
        name: str,
        version: str | None = None,
        filename: str | None = None,
        *,
        source: str | None = None,
        reason: str,
        actor: str,
        administers: bool = True,
        preview: bool = False,
    ) -> ProjectOutcome:
        """Take files away for good: 404 from now on, their bytes are kept for a while, their names for ever.

        The project's name stays the company's own.

        Args:
            administers: whether the actor is an administrator: what was deleted there before is then the
                administrator's deletion too, and nobody else restores any of it.
            preview: see what would go, and change nothing.
        """
        scope, reason = scope_of(name, version, filename, None), checked_reason(reason)
        with self._opened(scope, source) as project:
            files = project.files(scope)
            if preview:
                return project.outcome("delete", scope, files, done=False)
            gone = {"deleted_at": project.at, "withdrawn_at": project.at, "due_at": None}
            project.set(files, deleted_by_admin=administers, **gone)
            if administers:
                project.set(project.deleted(scope), deleted_by_admin=True)
            if scope.version is None and scope.filename is None:
                project.set_project(state=ProjectState.DELETED)
            return project.close("delete", scope, files, actor=actor, reason=reason)

    def restore(
        self,
        name: str,
        version: str | None = None,
        filename: str | None = None,
        *,
        source: str | None = None,
        reason: str,
        actor: str,
        administers: bool = True,
    ) -> ProjectOutcome:
        """Bring deleted files back, as long as their bytes are kept.

        Args:
            administers: whether the actor is an administrator, who alone brings back what one deleted.

        Raises:
            Conflict: the bytes of none are kept any more. Forbidden: an administrator deleted all of them.
        """
        scope, reason = scope_of(name, version, filename, None), checked_reason(reason)
        with self._opened(scope, source) as project:
            found = project.files(scope, deleted=True)
            deleted = [file for file in found if administers or file.deleted_by_admin is False]
            if not deleted:
                raise Forbidden(
                    "admin", f"an administrator deleted {scope.text}; only an administrator restores that"
                )
            files = [file for file in deleted if file.stored_at is not None]
            if not files:
                raise Conflict(f"the bytes of {scope.text} are not kept any more; nothing can be restored")
            project.set(files, deleted_at=None, deleted_by_admin=None, withdrawn_at=None)
            project.set_project(state=ProjectState.PRESENT)
            if len(files) < len(deleted):
                project.notes.append(f"the bytes of {len(deleted) - len(files)} more are not kept any more")
            if len(deleted) < len(found):
                left = len(found) - len(deleted)
                project.notes.append(f"an administrator deleted {left} more, and only one restores them")
            return project.close("restore", scope, files, actor=actor, reason=reason)

    def set_status(
        self,
        name: str,
        status: Status,
        *,
        source: str | None = None,
        administers: bool = True,
        reason: str,
        actor: str,
    ) -> ProjectOutcome:
        """Say of a whole project that it is archived, deprecated, quarantined, or active again (PEP 792).

        The reason is shown on its page, unless it is active.

        Args:
            administers: whether the actor is an administrator, who alone quarantines, and ends that.

        Raises:
            Forbidden: it is about a quarantine, and the actor is none.
        """
        scope, reason = scope_of(name, None, None, None), checked_reason(reason)
        with self._opened(scope, source) as project:
            before = (project.row.status, project.row.status_reason)
            if not administers and Status.QUARANTINED in (status, before[0]):
                raise Forbidden(
                    "admin", f"{scope.name}: an administrator quarantines a project, and ends its quarantine"
                )
            shown = None if status is Status.ACTIVE else reason
            if before == (status, shown):
                raise Conflict(f"{scope.name} is {status} already, for that reason")
            project.set_project(status=status.value, status_reason=shown)
            return project.close(
                "status",
                scope,
                [],
                actor=actor,
                reason=reason,
                before=before[0] + (f": {before[1]}" if before[1] else ""),
                after=status.value,
            )

    def purge(self, grace: int, limit: int = 1_000) -> int:
        """Let go of the bytes of files that were deleted longer than ``grace`` (microseconds) ago.

        The rows stay, with their digests. Returns how many files there were, ``limit`` at the most.

        Raises:
            StoreUnavailable: the database failed; what was done before stays.
        """
        with self._database.transaction() as tx:
            old = File.deleted_at <= now() - grace
            query = select(File.id, File.filename, Project.name).join(Project)
            query = query.where(old, File.stored_at.is_not(None)).order_by(File.id).limit(limit)
            rows = tx.session.execute(query.with_for_update(of=File)).all()
            for batch in batches([row.id for row in rows]):
                gone = {"stored_at": None, "metadata_stored": False, "provenance_sha256": None}
                tx.session.execute(update(File).where(File.id.in_(batch)).values(gone))
            for row in rows:
                tx.record(
                    "file.purge",
                    actor="koschey",
                    project=row.name,
                    subject=row.filename,
                    before="deleted, bytes kept",
                    after="deleted",
                    reason="the time for restoring it is over",
                )
            return len(rows)

    @contextmanager
    def _opened(self, scope: Scope, source: str | None) -> Iterator[HostedProject]:
        with self._database.transaction() as tx:
            tx.lock_name(scope.name)
            query = select(Project.id, Source.name).join(Source, Source.id == Project.source_id)
            query = query.where(Project.name == scope.name, Source.kind == SourceKind.HOSTED)
            if source is not None:
                query = query.where(Source.name == source)
            found = tx.session.execute(query.order_by(Source.name)).all()
            if not found:
                raise NotFound("project of the company's own", scope.name)
            if len(found) > 1:
                names = ", ".join(row.name for row in found)
                raise Conflict(f"several hosted sources have {scope.name}; say which: --source, of {names}")
            tx.lock_project(found[0].id)
            yield HostedProject(tx, tx.session.get_one(Project, found[0].id), found[0].name, self._settle)

    def _settle(self, tx: Transaction, project_id: int, actor: str, at: int) -> None:
        self._holds.settle(tx, [project_id], actor=actor, at=at, raise_serial=True)


def status_of(word: str) -> Status:
    """A status by its word. Raises: RequestInvalid."""
    try:
        return Status(word)
    except ValueError:
        raise RequestInvalid(f"not a status: {word!r}; there are {', '.join(Status)}") from None
