"""The first admin: a link that works once, for as long as there is none."""

from __future__ import annotations

import secrets

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from koschey.domain import setup_link
from koschey.domain.permissions import Role, account_name
from koschey.domain.setup_link import SETUP_NONCE
from koschey.errors import Conflict, LinkWorthless
from koschey.services.accounts import add_role, add_user
from koschey.services.instance import instance_value
from koschey.services.passwords import Passwords
from koschey.stores.database import Database, now
from koschey.stores.people_rows import Grant

_RENEW = text("UPDATE instance_value SET value = :value WHERE name = :name AND value = :before")


class Setup:
    """Makes and redeems the link."""

    def __init__(self, database: Database, passwords: Passwords, key: str) -> None:
        self._database = database
        self._passwords = passwords
        self._key = key

    def link(self) -> str | None:
        """The path of a link that is good for a day; None: somebody is an admin already."""
        nonce = instance_value(self._database, SETUP_NONCE)
        if not self._needed():
            return None
        return setup_link.path(self._key, nonce, now() // 1_000_000)

    def check(self, link: str) -> None:
        """Raise LinkWorthless unless the link (the last segment of its path) would be redeemed now."""
        nonce = instance_value(self._database, SETUP_NONCE)
        if not (setup_link.is_valid(link, self._key, nonce, now() / 1e6) and self._needed()):
            raise LinkWorthless

    def redeem(self, link: str, name: str, password: str) -> str:
        """Make the first admin; returns the name.

        Raises:
            LinkWorthless: it would not. RequestInvalid: a bad name or password. Conflict: the name is
            taken, or somebody else was quicker.
        """
        self.check(link)
        name = account_name(name)
        kept = self._passwords.hash(password)
        nonce = instance_value(self._database, SETUP_NONCE)
        with self._database.transaction() as tx:
            # Whoever changes the row first has used the link; the other waits here and finds it changed.
            values = {"name": SETUP_NONCE, "before": nonce, "value": secrets.token_hex()}
            if tx.connection.execute(_RENEW, values).rowcount != 1 or _has_admin(tx.session):
                raise Conflict("somebody else was quicker to set up the first admin")
            add_user(tx, name, kept, actor="koschey:setup")
            add_role(tx, name, Role.ADMIN, actor="koschey:setup")
            tx.touch_configuration()
        return name

    def _needed(self) -> bool:
        with self._database.reading() as session:
            return not _has_admin(session)


def _has_admin(session: Session) -> bool:
    return session.scalar(select(Grant.id).where(Grant.role == Role.ADMIN).limit(1)) is not None
