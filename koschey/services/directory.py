"""Users, groups, grants and tokens, page by page, for those who look after them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from koschey.domain.page import Microseconds
from koschey.domain.permissions import account_name, subject_of
from koschey.errors import NotFound
from koschey.services.accounts import Account
from koschey.services.grants import GrantRow
from koschey.services.groups import GroupOf
from koschey.services.keyset import PAGE, Keyset, Page, prefixed
from koschey.services.tokens import TokenRow, token_row
from koschey.stores.database import Database, now
from koschey.stores.models import IndexRow
from koschey.stores.people_rows import Grant, Membership, Token, User, UserGroup

_USERS = Keyset("users", User.name)
_GROUPS = Keyset("groups", UserGroup.name)
_GRANTS = Keyset("grants", Grant.id, descending=True)
_TOKENS = Keyset("tokens", Token.id, descending=True)
#: Members of a group that its page names.
_MEMBERS = 1_000


class GroupRow(msgspec.Struct, frozen=True, kw_only=True):
    """A group in a list."""

    name: str
    members: int
    created_at: Microseconds


class Directory:
    """Answers; ``koschey.services.accounts``, ``groups``, ``grants`` and ``tokens`` change things."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def users(self, *, prefix: str = "", at: str | None = None, limit: int = PAGE) -> Page[Account]:
        """Users by name, those whose name begins so. Raises: RequestInvalid."""
        query = select(User)
        with self._database.reading() as session:
            if prefix:
                query = query.where(_begins(session, User.name, prefix))
            page = _USERS.page(session, query, at=at, limit=limit)
            groups = _groups_of(session, [row[0].id for row in page.rows])
            return page.of(lambda row: _account(row[0], groups))

    def user(self, name: str) -> Account:
        """One of them by a name in any spelling. Raises: NotFound, RequestInvalid."""
        with self._database.reading() as session:
            user = session.scalar(select(User).where(User.name == account_name(name)))
            if user is None:
                raise NotFound("user", name)
            return _account(user, _groups_of(session, [user.id]))

    def groups(self, *, at: str | None = None, limit: int = PAGE) -> Page[GroupRow]:
        """Groups by name, and how many are in each. Raises: RequestInvalid."""
        with self._database.reading() as session:
            page = _GROUPS.page(session, select(UserGroup), at=at, limit=limit)
            counted = (
                select(Membership.group_id, func.count(Membership.user_id.distinct()))
                .where(Membership.group_id.in_([row[0].id for row in page.rows]))
                .group_by(Membership.group_id)
            )
            members = dict(session.execute(counted).all())
            return page.of(
                lambda row: GroupRow(
                    name=row[0].name, members=members.get(row[0].id, 0), created_at=row[0].created_at
                )
            )

    def group(self, name: str) -> GroupOf:
        """One of them. Raises: NotFound, RequestInvalid."""
        with self._database.reading() as session:
            row = session.scalar(select(UserGroup).where(UserGroup.name == account_name(name)))
            if row is None:
                raise NotFound("group", name)
            members = session.scalars(
                select(User.name)
                .join(Membership, Membership.user_id == User.id)
                .where(Membership.group_id == row.id)
                .distinct()
                .order_by(User.name)
                .limit(_MEMBERS)
            )
            return GroupOf(name=row.name, members=list(members), created_at=row.created_at)

    def grants(
        self, *, subject: str | None = None, at: str | None = None, limit: int = PAGE
    ) -> Page[GrantRow]:
        """Grants, the newest first, or those of a subject. Raises: RequestInvalid."""
        query: Any = select(Grant, IndexRow.name).outerjoin(IndexRow, IndexRow.id == Grant.index_id)
        if subject is not None:
            query = query.where(Grant.subject == subject_of(subject))
        with self._database.reading() as session:
            page: Page[Any] = _GRANTS.page(session, query, at=at, limit=limit)
            return page.of(lambda row: _grant(row[0], row[1]))

    def grant(self, grant_id: int) -> GrantRow:
        """One of them. Raises: NotFound."""
        query = select(Grant, IndexRow.name).outerjoin(IndexRow, IndexRow.id == Grant.index_id)
        with self._database.reading() as session:
            found = session.execute(query.where(Grant.id == grant_id)).first()
            if found is None:
                raise NotFound("grant", str(grant_id))
            return _grant(found[0], found[1])

    def tokens(self, *, user: str | None = None, at: str | None = None, limit: int = PAGE) -> Page[TokenRow]:
        """Tokens, the newest first, or those of a user. Raises: RequestInvalid."""
        query: Any = select(Token, User.name).join(User, User.id == Token.user_id)
        if user is not None:
            query = query.where(User.name == account_name(user))
        seen_at = now()
        with self._database.reading() as session:
            page: Page[Any] = _TOKENS.page(session, query, at=at, limit=limit)
            return page.of(lambda row: token_row(row[0], row[1], seen_at))


def _begins(session: Session, column: Any, prefix: str) -> Any:
    return prefixed(column, prefix.strip().lower(), session.get_bind().dialect.name)


def _groups_of(session: Session, users: Sequence[int]) -> dict[int, list[str]]:
    found: dict[int, set[str]] = {}
    rows = session.execute(
        select(Membership.user_id, UserGroup.name)
        .join(UserGroup, UserGroup.id == Membership.group_id)
        .where(Membership.user_id.in_(users))
    )
    for user_id, group in rows:
        found.setdefault(user_id, set()).add(group)
    return {user_id: sorted(groups) for user_id, groups in found.items()}


def _account(user: User, groups: dict[int, list[str]]) -> Account:
    return Account(
        id=user.id,
        name=user.name,
        disabled=user.disabled,
        has_password=user.password_hash is not None,
        origin=user.origin,
        groups=groups.get(user.id, []),
        created_at=user.created_at,
    )


def _grant(row: Grant, index: str | None) -> GrantRow:
    return GrantRow(
        id=row.id,
        role=row.role,
        subject=row.subject,
        index=index,
        pattern=row.pattern,
        created_at=row.created_at,
    )
