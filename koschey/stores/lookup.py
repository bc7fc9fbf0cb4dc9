"""The one indexed look at projects and files that a hot request makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from koschey.errors import NotFound, StoreUnavailable
from koschey.stores.hot_connections import HotConnections


class ProjectLook(NamedTuple):
    """A name in one source. ``state`` is a ProjectState; times in microseconds."""

    source_id: int
    project_id: int
    state: str
    serial: int
    looked_at: int | None
    missing_since: int | None


class UpstreamLook(NamedTuple):
    """What is known of an upstream's page, for asking about it again."""

    project_id: int
    state: str
    etag: str | None
    upstream_serial: int | None
    looked_at: int | None


class PageRow(NamedTuple):
    """A file as its page needs it, in the order of the page."""

    filename: str
    path: str
    version: str | None
    sha256: str | None
    size: int | None
    upload_time: int | None
    requires_python: str | None
    yanked: bool | int
    yanked_reason: str | None
    metadata_advertised: bool | int
    metadata_sha256: str | None
    provenance_url: str | None
    provenance_sha256: str | None
    withdrawn_at: int | None
    first_seen: int
    previous_look: int | None
    checks: str | None
    deleted_at: int | None


class PageProject(NamedTuple):
    """What a project's page hangs on besides its files."""

    state: str
    status: str
    status_reason: str | None
    serial: int
    source_id: int
    decided: bool


class NameLook(NamedTuple):
    """What the database says of a name: the configuration's number, and the name in each source."""

    configuration: int
    projects: dict[int, ProjectLook]


class FileLook(NamedTuple):
    """A file and what its verdict hangs on; ``name`` is its project's."""

    file_id: int
    project_id: int
    source_id: int
    name: str
    state: str
    status: str
    filename: str
    version: str | None
    path: str
    url: str | None
    sha256: str | None
    digest: str | None
    size: int | None
    metadata_advertised: bool
    metadata_sha256: str | None
    metadata_stored: bool
    provenance_url: str | None
    provenance_sha256: str | None
    stored_at: int | None
    withdrawn_at: int | None
    upload_time: int | None
    first_seen: int
    previous_look: int | None
    checks: str | None
    decided: bool
    serial: int
    """The project's."""
    status_reason: str | None
    deleted_at: int | None
    configuration: int
    """The configuration's number when the file was looked up."""


class ReleaseFile(NamedTuple):
    """A file of a release, as the next upload to it needs it."""

    filename: str
    version: str | None
    sha256: str | None
    withdrawn_at: int | None
    yanked: bool
    yanked_reason: str | None


#: In the order of ``koschey.services.gate``; an index is called by a keyword of SQL.
DECISION_COLUMNS = (
    'id, kind, at, actor, reason, "index", version, filename, sha256, expires_at, until, reverts, source'
)

_NAME = (
    "SELECT c.value, p.source_id, p.id, p.state, p.serial, p.looked_at, p.missing_since "
    "FROM counter c LEFT JOIN project p ON p.name = {0} WHERE c.name = 'configuration'"
)
_UPSTREAM = (
    "SELECT id, state, etag, upstream_serial, looked_at FROM project WHERE name = {0} AND source_id = {0}"
)
_PROJECT = f"SELECT {', '.join(PageProject._fields)} FROM project WHERE id = {{0}}"  # noqa: S608 - our own names
_PAGE = f"SELECT {', '.join(PageRow._fields)} FROM file WHERE project_id = {{0}} ORDER BY id"  # noqa: S608 - our own names
_FILE = (
    "SELECT f.id, p.id, p.source_id, p.name, p.state, p.status, f.filename, f.version, f.path, f.url, "
    "f.sha256, f.digest, f.size, f.metadata_advertised, f.metadata_sha256, f.metadata_stored, "
    "f.provenance_url, f.provenance_sha256, f.stored_at, f.withdrawn_at, "
    "f.upload_time, f.first_seen, f.previous_look, f.checks, p.decided, p.serial, p.status_reason, "
    "f.deleted_at, "
    "(SELECT value FROM counter WHERE name = 'configuration') "
    "FROM file f JOIN project p ON p.id = f.project_id WHERE {0}"
)
_RELEASE = f"SELECT {', '.join(ReleaseFile._fields)} FROM file WHERE project_id = {{0}} AND release = {{0}}"  # noqa: S608 - our own names
_DECISIONS = f"SELECT {DECISION_COLUMNS} FROM decision WHERE name = {{0}} ORDER BY id"  # noqa: S608 - our own names
_CONFIGURATION = "SELECT value FROM counter WHERE name = 'configuration'"
_ORPHANS = "SELECT sha256 FROM orphan WHERE sha256 {0}"
_HAVING = (
    "SELECT c.value, p.name, p.source_id "
    "FROM counter c LEFT JOIN project p ON p.name {0} WHERE c.name = 'configuration'"
)


