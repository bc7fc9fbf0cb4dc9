"""Links that an administrator gives to people who have no password, or forgot it."""

from __future__ import annotations

from sqlalchemy import select

from koschey.domain import password_link
from koschey.errors import Conflict, LinkWorthless
from koschey.services.accounts import user_row
from koschey.services.passwords import Passwords
from koschey.stores.database import Database, now
from koschey.stores.people_rows import User

_WORTHLESS = "this link was used, is too old, or was never made; an administrator can make another"


class PasswordLinks:
    """Makes and redeems them."""

    def __init__(self, database: Database, passwords: Passwords, key: str) -> None:
        self._database = database
        self._passwords = passwords
        self._key = key

    def make(self, name: str, *, actor: str) -> str:
        """The path of a link by which a user chooses a password: good once, for a day.

        Raises:
            NotFound: no such user. Conflict: the user is disabled, or signs in by a plug-in.
        """
        with self._database.transaction() as tx:
            user = user_row(tx.session, name)
            if user.disabled:
                raise Conflict(f"user {user.name} is disabled; enable the account first")
            if user.origin is not None and user.password_hash is None:
                how = f"user {user.name} signs in by {user.origin}"
                raise Conflict(f"{how}, which a password here would end for good")
            tx.record("user.password-link", actor=actor, subject=user.name)
            expires = now() // 1_000_000 + password_link.SECONDS
            return f"/account/password/{password_link.make(self._key, user.id, user.epoch, expires)}"

    def check(self, link: str) -> str:
        """The name of the user who may use a link (the last segment of its path). Raises: LinkWorthless."""
        with self._database.reading() as session:
            user = session.get(User, password_link.user_of(link) or 0)
            return self._checked(link, user).name

    def redeem(self, link: str, password: str) -> str:
        """Set the password; the user's sessions end, and so does the link. Returns the user's name.

        Raises:
            LinkWorthless: it would not. RequestInvalid: a bad password.
        """
        self.check(link)
        kept = self._passwords.hash(password)
        wanted = select(User).where(User.id == password_link.user_of(link)).with_for_update()
        with self._database.transaction() as tx:
            user = self._checked(link, tx.session.scalar(wanted))
            user.password_hash = kept
            user.epoch += 1
            tx.touch_configuration()
            tx.record("user.password", actor=f"user:{user.name}", subject=user.name, reason="by a link")
            return user.name

    def _checked(self, link: str, user: User | None) -> User:
        usable = user is not None and not user.disabled
        epoch = user.epoch if user is not None else 0
        if not password_link.is_valid(link, self._key, epoch, now() / 1e6) or not usable or user is None:
            raise LinkWorthless(_WORTHLESS)
        return user
