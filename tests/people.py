"""Users with grants and tokens, put into a Koschey's database."""

from __future__ import annotations

import secrets
import time

from sqlalchemy import create_engine, select
from sqlalchemy.pool import NullPool

from koschey import settings as settings_module
from koschey.domain.credentials import make_token, token_digest
from koschey.stores.database import Database, now, tune
from koschey.stores.models import IndexRow
from koschey.stores.people_rows import Grant, Token, User
from tests.running import Running

DAY = 86_400_000_000


def add_token(
    database: Database,
    user: str,
    *,
    role: str | None = "publisher",
    scope: str = "upload",
    index: str | None = None,
    pattern: str = "*",
    globs: str = "",
    expires_in: int | None = DAY,
) -> str:
    """A new token of a user, who is made if there is none and gets a role (None: no further one).

    Args:
        index, pattern: where and for which names the role is.
        globs: the names that the token is for; empty: all.
        expires_in: microseconds from now; below 0 it has expired.
    """
    secret = make_token(secrets.token_bytes(32))
    with database.transaction() as tx:
        known = tx.session.scalar(select(User.id).where(User.name == user))
        if known is None:
            row = User(name=user, created_at=now())
            tx.session.add(row)
            tx.session.flush()
            known = row.id
        if role is not None:
            index_id = tx.session.scalar(select(IndexRow.id).where(IndexRow.name == index))
            grant = Grant(
                role=role, subject=f"user:{user}", index_id=index_id, pattern=pattern, created_at=now()
            )
            tx.session.add(grant)
        expires = None if expires_in is None else time.time_ns() // 1000 + expires_in
        tx.session.add(
            Token(
                user_id=known,
                digest=token_digest(secret),
                scopes=scope,
                globs=globs,
                created_at=now(),
                expires_at=expires,
            )
        )
        tx.touch_configuration()
    return secret


def database_of(koschey: Running) -> Database:
    """The database of running processes, past them."""
    url = settings_module.load(dict(koschey.environment)).resolved_database_url
    engine = create_engine(url, poolclass=NullPool)  # nobody closes it
    tune(engine)
    return Database(engine)