class Lookup:
    """Look-ups of names, projects and files.

    Raises:
        StoreUnavailable: each method, when the database does not answer.
    """

    def __init__(self, connections: HotConnections) -> None:
        self.connections = connections
        mark = connections.mark
        self._name = _NAME.format(mark)
        self._upstream = _UPSTREAM.format(mark)
        self._project = _PROJECT.format(mark)
        self._page = _PAGE.format(mark)
        self._release = _RELEASE.format(mark)
        self._by_path = _FILE.format(f"f.path = {mark}")
        self._by_id = _FILE.format(f"f.id = {mark}")
        self._decisions = _DECISIONS.format(mark)
        self._by_filename = _FILE.format(f"p.name = {mark} AND f.filename = {mark}")

    def name(self, name: str) -> NameLook:
        """A normalised name in every source that has an answer about it."""
        rows = self.connections.rows(self._name, (name,))
        if not rows:
            raise StoreUnavailable("database", "it is empty; run `koschey db upgrade`")
        found = {row[1]: ProjectLook(*row[1:]) for row in rows if row[1] is not None}
        return NameLook(rows[0][0], found)

    def upstream(self, source_id: int, name: str) -> UpstreamLook | None:
        """What is known of a source's page of a name."""
        rows = self.connections.rows(self._upstream, (name, source_id))
        return UpstreamLook(*rows[0]) if rows else None

    def project(self, project_id: int) -> PageProject:
        """A project by its id. Raises: NotFound: it was forgotten since its id was looked up."""
        rows = self.connections.rows(self._project, (project_id,))
        if not rows:
            raise NotFound("project", str(project_id))
        return PageProject(*rows[0])

    def page(self, project_id: int) -> tuple[PageProject, list[tuple[Any, ...]]]:
        """A project, and its files as tuples in the order of PageRow.

        The project is read first: a file that comes between the two queries shows in a page that the
        next serial will replace.

        Raises:
            NotFound: the project was forgotten since its id was looked up.
        """
        return self.project(project_id), self.connections.rows(self._page, (project_id,))

    def release(self, project_id: int, release: str) -> list[ReleaseFile]:
        """What was uploaded of a project's release (``File.release``), also what was deleted."""
        return [ReleaseFile(*row) for row in self.connections.rows(self._release, (project_id, release))]

    def decisions(self, name: str) -> list[tuple[Any, ...]]:
        """Every decision about a normalised name, in order, as tuples of DECISION_COLUMNS."""
        return self.connections.rows(self._decisions, (name,))

    def file(self, file_id: int) -> FileLook | None:
        """One file by its id."""
        rows = self.connections.rows(self._by_id, (file_id,))
        return FileLook(*rows[0]) if rows else None

    def files_at(self, path: str) -> list[FileLook]:
        """Files with that public path; several when several sources have it."""
        return [FileLook(*row) for row in self.connections.rows(self._by_path, (path,))]

    def files_named(self, name: str, filename: str) -> list[FileLook]:
        """Files of that name in projects of that normalised name, in each source."""
        return [FileLook(*row) for row in self.connections.rows(self._by_filename, (name, filename))]

    def configuration(self) -> int:
        """The configuration's number, on which hangs what is remembered of sources, people and grants."""
        rows = self.connections.rows(_CONFIGURATION, ())
        if not rows:
            raise StoreUnavailable("database", "it is empty; run `koschey db upgrade`")
        number: int = rows[0][0]
        return number

    def orphans_among(self, digests: Sequence[str]) -> list[str]:
        """Those of some blobs that are marked as ones that nobody refers to."""
        return [row[0] for row in self.connections.among(_ORPHANS, digests)]

    def having(self, names: Sequence[str]) -> tuple[int, dict[str, set[int]]]:
        """The configuration's number, and for each normalised name the ids of the sources that know it."""
        rows = self.connections.among(_HAVING, names)
        if not rows:
            raise StoreUnavailable("database", "it is empty; run `koschey db upgrade`")
        found: dict[str, set[int]] = {name: set() for name in names}
        for _, name, source_id in rows:
            if name is not None:
                found[name].add(source_id)
        return rows[0][0], found
