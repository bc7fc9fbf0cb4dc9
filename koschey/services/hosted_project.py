"""One of the company's own projects while a verb changes it: locked, in one transaction, with one event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from sqlalchemy import select, update

from koschey.domain.decisions import canonical
from koschey.errors import NotFound
from koschey.services.known import batches
from koschey.services.scope import Scope, near
from koschey.stores.database import Transaction, now
from koschey.stores.models import File, Project

#: Filenames that an event and an outcome name.
_NAMED = 20


class ProjectOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a verb came to."""

    action: str
    """``yank``, ``unyank``, ``delete``, ``restore``, ``status``."""
    project: str
    source: str
    scope: str
    """What it was about, as people write it."""
    files: int
    """How many files it changed."""
    filenames: tuple[str, ...]
    """The first of them."""
    done: bool = True
    """False for a preview."""
    notes: tuple[str, ...] = ()
    """Sentences about what a person may not have expected."""


class HostedProject:
    """A hosted project under lock, in an open transaction."""

    def __init__(
        self,
        tx: Transaction,
        row: Project,
        source: str,
        settle: Callable[[Transaction, int, str, int], None],
    ) -> None:
        self.row = row
        self.at = now()
        self.notes: list[str] = []
        self._tx = tx
        self._source = source
        self._settle = settle

    def files(self, scope: Scope, *, deleted: bool = False) -> list[File]:
        """The files that a scope covers, of those that are deleted or of the others. Raises: NotFound."""
        there = File.deleted_at.is_not(None) if deleted else File.deleted_at.is_(None)
        query = select(File).where(File.project_id == self.row.id, there).order_by(File.id)
        files = list(self._tx.session.scalars(query))
        kind = "deleted " if deleted else ""
        if not files:
            raise NotFound(f"{kind}files of project", scope.name)
        if scope.version is not None:
            versions = {file.version for file in files if file.version is not None}
            files = [f for f in files if f.version is not None and canonical(f.version) == scope.version]
            if not files:
                raise NotFound(f"{kind}version", scope.text, near(scope.version, versions))
        if scope.filename is not None:
            names = [file.filename for file in files]
            files = [file for file in files if file.filename == scope.filename]
            if not files:
                raise NotFound(f"{kind}file", scope.filename, names[:5])
        return files

    def deleted(self, scope: Scope) -> list[File]:
        """The deleted files that a scope covers; there may be none."""
        try:
            return self.files(scope, deleted=True)
        except NotFound:
            return []

    def set(self, files: Sequence[File], **values: Any) -> None:
        """Set columns of files."""
        for batch in batches([file.id for file in files]):
            self._tx.session.execute(
                update(File)
                .where(File.id.in_(batch))
                .values(values)
                .execution_options(synchronize_session=False)
            )

    def set_project(self, **values: Any) -> None:
        """Set columns of the project."""
        self._tx.session.execute(
            update(Project)
            .where(Project.id == self.row.id)
            .values(values)
            .execution_options(synchronize_session=False)
        )

    def outcome(
        self, action: str, scope: Scope, files: Sequence[File], *, done: bool = True
    ) -> ProjectOutcome:
        """What it came to."""
        return ProjectOutcome(
            action=action,
            project=scope.name,
            source=self._source,
            scope=scope.text,
            files=len(files),
            filenames=tuple(file.filename for file in files[:_NAMED]),
            done=done,
            notes=tuple(self.notes),
        )

    def close(
        self,
        action: str,
        scope: Scope,
        files: Sequence[File],
        *,
        actor: str,
        reason: str,
        before: str | None = None,
        after: str | None = None,
    ) -> ProjectOutcome:
        """Settle, and record the event; nothing of both when nothing was changed."""
        if not files and after is None:
            self.notes.append(f"{scope.text}: nothing to {action}, it is so already")
            return self.outcome(action, scope, files)
        scope = scope.as_known(files)
        named = ", ".join(file.filename for file in files[:_NAMED])
        more = len(files) - _NAMED
        self._settle(self._tx, self.row.id, actor, self.at)
        self._tx.record(
            f"project.{action}",
            actor=actor,
            project=scope.name,
            subject=scope.text,
            before=before,
            after=after or named + (f" and {more} more" if more > 0 else ""),
            reason=reason,
        )
        return self.outcome(action, scope, files)
