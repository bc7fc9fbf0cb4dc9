"""Tokens: made, listed and revoked."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from math import isfinite

import msgspec
from sqlalchemy import select

from koschey.domain.credentials import make_token, token_digest
from koschey.domain.page import Microseconds
from koschey.domain.permissions import Scope, account_name, name_glob
from koschey.domain.policy import DAY
from koschey.errors import Conflict, NotFound, RequestInvalid
from koschey.services.accounts import check_limit, user_row
from koschey.stores.database import Database, now
from koschey.stores.people_rows import Token, User

_LONGEST_DAYS = 36_500.0
_MADE_ALREADY = (
    "this form was sent already, and made one token; if you did not see it, revoke it below and make another"
)


class TokenRow(msgspec.Struct, frozen=True, kw_only=True):
    """A token, for people; the secret is nowhere."""

    id: int
    user: str
    description: str
    scopes: list[str]
    projects: list[str]
    """Globs over project names; empty: all."""
    created_at: Microseconds
    expires_at: Microseconds | None
    revoked_at: Microseconds | None
    used_at: Microseconds | None
    """A minute late at the most."""
    state: str
    """active, expired or revoked."""


class MadeToken(msgspec.Struct, frozen=True, kw_only=True):
    """A new token. ``secret`` is shown once and kept nowhere."""

    id: int
    secret: str

    def __repr__(self) -> str:
        return f"MadeToken(id={self.id})"


class Tokens:
    """The verbs about tokens; each is one transaction with its event."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        user: str,
        *,
        scopes: Collection[Scope],
        projects: Collection[str] = (),
        days: float | None = None,
        description: str = "",
        seed: bytes | None = None,
        actor: str,
    ) -> MadeToken:
        """Make a token for a user.

        Args:
            scopes: what it is for; it never does what its user may not.
            projects: globs over project names; none: all.
            days: after which it is worthless; None: never.
            seed: 32 secret bytes that are good for one token; None: random ones.

        Raises:
            NotFound: no such user. RequestInvalid: no scope, no glob, or a time that cannot be.
            Conflict: there is a token of that seed.
        """
        if not scopes:
            raise RequestInvalid("a token has a scope, one at the least")
        if days is not None and not (isfinite(days) and 0 < days <= _LONGEST_DAYS):
            raise RequestInvalid(f"a token expires after more than 0 and at most {_LONGEST_DAYS:g} days")
        if len(description) > 200 or not description.isprintable():
            raise RequestInvalid("a description is one line of at most 200 characters")
        words = " ".join(sorted(scopes))
        globs = " ".join(sorted({name_glob(glob) for glob in projects}))
        secret = make_token(seed or secrets.token_bytes(32))
        at = now()
        with self._database.transaction() as tx:
            owner = user_row(tx.session, user)
            tx.session.refresh(owner, with_for_update=True)  # the same form at once: one after the other
            if tx.session.scalar(select(Token.id).where(Token.digest == token_digest(secret))) is not None:
                raise Conflict(_MADE_ALREADY)
            row = Token(
                user_id=owner.id,
                digest=token_digest(secret),
                scopes=words,
                globs=globs,
                description=description,
                created_at=at,
                expires_at=None if days is None else at + round(days * DAY),
            )
            tx.session.add(row)
            tx.session.flush()
            tx.touch_configuration()
            after = words + (f" for {globs}" if globs else "")
            tx.record("token.add", actor=actor, subject=f"{owner.name} (token {row.id})", after=after)
            return MadeToken(id=row.id, secret=secret)

    def list(self, user: str | None = None, *, after: int | None = None, limit: int = 100) -> list[TokenRow]:
        """Tokens of a user, or of all, the newest first, behind ``after``. Raises: RequestInvalid."""
        check_limit(limit)
        query = select(Token, User.name).join(User, User.id == Token.user_id)
        if user is not None:
            query = query.where(User.name == account_name(user))
        if after is not None:
            query = query.where(Token.id < after)
        at = now()
        with self._database.reading() as session:
            rows = session.execute(query.order_by(Token.id.desc()).limit(limit))
            return [token_row(token, name, at) for token, name in rows]

    def revoke(self, token_id: int, *, user: str | None = None, actor: str) -> bool:
        """Make a token worthless; False: it was revoked already.

        Args:
            user: whose it must be, if it is to be somebody's own.

        Raises:
            NotFound: there is no such token, or it is another user's.
        """
        with self._database.transaction() as tx:
            row = tx.session.get(Token, token_id, with_for_update=True)
            owner = None if row is None else tx.session.get(User, row.user_id)
            if row is None or owner is None or (user is not None and owner.name != user):
                raise NotFound("token", str(token_id))
            if row.revoked_at is not None:
                return False
            row.revoked_at = now()
            tx.touch_configuration()
            tx.record(
                "token.revoke", actor=actor, subject=f"{owner.name} (token {row.id})", before=row.scopes
            )
            return True

    def revoke_all(self, user: str, *, actor: str) -> int:
        """Make every token of a user worthless; returns how many were not yet. Raises: NotFound."""
        with self._database.transaction() as tx:
            owner = user_row(tx.session, user)
            rows = tx.session.scalars(
                select(Token).where(Token.user_id == owner.id, Token.revoked_at.is_(None)).with_for_update()
            ).all()
            for row in rows:
                row.revoked_at = now()
                subject = f"{owner.name} (token {row.id})"
                tx.record("token.revoke", actor=actor, subject=subject, before=row.scopes)
            if rows:
                tx.touch_configuration()
            return len(rows)


def token_row(token: Token, user: str, at: Microseconds) -> TokenRow:
    """A token as people see it at a time."""
    expired = token.expires_at is not None and token.expires_at <= at
    return TokenRow(
        id=token.id,
        user=user,
        description=token.description,
        scopes=token.scopes.split(),
        projects=token.globs.split(),
        created_at=token.created_at,
        expires_at=token.expires_at,
        revoked_at=token.revoked_at,
        used_at=token.used_at,
        state="revoked" if token.revoked_at is not None else "expired" if expired else "active",
    )
