"""Users: the verbs that change them, each one transaction with its event."""

from __future__ import annotations

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from koschey.domain.page import Microseconds
from koschey.domain.permissions import Role, account_name
from koschey.errors import Conflict, NotFound, RequestInvalid
from koschey.services.passwords import Passwords
from koschey.stores.database import Database, Transaction, now
from koschey.stores.people_rows import Grant, Membership, Token, User, UserGroup

MOST = 1000


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A user, for people; no secret is in it."""

    id: int
    name: str
    disabled: bool
    has_password: bool
    origin: str | None
    """The plug-in that vouched for the user first; None: made here."""
    groups: list[str]
    created_at: Microseconds


class Accounts:
    """Users and their passwords."""

    def __init__(self, database: Database, passwords: Passwords) -> None:
        self._database = database
        self._passwords = passwords

    def create(self, name: str, *, password: str | None, role: Role | None, actor: str) -> int:
        """Add a user, with a role on all names of all indexes if one is said; returns the id.

        Args:
            password: None: signs in by tokens or a plug-in only.

        Raises:
            RequestInvalid: a bad name or password. Conflict: the name is taken.
        """
        name = account_name(name)
        kept = None if password is None else self._passwords.hash(password)
        with self._database.transaction() as tx:
            user = add_user(tx, name, kept, actor=actor)
            if role is not None:
                add_role(tx, name, role, actor=actor)
            tx.touch_configuration()
            return user.id

    def set_password(self, name: str, password: str, *, actor: str) -> None:
        """Change a password; the user's sessions end. Raises: NotFound, RequestInvalid."""
        kept = self._passwords.hash(password)
        with self._database.transaction() as tx:
            user = user_row(tx.session, name)
            user.password_hash = kept
            user.epoch += 1
            tx.touch_configuration()
            tx.record("user.password", actor=actor, subject=user.name)

    def set_disabled(self, name: str, disabled: bool, *, actor: str) -> bool:  # noqa: FBT001 - the verb's object
        """Keep a user out, tokens and sessions included, or let the user in again; False: it was so already.

        Raises:
            NotFound: no such user.
        """
        with self._database.transaction() as tx:
            user = user_row(tx.session, name)
            if user.disabled == disabled:
                return False
            user.disabled = disabled
            user.epoch += 1
            tx.touch_configuration()
            tx.record("user.disable" if disabled else "user.enable", actor=actor, subject=user.name)
            return True

    def end_sessions(self, name: str, *, actor: str) -> None:
        """Sign a user out everywhere; tokens stay. Raises: NotFound."""
        with self._database.transaction() as tx:
            user = user_row(tx.session, name)
            user.epoch += 1
            tx.touch_configuration()
            tx.record("user.sign-out", actor=actor, subject=user.name)

    def remove(self, name: str, *, actor: str) -> None:
        """Delete a user with tokens and grants: whoever gets the name later begins with nothing.

        Raises:
            NotFound: no such user.
        """
        with self._database.transaction() as tx:
            user = user_row(tx.session, name)
            before = take_roles(tx, f"user:{user.name}")
            tx.session.execute(delete(Token).where(Token.user_id == user.id))
            tx.session.execute(delete(Membership).where(Membership.user_id == user.id))
            tx.session.delete(user)
            tx.touch_configuration()
            tx.record("user.remove", actor=actor, subject=user.name, before=before)

    def list(self, *, after: str | None = None, limit: int = 100) -> list[Account]:
        """Users by name, so many behind ``after``. Raises: RequestInvalid."""
        check_limit(limit)
        query = select(User).order_by(User.name).limit(limit)
        if after is not None:
            query = query.where(User.name > after)
        with self._database.reading() as session:
            users = session.scalars(query).all()
            members = session.execute(
                select(Membership.user_id, UserGroup.name)
                .join(UserGroup, UserGroup.id == Membership.group_id)
                .where(Membership.user_id.in_([user.id for user in users]))
            ).all()
            return [
                Account(
                    id=user.id,
                    name=user.name,
                    disabled=user.disabled,
                    has_password=user.password_hash is not None,
                    origin=user.origin,
                    groups=sorted({group for user_id, group in members if user_id == user.id}),
                    created_at=user.created_at,
                )
                for user in users
            ]


def add_user(tx: Transaction, name: str, kept: str | None, *, actor: str, origin: str | None = None) -> User:
    """A new user in an open transaction. Raises: Conflict."""
    if tx.session.scalar(select(User.id).where(User.name == name)):
        raise Conflict(f"a user named {name!r} exists already")
    user = User(name=name, password_hash=kept, disabled=False, epoch=1, origin=origin, created_at=now())
    tx.session.add(user)
    tx.session.flush()
    tx.record("user.add", actor=actor, subject=name, after=origin)
    return user


def add_role(tx: Transaction, name: str, role: Role, *, actor: str) -> None:
    """A role for a user on everything, in an open transaction."""
    subject = f"user:{name}"
    tx.session.add(Grant(role=role, subject=subject, pattern="*", created_at=now()))
    tx.record("grant.add", actor=actor, subject=subject, after=role.value)


def take_roles(tx: Transaction, subject: str) -> str | None:
    """Remove every grant to a subject that goes, in an open transaction; returns the roles, for its event."""
    roles = sorted(tx.session.scalars(select(Grant.role).where(Grant.subject == subject)))
    tx.session.execute(delete(Grant).where(Grant.subject == subject))
    return ", ".join(roles) or None


def user_row(session: Session, name: str) -> User:
    """A user by a name in any spelling. Raises: NotFound, RequestInvalid."""
    user = session.scalar(select(User).where(User.name == account_name(name)).with_for_update())
    if user is None:
        raise NotFound("user", name)
    return user


def group_row(session: Session, name: str) -> UserGroup:
    """A group by a name in any spelling. Raises: NotFound, RequestInvalid."""
    group = session.scalar(select(UserGroup).where(UserGroup.name == account_name(name)).with_for_update())
    if group is None:
        raise NotFound("group", name)
    return group


def check_limit(limit: int) -> None:
    """How much of a listing may be asked for at once. Raises: RequestInvalid."""
    if not 1 <= limit <= MOST:
        raise RequestInvalid(f"limit: from 1 to {MOST}")
