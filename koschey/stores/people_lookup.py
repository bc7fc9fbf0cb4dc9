"""Users, tokens, groups and grants, as who asks is found out by them."""

from __future__ import annotations

from typing import NamedTuple

from koschey.stores.hot_connections import HotConnections


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


class PeopleLookup:
    """Look-ups of people and their rights.

    Raises:
        StoreUnavailable: each method, when the database does not answer.
    """

    def __init__(self, connections: HotConnections) -> None:
        self._connections = connections
        mark = connections.mark
        self._user_named = _USER.format(f"u.name = {mark}")
        self._user_by_id = _USER.format(f"u.id = {mark}")
        self._token = _TOKEN.format(mark)
        self._groups = _GROUPS.format(mark)
        self._groups_by = f"{self._groups} AND m.origin = {mark}"

    def user(self, name: str) -> UserLook | None:
        """A user by name, as ``koschey.domain.permissions.account_name`` spells it."""
        rows = self._connections.rows(self._user_named, (name,))
        return UserLook(*rows[0]) if rows else None

    def user_with_id(self, user_id: int) -> UserLook | None:
        """A user by id."""
        rows = self._connections.rows(self._user_by_id, (user_id,))
        return UserLook(*rows[0]) if rows else None

    def token(self, digest: str) -> TokenLook | None:
        """The token with that SHA-256, unless it was revoked. It may be past its time."""
        rows = self._connections.rows(self._token, (digest,))
        if not rows:
            return None
        token_id, scopes, globs, expires_at, *user = rows[0]
        return TokenLook(token_id, scopes, globs, expires_at, UserLook(*user))

    def groups(self, user_id: int, origin: str | None = None) -> frozenset[str]:
        """Names of the groups that a user is in; with ``origin``, by that plug-in's word."""
        if origin is None:
            return frozenset(row[0] for row in self._connections.rows(self._groups, (user_id,)))
        return frozenset(row[0] for row in self._connections.rows(self._groups_by, (user_id, origin)))

    def group_names(self) -> frozenset[str]:
        """Names of all groups."""
        return frozenset(row[0] for row in self._connections.rows("SELECT name FROM user_group", ()))

    def grants(self) -> list[GrantLook]:
        """Every grant, in order."""
        return [GrantLook(*row) for row in self._connections.rows(_GRANTS, ())]
