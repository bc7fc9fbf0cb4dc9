"""The one indexed look that a hot request makes.

Connections are kept open and in autocommit, a few for all threads: no transaction and no statement
compilation stand between a request and its row. These queries read and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Engine

from koschey.errors import NotFound, StoreUnavailable


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


class UserLook(NamedTuple):
    """A user as signing in needs it."""

    user_id: int
    name: str
    password_hash: str | None
    disabled: bool | int
    epoch: int
    origin: str | None


class TokenLook(NamedTuple):
    """A token that nobody revoked, with its user; ``scopes`` and ``globs`` are separated by blanks."""

    token_id: int
    scopes: str
    globs: str
    expires_at: int | None
    user: UserLook


class GrantLook(NamedTuple):
    """A grant; ``index_name`` is None for all indexes."""

    id: int
    role: str
    subject: str
    index_name: str | None
    pattern: str


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
_USER_COLUMNS = "u.id, u.name, u.password_hash, u.disabled, u.epoch, u.origin"
_USER = f'SELECT {_USER_COLUMNS} FROM "user" u WHERE {{0}}'  # noqa: S608 - our own names
_TOKEN = (
    f"SELECT t.id, t.scopes, t.globs, t.expires_at, {_USER_COLUMNS} "  # noqa: S608 - our own names
    'FROM token t JOIN "user" u ON u.id = t.user_id WHERE t.digest = {0} AND t.revoked_at IS NULL'
)
_GROUPS = "SELECT g.name FROM user_group g JOIN membership m ON m.group_id = g.id WHERE m.user_id = {0}"
_GRANTS = (
    "SELECT g.id, g.role, g.subject, i.name, g.pattern "
    'FROM "grant" g LEFT JOIN "index" i ON i.id = g.index_id ORDER BY g.id'
)
_CONFIGURATION = "SELECT value FROM counter WHERE name = 'configuration'"
_ORPHANS = "SELECT sha256 FROM orphan WHERE sha256 {0}"
_HAVING = (
    "SELECT c.value, p.name, p.source_id "
    "FROM counter c LEFT JOIN project p ON p.name {0} WHERE c.name = 'configuration'"
)


#: Look-ups are short: more than so many at once are rare, and get a connection for themselves.
_IDLE_CONNECTIONS = 8


class Lookup:
    """Hot look-ups over ``engine``; safe to use from many threads.

    Raises:
        StoreUnavailable: each method, when the database does not answer.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept = _IDLE_CONNECTIONS
        self._idle: list[Any] = []
        self._parents: list[Any] = []
        os.register_at_fork(after_in_child=self._after_fork)
        mark = "?" if engine.dialect.name == "sqlite" else "%s"
        self._name = _NAME.format(mark)
        self._upstream = _UPSTREAM.format(mark)
        self._project = _PROJECT.format(mark)
        self._page = _PAGE.format(mark)
        self._release = _RELEASE.format(mark)
        self._by_path = _FILE.format(f"f.path = {mark}")
        self._by_id = _FILE.format(f"f.id = {mark}")
        self._decisions = _DECISIONS.format(mark)
        self._user_named = _USER.format(f"u.name = {mark}")
        self._user_by_id = _USER.format(f"u.id = {mark}")
        self._token = _TOKEN.format(mark)
        self._groups = _GROUPS.format(mark)
        self._groups_by = f"{self._groups} AND m.origin = {mark}"
        self._by_filename = _FILE.format(f"p.name = {mark} AND f.filename = {mark}")

    def name(self, name: str) -> NameLook:
        """A normalised name in every source that has an answer about it."""
        rows = self._rows(self._name, (name,))
        if not rows:
            raise StoreUnavailable("database", "it is empty; run `koschey db upgrade`")
        found = {row[1]: ProjectLook(*row[1:]) for row in rows if row[1] is not None}
        return NameLook(rows[0][0], found)

    def upstream(self, source_id: int, name: str) -> UpstreamLook | None:
        """What is known of a source's page of a name."""
        rows = self._rows(self._upstream, (name, source_id))
        return UpstreamLook(*rows[0]) if rows else None

    def project(self, project_id: int) -> PageProject:
        """A project by its id. Raises: NotFound: it was forgotten since its id was looked up."""
        rows = self._rows(self._project, (project_id,))
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
        return self.project(project_id), self._rows(self._page, (project_id,))

    def release(self, project_id: int, release: str) -> list[ReleaseFile]:
        """What was uploaded of a project's release (``File.release``), also what was deleted."""
        return [ReleaseFile(*row) for row in self._rows(self._release, (project_id, release))]

    def decisions(self, name: str) -> list[tuple[Any, ...]]:
        """Every decision about a normalised name, in order, as tuples of DECISION_COLUMNS."""
        return self._rows(self._decisions, (name,))

    def file(self, file_id: int) -> FileLook | None:
        """One file by its id."""
        rows = self._rows(self._by_id, (file_id,))
        return FileLook(*rows[0]) if rows else None

    def files_at(self, path: str) -> list[FileLook]:
        """Files with that public path; several when several sources have it."""
        return [FileLook(*row) for row in self._rows(self._by_path, (path,))]

    def files_named(self, name: str, filename: str) -> list[FileLook]:
        """Files of that name in projects of that normalised name, in each source."""
        return [FileLook(*row) for row in self._rows(self._by_filename, (name, filename))]

    def configuration(self) -> int:
        """The configuration's number, on which hangs what is remembered of sources, people and grants."""
        rows = self._rows(_CONFIGURATION, ())
        if not rows:
            raise StoreUnavailable("database", "it is empty; run `koschey db upgrade`")
        number: int = rows[0][0]
        return number

    def user(self, name: str) -> UserLook | None:
        """A user by name, as ``koschey.domain.permissions.account_name`` spells it."""
        rows = self._rows(self._user_named, (name,))
        return UserLook(*rows[0]) if rows else None

    def user_with_id(self, user_id: int) -> UserLook | None:
        """A user by id."""
        rows = self._rows(self._user_by_id, (user_id,))
        return UserLook(*rows[0]) if rows else None

    def token(self, digest: str) -> TokenLook | None:
        """The token with that SHA-256, unless it was revoked. It may be past its time."""
        rows = self._rows(self._token, (digest,))
        if not rows:
            return None
        token_id, scopes, globs, expires_at, *user = rows[0]
        return TokenLook(token_id, scopes, globs, expires_at, UserLook(*user))

    def groups(self, user_id: int, origin: str | None = None) -> frozenset[str]:
        """Names of the groups that a user is in; with ``origin``, by that plug-in's word."""
        if origin is None:
            return frozenset(row[0] for row in self._rows(self._groups, (user_id,)))
        return frozenset(row[0] for row in self._rows(self._groups_by, (user_id, origin)))

    def group_names(self) -> frozenset[str]:
        """Names of all groups."""
        return frozenset(row[0] for row in self._rows("SELECT name FROM user_group", ()))

    def grants(self) -> list[GrantLook]:
        """Every grant, in order."""
        return [GrantLook(*row) for row in self._rows(_GRANTS, ())]

    def orphans_among(self, digests: Sequence[str]) -> list[str]:
        """Those of some blobs that are marked as ones that nobody refers to."""
        return [row[0] for row in self._among(_ORPHANS, digests)]

    def having(self, names: Sequence[str]) -> tuple[int, dict[str, set[int]]]:
        """The configuration's number, and for each normalised name the ids of the sources that know it."""
        rows = self._among(_HAVING, names)
        if not rows:
            raise StoreUnavailable("database", "it is empty; run `koschey db upgrade`")
        found: dict[str, set[int]] = {name: set() for name in names}
        for _, name, source_id in rows:
            if name is not None:
                found[name].add(source_id)
        return rows[0][0], found

    def _among(self, statement: str, keys: Sequence[str]) -> list[Any]:
        """The rows of a statement over a list of keys, of some hundreds at the most."""
        if self._engine.dialect.name == "postgresql":
            return self._rows(statement.format("= ANY(%s)"), (list(keys),))
        return self._rows(statement.format(f"IN ({', '.join('?' * len(keys))})"), tuple(keys))

    def _rows(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        errors = self._engine.dialect.loaded_dbapi.Error
        while self._idle:
            try:
                cursor = self._idle.pop()
            except IndexError:
                break  # another thread was quicker
            try:
                return self._asked(cursor, statement, values)
            except errors:
                continue  # it may have been cut long ago; a new one, below, has the last word
        try:
            return self._asked(self._connect(), statement, values)
        except errors as error:
            detail = str(error).strip().splitlines() or ["no answer"]
            raise StoreUnavailable("database", detail[0]) from error

    def _asked(self, cursor: Any, statement: str, values: tuple[Any, ...]) -> list[Any]:
        cursor.execute(statement, values)
        rows = list(cursor.fetchall())
        if len(self._idle) < self._kept:
            self._idle.append(cursor)
        else:
            cursor.connection.close()
        return rows

    def keep(self, connections: int) -> None:
        """Keep so many connections open when nobody uses them, at the least: so many threads will ask."""
        self._kept = max(self._kept, connections)

    def _after_fork(self) -> None:
        """A child must not talk over its parent's connections, nor close them for it."""
        self._parents += self._idle
        self._idle = []

    def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            self._idle.pop().connection.close()

    def _connect(self) -> Any:
        dialect = self._engine.dialect
        arguments, given = dialect.create_connect_args(self._engine.url)
        options: dict[str, Any] = dict(given)
        if dialect.name == "sqlite":
            options |= {"timeout": 15, "isolation_level": None, "check_same_thread": False}
            return dialect.loaded_dbapi.connect(*arguments, **options).cursor()
        options |= {"connect_timeout": 5, "application_name": "koschey"}
        connection = dialect.loaded_dbapi.connect(*arguments, **options)
        connection.autocommit = True
        return connection.cursor()
