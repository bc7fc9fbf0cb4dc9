"""One transaction in which something is decided about names: locked, read, decided, recorded, settled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import select, update

from koschey.domain.decisions import Decision, Kind, canonical
from koschey.domain.page import Microseconds
from koschey.domain.quarantine import Verdict
from koschey.errors import NotFound
from koschey.services.configuration import Configuration, IndexConfig
from koschey.services.deciding import Made, append_decision
from koschey.services.gate import Judge
from koschey.services.holds import Holds, Settled
from koschey.services.known import (
    KnownFile,
    KnownProject,
    batches,
    decisions_about,
    files_of,
    judge,
    owners,
    projects_named,
    shown,
)
from koschey.stores.database import Database, Transaction, now
from koschey.stores.models import Event, File, IndexRow, Project

_RECENT = 100


class Outcome(NamedTuple):
    """What a verb came to."""

    decisions: tuple[Made, ...]
    settled: Settled = Settled(0, 0, 0)
    notes: tuple[str, ...] = ()
    """Sentences about what a person may not have expected."""


class Sitting:
    """What is known of some names, under lock, and what is decided about them.

    Args:
        indexes: those that the decision is about.
        everywhere: all that there are, for what whoever decides has seen of the others.
    """

    def __init__(
        self,
        tx: Transaction,
        indexes: Sequence[IndexConfig],
        names: Iterable[str],
        *,
        everywhere: Sequence[IndexConfig],
    ) -> None:
        self.indexes = indexes
        self._everywhere = everywhere
        self.made: list[Made] = []
        self.notes: list[str] = []
        self.names = sorted(set(names))
        self._tx = tx
        for name in self.names:
            tx.lock_name(name)
        self.projects = projects_named(tx.connection, self.names, locked=True)
        self.at = now()  # after the locks: what is decided later has a later time
        self.decisions = decisions_about(tx.connection, self.names)
        self._owners = {name: self._owned(name) for name in self.names}
        self._judges: dict[tuple[str, int], Judge] = {}

    def _owned(self, name: str) -> dict[str, list[KnownProject]]:
        named = [project for project in self.projects if project.name == name]
        return {index.name: owners(index, named) for index in self._everywhere}

    def files(self, name: str, *, everywhere: bool = False) -> list[KnownFile]:
        """The files that a name has in any of the indexes, or of all that there are."""
        owned = self._parts(name, everywhere=everywhere)
        ids = {project.id for parts in owned for project in parts}
        found = files_of(self._tx.connection, sorted(ids))
        files = {
            file.id: file
            for parts in owned
            for _, file in shown([(project, found[project.id]) for project in parts])
        }
        return [files[file_id] for file_id in sorted(files)]

    def sources(self, name: str) -> list[str]:
        """Names of the sources whose project has the name, in one of the indexes."""
        ids = {project.source_id for parts in self._parts(name) for project in parts}
        found = {source.name for index in self.indexes for source in index.sources if source.id in ids}
        return sorted(found)

    def _parts(self, name: str, *, everywhere: bool = False) -> list[Sequence[KnownProject]]:
        indexes = self._everywhere if everywhere else self.indexes
        return [self._owners[name][index.name] for index in indexes]

    def verdicts(self, name: str, file: KnownFile, *, everywhere: bool = False) -> dict[str, Verdict]:
        """By name of the index, in each of the indexes where the file's project has its name."""
        found = {}
        for index in self._everywhere if everywhere else self.indexes:
            parts = self._owners[name][index.name]
            project = next((part for part in parts if part.id == file.project_id), None)
            if project is None:
                continue
            key = (index.name, project.id)
            if key not in self._judges:
                quarantined = parts[0].status == "quarantined"
                self._judges[key] = judge(index, project, self.decisions, quarantined=quarantined)
            found[index.name] = self._judges[key].verdict(file, self.at)
        return found

    def decide(
        self,
        kind: Kind,
        name: str,
        *,
        actor: str,
        reason: str,
        subject: str,
        before: str | None = None,
        **scope: Any,
    ) -> None:
        """Append one decision with its event. ``scope``: other columns of ``DecisionRow``."""
        made = append_decision(
            self._tx,
            kind,
            name,
            at=self.at,
            actor=actor,
            reason=reason,
            subject=subject,
            before=before,
            **scope,
        )
        self.made.append(made)

    def revert(self, name: str, decision: Decision, *, actor: str, reason: str) -> None:
        """Take one decision back."""
        self.decide(
            Kind.REVERT,
            name,
            index=decision.index,
            version=decision.version,
            filename=decision.filename,
            reverts=decision.id,
            actor=actor,
            reason=reason,
            subject=decision.filename or self._spelled(name, decision.version),
            before=f"{decision.kind} by {decision.actor}: {decision.reason}",
        )

    def _spelled(self, name: str, version: str | None) -> str:
        """A name, with a canonical version as the name's first file of it spells that."""
        if version is None:
            return name
        spelled = (file.version for file in self.files(name) if file.version is not None)
        return f"{name}=={next((one for one in spelled if canonical(one) == version), version)}"

    def mark_due(self, files: Sequence[KnownFile]) -> None:
        """Have files stored and checked next, whatever was found in them before."""
        for batch in batches([file.id for file in files]):
            self._tx.session.execute(
                update(File)
                .where(File.id.in_(batch))
                .values(due_at=self.at, attempts=0)
                .execution_options(synchronize_session=False)
            )

    def note_event(
        self, action: str, name: str, *, actor: str, subject: str, reason: str | None = None
    ) -> None:
        """Record what is no decision."""
        self._tx.record(action, actor=actor, project=name, subject=subject, reason=reason)

    def noted_since(self, at: Microseconds, action: str, name: str, *, actor: str, subject: str) -> bool:
        """Whether the same was recorded after a moment, among the last things that happened to a name."""
        recent = select(Event.at, Event.action, Event.actor, Event.subject).where(Event.project == name)
        rows = self._tx.session.execute(recent.order_by(Event.id.desc()).limit(_RECENT))
        same = (action, actor, subject)
        return any(row.at >= at and (row.action, row.actor, row.subject) == same for row in rows)

    def close(self, holds: Holds, actor: str) -> Outcome:
        """Settle what the decisions change; the last act of the transaction."""
        if not self.made:
            return Outcome((), notes=tuple(self.notes))
        self._tx.connection.execute(
            update(Project.__table__)  # type: ignore[arg-type]
            .where(Project.__table__.c.id.in_([project.id for project in self.projects]))
            .values(decided=True)
        )
        ids = [project.id for project in self.projects]
        settled = holds.settle(self._tx, ids, actor=actor, at=self.at, raise_serial=True)
        return Outcome(tuple(self.made), settled, tuple(self.notes))


@contextmanager
def sitting(
    database: Database, configuration: Configuration, names: Iterable[str], index: str | None
) -> Iterator[Sitting]:
    """A sitting about normalised names in one index, or in all.

    Raises:
        NotFound: no such index.
    """
    everywhere = configuration.indexes()
    indexes = everywhere if index is None else [configuration.index(index)]
    with database.transaction() as tx:
        if index is not None:
            keep_index(tx, index)
        yield Sitting(tx, indexes, names, everywhere=everywhere)


def keep_index(tx: Transaction, index: str) -> None:
    """Keep an index from being removed until the commit. Raises: NotFound."""
    query = select(IndexRow.id).where(IndexRow.name == index).with_for_update(read=True, key_share=True)
    if tx.session.scalar(query) is None:
        raise NotFound("index", index)
