"""Groups of users: the verbs that change them, each one transaction with its event."""

from __future__ import annotations

import msgspec
from sqlalchemy import delete, select

from koschey.domain.page import Microseconds
from koschey.domain.permissions import account_name
from koschey.errors import Conflict, NotFound
from koschey.services.accounts import check_limit, group_row, take_roles, user_row
from koschey.stores.database import Database, now
from koschey.stores.people_rows import Membership, User, UserGroup


class GroupOf(msgspec.Struct, frozen=True, kw_only=True):
    """A group with some of its members."""

    name: str
    members: list[str]
    created_at: Microseconds


class Groups:
    """Groups and who is in them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, *, actor: str) -> None:
        """Add a group. A plug-in's groups of the same name count as it. Raises: RequestInvalid, Conflict."""
        name = account_name(name)
        with self._database.transaction() as tx:
            if tx.session.scalar(select(UserGroup.id).where(UserGroup.name == name)):
                raise Conflict(f"a group named {name!r} exists already")
            tx.session.add(UserGroup(name=name, created_at=now()))
            tx.touch_configuration()
            tx.record("group.add", actor=actor, subject=name)

    def remove(self, name: str, *, actor: str) -> None:
        """Delete a group and what was granted to it. Raises: NotFound."""
        with self._database.transaction() as tx:
            group = group_row(tx.session, name)
            before = take_roles(tx, f"group:{group.name}")
            tx.session.execute(delete(Membership).where(Membership.group_id == group.id))
            tx.session.delete(group)
            tx.touch_configuration()
            tx.record("group.remove", actor=actor, subject=group.name, before=before)

    def join(self, group: str, user: str, *, actor: str) -> bool:
        """Put a user into a group; False: it was so already. Raises: NotFound."""
        with self._database.transaction() as tx:
            key = (group_row(tx.session, group).id, user_row(tx.session, user).id, "")
            if tx.session.get(Membership, key) is not None:
                return False
            tx.session.add(Membership(group_id=key[0], user_id=key[1], origin=""))
            tx.touch_configuration()
            tx.record("group.join", actor=actor, subject=account_name(group), after=account_name(user))
            return True

    def leave(self, group: str, user: str, *, actor: str) -> None:
        """Take a user out of a group, also where a plug-in put the user there. Raises: NotFound."""
        with self._database.transaction() as tx:
            group_id, user_id = group_row(tx.session, group).id, user_row(tx.session, user).id
            gone = tx.connection.execute(
                delete(Membership).where(Membership.group_id == group_id, Membership.user_id == user_id)
            )
            if not gone.rowcount:
                raise NotFound("member of that group", user)
            tx.touch_configuration()
            tx.record("group.leave", actor=actor, subject=account_name(group), before=account_name(user))

    def list(self, *, after: str | None = None, limit: int = 100) -> list[GroupOf]:
        """Groups by name with their members, so many behind ``after``. Raises: RequestInvalid."""
        check_limit(limit)
        query = select(UserGroup).order_by(UserGroup.name).limit(limit)
        if after is not None:
            query = query.where(UserGroup.name > after)
        with self._database.reading() as session:
            rows = session.scalars(query).all()
            members = session.execute(
                select(Membership.group_id, User.name)
                .join(User, User.id == Membership.user_id)
                .where(Membership.group_id.in_([row.id for row in rows]))
            ).all()
            return [
                GroupOf(
                    name=row.name,
                    members=sorted({name for group_id, name in members if group_id == row.id}),
                    created_at=row.created_at,
                )
                for row in rows
            ]
