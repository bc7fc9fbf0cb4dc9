"""After a change of policy: every project of an index is judged again, some at a time.

How far that has come is kept with what it has recorded, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import structlog
from sqlalchemy import bindparam, select, text, update

from koschey.domain.checks import judged
from koschey.domain.quarantine import wants_checks
from koschey.services.configuration import Configuration
from koschey.services.holds import Holds
from koschey.stores.database import Database, Transaction, now
from koschey.stores.models import File, IndexRow, Project

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Who acts when time or a policy does.
ACTOR = "koschey"
_PROJECTS_AT_ONCE = 100
#: A transaction judges so many files at the most, unless one project alone has more.
_FILES_AT_ONCE = 5_000
_FILES = File.__table__
_PROJECTS = Project.__table__


class _FileRow(NamedTuple):
    """A file as ``wants_checks`` needs it."""

    id: int
    project_id: int
    filename: str
    version: str | None
    sha256: str | None
    upload_time: int | None
    first_seen: int
    previous_look: int | None
    withdrawn_at: int | None
    checks: str | None


class Settling:
    """Judges the projects of indexes whose policy is newer than their records."""

    def __init__(self, database: Database, configuration: Configuration, holds: Holds) -> None:
        self._database = database
        self._configuration = configuration
        self._holds = holds

    def step(self) -> bool:
        """Judge the next projects of an index, in a transaction; False: nothing was to be done.

        Raises:
            StoreUnavailable: the database failed.
        """
        with self._database.reading() as session:
            index_id = session.execute(_BEHIND).scalar()
        if index_id is None:
            return False
        with self._database.transaction() as tx:
            # Locked, so that the policy stays as it is until the commit; not its key, which every new row
            # of ``hold`` refers to: whoever writes one has a project locked that is waited for below.
            index = tx.session.get(IndexRow, index_id, with_for_update={"key_share": True})
            if index is not None and index.settled_version < index.policy_version:
                self._advance(tx, index)
        return True

    def _advance(self, tx: Transaction, index: IndexRow) -> None:
        mark = {"name": f"settling:{index.id}", "value": index.policy_version}
        begun = tx.connection.execute(_BEGUN, mark).scalar()
        if begun != index.policy_version:
            tx.connection.execute(_BEGIN, mark)
            index.settled_project = 0
        projects = _next_projects(tx, index)
        if not projects:
            index.settled_version, index.settled_project = index.policy_version, 0
            log.info("policy.settled", index=index.name, version=index.policy_version)
            return
        index.settled_project = projects[-1][0]
        tx.session.flush()
        ids = [row[0] for row in projects]
        _lock(tx, ids)
        at = now()
        due = self._due(tx, index, projects)
        if due:
            tx.connection.execute(_DUE, [{"_id": file_id, "_at": at} for file_id in due])
        self._holds.settle(tx, ids, actor=ACTOR, at=at)

    def _due(self, tx: Transaction, index: IndexRow, projects: Sequence[Any]) -> list[int]:
        """Files that want checks under the index's policy and have no answer of a required one."""
        policies = {}
        for project_id, source_id, name in projects:
            for config in self._configuration.indexes_of(source_id, tx.session):
                if config.id == index.id:
                    policies[project_id] = config.policy(self._configuration.source(source_id), name)
        due = []
        for row in tx.connection.execute(_UNDONE.where(_FILES.c.project_id.in_(sorted(policies)))):
            file = _FileRow._make(row)
            policy = policies[file.project_id]
            if judged(file.checks, policy.required).missing and wants_checks(file, policy):
                due.append(file.id)
        return due


def _next_projects(tx: Transaction, index: IndexRow) -> Sequence[Any]:
    """(id, source, name) of the next projects: those of the index's sources, and those with records in it."""
    values = {"index": index.id, "after": index.settled_project, "limit": _PROJECTS_AT_ONCE}
    rows = tx.connection.execute(_NEXT, values).all()
    files = 0
    for place, row in enumerate(rows):
        files += row[3]
        if place and files > _FILES_AT_ONCE:
            return [tuple(row[:3]) for row in rows[:place]]
    return [tuple(row[:3]) for row in rows]


def _lock(tx: Transaction, ids: Sequence[int]) -> None:
    """Projects before files, in the order of their ids, as everybody does."""
    tx.connection.execute(
        select(_PROJECTS.c.id).where(_PROJECTS.c.id.in_(ids)).order_by(_PROJECTS.c.id).with_for_update()
    ).all()


_BEHIND = text('SELECT id FROM "index" WHERE settled_version < policy_version ORDER BY id LIMIT 1')
_BEGUN = text("SELECT value FROM counter WHERE name = :name")
_BEGIN = text(
    "INSERT INTO counter (name, value) VALUES (:name, :value) "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
_NEXT = text(
    "SELECT p.id, p.source_id, p.name, (SELECT count(*) FROM file f WHERE f.project_id = p.id) "
    "FROM project p WHERE p.id > :after AND (p.state <> 'absent' AND EXISTS ("
    "SELECT 1 FROM index_source m WHERE m.index_id = :index AND m.source_id = p.source_id) "
    "OR EXISTS (SELECT 1 FROM hold h WHERE h.index_id = :index AND h.project_id = p.id)) "
    "ORDER BY p.id LIMIT :limit"
)
_UNDONE = select(*(_FILES.c[name] for name in _FileRow._fields)).where(
    _FILES.c.due_at.is_(None), _FILES.c.withdrawn_at.is_(None)
)
_DUE = (
    update(_FILES)  # type: ignore[arg-type]
    .where(_FILES.c.id == bindparam("_id"))
    .values(due_at=bindparam("_at"), attempts=0)
)
