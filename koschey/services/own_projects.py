"""What there is of the company's own: its projects in order, and all about one name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import case, func, select, tuple_

from koschey.domain.decisions import Kind
from koschey.domain.explanation import iso
from koschey.domain.names import normalize
from koschey.domain.page import Microseconds
from koschey.errors import NotFound
from koschey.services.configuration import Configuration
from koschey.services.gate import decision_of
from koschey.services.known import decisions_about, owners, projects_named
from koschey.services.names import Names
from koschey.services.newest import newest_visible
from koschey.stores.database import Database, now
from koschey.stores.models import File, Project, ProjectState, Source, SourceKind


class OwnProjects:
    """Reads hosted projects, as plain values."""

    def __init__(self, database: Database, configuration: Configuration, names: Names) -> None:
        self._database = database
        self._configuration = configuration
        self._names = names

    def page(
        self, *, after: str | None = None, limit: int = 100, deleted: bool = False
    ) -> list[dict[str, Any]]:
        """The next ``limit`` hosted projects by name and source, with what they have.

        Args:
            after: the last one before, as ``name/source``; a name alone: what comes behind all of that name.
            deleted: also those that were deleted as a whole.
        """
        query = select(
            Project.id, Project.name, Source.name, Project.status, Project.status_reason, Project.state
        )
        query = query.join(Source).where(Source.kind == SourceKind.HOSTED)
        if not deleted:
            query = query.where(Project.state == ProjectState.PRESENT)
        if after is not None:
            name, _, source = after.partition("/")
            behind = tuple_(Project.name, Source.name) > (name, source)
            query = query.where(behind if source else Project.name > name)
        with self._database.reading() as session:
            rows = session.execute(query.order_by(Project.name, Source.name).limit(limit)).all()
            counted = select(
                File.project_id,
                func.count(case((File.deleted_at.is_(None), 1))),
                func.max(File.upload_time),
            ).where(File.project_id.in_([row[0] for row in rows]))
            files = {row[0]: row for row in session.execute(counted.group_by(File.project_id))}
        return [
            {
                "name": name,
                "source": source,
                "status": "deleted" if state == ProjectState.DELETED else status,
                "status_reason": reason,
                "files": files[project_id][1] if project_id in files else 0,
                "last_upload": iso(files[project_id][2]) if project_id in files else None,
            }
            for project_id, name, source, status, reason, state in rows
        ]

    def about(self, name: str, *, number: int | None = None) -> dict[str, Any]:
        """Whose a name is in each index and by which rules, what is visible there, and its hosted projects.

        Args:
            number: the configuration's, if the caller has just read it.

        Raises:
            RequestInvalid: not a name. NotFound: nothing is known or said of it.
        """
        wanted = normalize(name)
        with self._database.reading() as session:
            connection = session.connection()
            projects = projects_named(connection, [wanted])
            indexes = self._configuration.indexes(session, number=number)
            query = select(Project.id, Project.status_reason, Source.name, Source.kind).join(Source)
            sources = {row.id: row for row in session.execute(query.where(Project.name == wanted))}
            projects = [project for project in projects if project.id in sources]
            hosted = [p for p in projects if sources[p.id].kind == SourceKind.HOSTED]
            found = select(File).where(File.project_id.in_([project.id for project in hosted]))
            files = list(session.scalars(found.order_by(File.id))) if hosted else []
            decisions = decisions_about(connection, {p.name for p in projects if p.decided})
            newest = newest_visible(connection, indexes, projects, decisions, now())
        rules = [rule for rule in self._names.rules() if _covers(rule, wanted)]
        if not rules and all(project.state == ProjectState.ABSENT for project in projects):
            raise NotFound("project", wanted)
        having = {project.source_id for project in projects}
        return {
            "name": wanted,
            "rules": rules,
            "trust": _trust(decisions.get(wanted, []), now()),
            "indexes": [
                {
                    "index": index.name,
                    "outside": index.outside(wanted, having).value,
                    "sources": [sources[part.id].name for part in owners(index, projects)],
                    "newest": newest.get(index.name),
                }
                for index in indexes
            ],
            "hosted": [
                {
                    "source": sources[project.id].name,
                    "state": project.state,
                    "status": project.status,
                    "status_reason": sources[project.id].status_reason,
                    "files": [_file(file) for file in files if file.project_id == project.id],
                }
                for project in hosted
            ],
        }


def _covers(rule: dict[str, Any], name: str) -> bool:
    return fnmatchcase(name, rule["pattern"])


def _trust(rows: Iterable[Sequence[Any]], at: Microseconds) -> list[dict[str, Any]]:
    """Of the decisions about a name (``lookup.DECISION_COLUMNS``) the trust that is in force."""
    made = list(rows)
    reverted = {row[11] for row in made if row[1] == Kind.REVERT}
    found = [decision_of(row) for row in made if row[1] == Kind.TRUST and row[0] not in reverted]
    return [
        {
            "index": trust.index,
            "actor": trust.actor,
            "reason": trust.reason,
            "at": iso(trust.at),
            "expires_at": iso(trust.expires_at),
        }
        for trust in found
        if trust.expires_at is None or trust.expires_at > at
    ]


def _file(file: File) -> dict[str, Any]:
    return {
        "filename": file.filename,
        "version": file.version,
        "size": file.size,
        "sha256": file.sha256,
        "upload_time": iso(file.upload_time),
        "yanked": file.yanked_reason or file.yanked,
        "deleted_at": iso(file.deleted_at),
        "restorable": file.deleted_at is not None and file.stored_at is not None,
    }
