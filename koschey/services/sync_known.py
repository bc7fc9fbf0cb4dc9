"""What is stored of an upstream already, in pieces, as syncs and their preview go through it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import batched

from sqlalchemy import Connection, bindparam, func, select, text

from koschey.domain.page import Microseconds
from koschey.domain.root_diff import Synced
from koschey.stores.database import Database
from koschey.stores.models import Project, ProjectState

#: Projects in one piece, where no more than names and serials are read.
_AT_ONCE = 5_000
#: Projects in one piece whose files are read as well.
_WITH_FILES = 500


@dataclass(frozen=True)
class KnownFile:
    """A known file as the filters look at it."""

    filename: str
    version: str | None
    size: int | None
    requires_python: str | None
    yanked: bool
    stored: bool


class KnownProjects:
    """Reads the projects of a source and their files; every method reads one piece, empty at the end."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def by_name(self, source_id: int, after: str = "") -> list[Synced]:
        """Projects of a source in the database's order of names, behind ``after``; empty at the end."""
        with self._database.reading() as session:
            rows = session.execute(_BY_NAME, {"source_id": source_id, "after": after, "limit": _AT_ONCE})
            return [Synced(name, serial, state == ProjectState.PRESENT) for name, serial, state in rows]

    def by_id(self, source_id: int, after: int) -> list[tuple[int, str]]:
        """Ids and names of projects that are there, by id, behind ``after``."""
        values = {"source_id": source_id, "after": after, "limit": _WITH_FILES}
        with self._database.reading() as session:
            return [(row.id, row.name) for row in session.execute(_BY_ID, values)]

    def pieces(self, source_id: int) -> Iterator[list[tuple[int, str]]]:
        """All pieces of ``by_id``."""
        after = 0
        while piece := self.by_id(source_id, after):
            after = piece[-1][0]
            yield piece

    def present(self, source_id: int, names: Collection[str]) -> list[tuple[int, str]]:
        """Ids and names of those projects that are there."""
        found: list[tuple[int, str]] = []
        with self._database.reading() as session:
            for some in batched(sorted(names), _WITH_FILES):
                rows = session.execute(_PRESENT, {"source_id": source_id, "names": some})
                found += [(row.id, row.name) for row in rows]
        return found

    def count(self, source_id: int, bound: int) -> int:
        """How many projects of a source are there, counted up to ``bound``."""
        with self._database.reading() as session:
            return int(session.execute(_COUNT, {"source_id": source_id, "bound": bound}).scalar_one())

    def looked_before(self, source_id: int, before: Microseconds, after: str) -> list[str]:
        """Names of projects whose page was looked at before that, in pieces as ``by_name``."""
        values = {"source_id": source_id, "before": before, "after": after, "limit": _AT_ONCE}
        with self._database.reading() as session:
            return list(session.execute(_AGED, values).scalars())

    def oldest(self, source_id: int, before: Microseconds) -> Iterator[str]:
        """Names of projects that are not due, whose page was looked at before that, the oldest first."""
        at, after = -1, 0
        while True:
            values = {"source_id": source_id, "before": before, "at": at, "after": after, "limit": _AT_ONCE}
            with self._database.reading() as session:
                rows = session.execute(_OLDEST, values).all()
            if not rows:
                return
            yield from (row.name for row in rows)
            _, at, after = rows[-1]

    def files(self, project_id: int) -> list[KnownFile]:
        """The files of a project that the upstream still lists."""
        with self._database.reading() as session:
            return known_files(session.connection(), project_id)


def known_files(connection: Connection, project_id: int) -> list[KnownFile]:
    """``KnownProjects.files`` inside a transaction."""
    return [KnownFile(*row) for row in connection.execute(_FILES, {"project": project_id})]


_PROJECTS = Project.__table__
_SOURCE = _PROJECTS.c.source_id == bindparam("source_id")
_BY_NAME = (
    select(_PROJECTS.c.name, _PROJECTS.c.upstream_serial, _PROJECTS.c.state)
    .where(_SOURCE, _PROJECTS.c.name > bindparam("after"))
    .order_by(_PROJECTS.c.name)
    .limit(bindparam("limit"))
)
_AGED = (
    select(_PROJECTS.c.name)
    .where(
        _SOURCE,
        _PROJECTS.c.name > bindparam("after"),
        _PROJECTS.c.state == ProjectState.PRESENT,
        func.coalesce(_PROJECTS.c.looked_at, 0) < bindparam("before"),
    )
    .order_by(_PROJECTS.c.name)
    .limit(bindparam("limit"))
)
#: A page that is there was looked at once at least. Behind a time and an id, as the index has them.
_OLDEST = text(
    "SELECT name, looked_at, id FROM project p WHERE source_id = :source_id AND state = 'present' "
    "AND looked_at >= :at AND looked_at < :before AND (looked_at > :at OR id > :after) "
    "AND NOT EXISTS (SELECT 1 FROM sync_due d WHERE d.source_id = p.source_id AND d.name = p.name) "
    "ORDER BY looked_at, id LIMIT :limit"
)
_COUNT = text(
    "SELECT count(*) FROM (SELECT 1 FROM project WHERE source_id = :source_id AND state = 'present' "
    "LIMIT :bound) AS known"
)
_BY_ID = text(
    "SELECT id, name FROM project WHERE source_id = :source_id AND id > :after AND state = 'present' "
    "ORDER BY id LIMIT :limit"
)
_PRESENT = text(
    "SELECT id, name FROM project WHERE source_id = :source_id AND name IN :names AND state = 'present' "
    "ORDER BY id"
).bindparams(bindparam("names", expanding=True))
_FILES = text(
    "SELECT filename, version, size, requires_python, yanked, stored_at IS NOT NULL FROM file "
    "WHERE project_id = :project AND withdrawn_at IS NULL"
)
