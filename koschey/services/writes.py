"""What a transaction writes about projects of one upstream: many pages in few statements.

Pages come by the hundred in a sync, and a database takes longer to receive a statement than to execute
it. So each page says what is to be written, and ``flush`` writes it for all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from sqlalchemy import Table, bindparam, select, text

from koschey.domain.page import Microseconds, UpstreamFile
from koschey.services.configuration import IndexConfig, SourceConfig
from koschey.services.project_rows import KNOWN_COLUMNS, Known, set_columns
from koschey.stores.database import Transaction
from koschey.stores.many_rows import insert_rows
from koschey.stores.models import File, Project

_PROJECTS = cast("Table", Project.__table__)
_FILES = cast("Table", File.__table__)


@dataclass(frozen=True)
class Arrival:
    """When files came: times in microseconds."""

    at: int
    previous_look: int | None


class NewFiles(Protocol):
    """What the gate says of files that a page lists for the first time; settles what it says of all."""

    def indexes(self, tx: Transaction, source: SourceConfig) -> Sequence[IndexConfig]:
        """The indexes in which the source's files are judged."""

    def judge(
        self,
        indexes: Sequence[IndexConfig],
        source: SourceConfig,
        name: str,
        files: Sequence[UpstreamFile],
        arrival: Arrival,
    ) -> list[tuple[bool, bool]]:
        """Of each file whether some index holds it, and whether it is to be stored and checked now."""

    def settle(
        self,
        tx: Transaction,
        project_ids: Sequence[int],
        *,
        actor: str,
        at: Microseconds,
        changed: Sequence[int],
    ) -> None:
        """Record what verdicts on all files of some projects come to; the pages of ``changed`` are new."""


class Writes:
    """Reads and locks what pages are compared with, and collects what they change."""

    def __init__(self, tx: Transaction, source: SourceConfig, judging: NewFiles) -> None:
        self.tx = tx
        self.source = source
        self.judging = judging
        self.work_came = False
        """Whether a file came that is to be stored and checked."""
        self._indexes: Sequence[IndexConfig] | None = None
        self._new_projects: list[tuple[Known, dict[str, Any]]] = []
        self._new_files: list[tuple[Known, dict[str, Any]]] = []
        self._projects: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
        self._files: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
        self._settled: dict[str, Known] = {}
        self._changed: dict[str, Known] = {}

    @property
    def actor(self) -> str:
        """Who is on record for what an upstream says."""
        return f"upstream:{self.source.name}"

    @property
    def indexes(self) -> Sequence[IndexConfig]:
        """The indexes that have the source."""
        if self._indexes is None:
            self._indexes = self.judging.indexes(self.tx, self.source)
        return self._indexes

    def known(self, names: Iterable[str]) -> dict[str, Known]:
        """The projects of those names that there are, locked until the transaction ends.

        In the order of their ids, as everybody takes locks; those of the names come before.
        """
        arguments = {"source_id": self.source.id, "names": sorted(set(names))}
        rows = self.tx.connection.execute(_KNOWN, arguments)
        return {row.name: Known(*row) for row in rows}

    def stored_files(self, projects: Iterable[Known]) -> dict[int, dict[str, dict[str, Any]]]:
        """The files of projects: by the project's id, by filename."""
        ids = [project.id for project in projects]
        found: dict[int, dict[str, dict[str, Any]]] = {project_id: {} for project_id in ids}
        if ids:
            for row in self.tx.connection.execute(_STORED, {"ids": ids}):
                found[row.project_id][row.filename] = dict(zip(STORED_COLUMNS, row, strict=True))
        return found

    def new_project(self, name: str, **values: Any) -> Known:
        """A project that is to be inserted; columns that ``Known`` has not go in ``values`` as well."""
        project = Known(0, name, values["state"], values["status"], values["status_reason"])
        self._new_projects.append((project, values))
        return project

    def set_project(self, project: Known, **values: Any) -> None:
        """Set columns of a project; of one that is new, before it is inserted."""
        if project.id == 0:
            next(row for known, row in reversed(self._new_projects) if known is project).update(values)
        else:
            self._projects[tuple(values)].append(values | {"_id": project.id})

    def new_file(self, project: Known, row: dict[str, Any]) -> None:
        """A file that is to be inserted; ``row`` has all its columns but the project."""
        self._new_files.append((project, row))

    def set_file(self, file_id: int, values: dict[str, Any]) -> None:
        """Set columns of a file."""
        self._files[tuple(values)].append(values | {"_id": file_id})

    def settle(self, project: Known) -> None:
        """What the verdicts on its files come to is to be recorded."""
        self._settled[project.name] = project

    def change(self, project: Known) -> None:
        """The pages of the project are new ones."""
        self._changed[project.name] = project

    def flush(self, at: Microseconds) -> None:
        """Write everything; the serial is taken last."""
        self._insert_projects()
        connection = self.tx.connection
        if self._new_files:
            rows = [row | {"project_id": project.id} for project, row in self._new_files]
            insert_rows(connection, _FILES, rows)
        for columns, changes in self._projects.items():
            connection.execute(set_columns("project", columns), changes)
        for columns, changes in self._files.items():
            connection.execute(set_columns("file", columns), changes)
        changed = [project.id for project in self._changed.values()]
        if self._settled or changed:
            self.tx.session.flush()  # events before those of verdicts
            settled = [project.id for project in self._settled.values()]
            self.judging.settle(self.tx, settled, actor=self.actor, at=at, changed=changed)

    def _insert_projects(self) -> None:
        if not self._new_projects:
            return
        names = [project.name for project, _ in self._new_projects]
        connection = self.tx.connection
        decided = set(connection.execute(_DECIDED, {"names": names}).scalars())
        columns = {column for _, values in self._new_projects for column in values}
        rows = [
            dict.fromkeys(columns)
            | values
            | {"name": project.name, "source_id": self.source.id, "decided": project.name in decided}
            for project, values in self._new_projects
        ]
        ids = {row.name: row.id for row in insert_rows(connection, _PROJECTS, rows, "id", "name")}
        for project, values in self._new_projects:
            project.id = ids[project.name]
            if project.name in decided and values["state"] == "present":
                self.settle(project)


# Statements are built once: for small ones, SQLAlchemy takes longer to build than a database to execute.
_NAMED = (_PROJECTS.c.source_id == bindparam("source_id")) & _PROJECTS.c.name.in_(
    bindparam("names", expanding=True)
)
_KNOWN = select(*KNOWN_COLUMNS).where(_NAMED).order_by(_PROJECTS.c.id).with_for_update()
_DECIDED = text("SELECT DISTINCT name FROM decision WHERE name IN :names").bindparams(
    bindparam("names", expanding=True)
)
STORED_COLUMNS = (
    "id",
    "filename",
    "project_id",
    "sha256",
    "withdrawn_at",
    "metadata_stored",
    "url",
    "digest",
    "size",
    "upload_time",
    "requires_python",
    "yanked",
    "yanked_reason",
    "metadata_advertised",
    "metadata_sha256",
    "provenance_url",
    "stored_at",
    "first_seen",
    "previous_look",
)
"""What a page is compared with."""
_STORED = select(*(_FILES.c[name] for name in STORED_COLUMNS)).where(
    _FILES.c.project_id.in_(bindparam("ids", expanding=True))
)
