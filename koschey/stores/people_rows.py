"""The schema of people: users, groups, tokens, grants, and failures to sign in."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from koschey.stores.models import NEVER_REUSED, Base, Key


class User(Base):
    """Somebody who signs in."""

    __tablename__ = "user"
    __table_args__ = NEVER_REUSED
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    password_hash: Mapped[str | None] = mapped_column(Text)
    """argon2; None: signs in by tokens or a plug-in only."""
    disabled: Mapped[bool] = mapped_column(default=False)
    epoch: Mapped[int] = mapped_column(default=1)
    """Rises when every session of the user is to end."""
    origin: Mapped[str | None] = mapped_column(String(100))
    """The plug-in that vouched for the user first; None: made here."""
    created_at: Mapped[int] = mapped_column(BigInteger)


class UserGroup(Base):
    """A group of users, for grants."""

    __tablename__ = "user_group"
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    created_at: Mapped[int] = mapped_column(BigInteger)


class Membership(Base):
    """A user in a group. One user may be in a group by hand and by a plug-in's word."""

    __tablename__ = "membership"
    __table_args__ = (Index(None, "user_id"),)
    group_id: Mapped[int] = mapped_column(ForeignKey("user_group.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), primary_key=True)
    origin: Mapped[str] = mapped_column(String(100), primary_key=True, default="")
    """The plug-in that says so; empty: put there by hand."""


class Token(Base):
    """A secret by which a user's programs sign in. Kept as its SHA-256 only."""

    __tablename__ = "token"
    __table_args__ = (Index(None, "user_id"), NEVER_REUSED)
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[str] = mapped_column(Text)
    """Words of ``koschey.domain.permissions.Scope``, separated by blanks."""
    globs: Mapped[str] = mapped_column(Text, default="")
    """Globs over normalised names, separated by blanks; empty: all."""
    description: Mapped[str] = mapped_column(String(200), default="")
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int | None] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)
    used_at: Mapped[int | None] = mapped_column(BigInteger)
    """The last use that was written down; a minute late at the most."""


class Grant(Base):
    """A role for a subject, on an index (None: all), for the names that match a glob."""

    __tablename__ = "grant"
    __table_args__ = (Index(None, "subject"),)
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    role: Mapped[str] = mapped_column(String(20))
    subject: Mapped[str] = mapped_column(String(110))
    """``everyone``, ``signed-in``, ``user:NAME`` or ``group:NAME``."""
    index_id: Mapped[int | None] = mapped_column(ForeignKey("index.id", ondelete="CASCADE"))
    pattern: Mapped[str] = mapped_column(String(200), default="*")
    created_at: Mapped[int] = mapped_column(BigInteger)


class SignInFailure(Base):
    """Failed attempts to sign in, by who was tried from where, in the window that began with the first.

    A count of 0 says when a name was last right from an address.
    """

    __tablename__ = "sign_in_failure"
    __table_args__ = (Index(None, "began_at"),)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    """A keyed digest: neither names nor addresses of strangers are kept."""
    count: Mapped[int]
    began_at: Mapped[int] = mapped_column(BigInteger)
