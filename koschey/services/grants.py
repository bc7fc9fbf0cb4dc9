"""Grants: the verbs that change them, each one transaction with its event."""

from __future__ import annotations

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from koschey.domain.page import Microseconds
from koschey.domain.permissions import GrantRule, Role, name_glob, subject_of
from koschey.errors import NotFound
from koschey.services.accounts import group_row, user_row
from koschey.stores.database import Database, now
from koschey.stores.models import IndexRow
from koschey.stores.people_rows import Grant


class GrantRow(msgspec.Struct, frozen=True, kw_only=True):
    """A grant, for people."""

    id: int
    role: str
    subject: str
    index: str | None
    """None: all."""
    pattern: str
    created_at: Microseconds


class Grants:
    """Who has which role where."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, role: Role, subject: str, *, index: str | None, pattern: str, actor: str) -> bool:
        """Give a role; False: it was so already.

        Args:
            subject: NAME, ``group:NAME``, ``signed-in`` or ``everyone``.
            index: its name; None: all, also those that come later.
            pattern: a glob over project names.

        Raises:
            NotFound: no such user, group or index. RequestInvalid: no subject, or no glob.
        """
        subject, pattern = subject_of(subject), name_glob(pattern)
        with self._database.transaction() as tx:
            _check_subject(tx.session, subject)
            index_id = _index_id(tx.session, index)
            if _find(tx.session, role, subject, index_id, pattern) is not None:
                return False
            tx.session.add(
                Grant(role=role, subject=subject, index_id=index_id, pattern=pattern, created_at=now())
            )
            tx.touch_configuration()
            tx.record("grant.add", actor=actor, subject=subject, index=index, after=_words(role, pattern))
            return True

    def remove(self, role: Role, subject: str, *, index: str | None, pattern: str, actor: str) -> None:
        """Take a role back, from just the scope for which it was given.

        Raises:
            NotFound: it was never given for that scope. RequestInvalid: no subject, or no glob.
        """
        subject, pattern = subject_of(subject), name_glob(pattern)
        with self._database.transaction() as tx:
            row = _find(tx.session, role, subject, _index_id(tx.session, index), pattern)
            if row is None:
                raise NotFound("grant", str(GrantRule(0, role, subject, index, pattern)).partition(": ")[2])
            tx.session.delete(row)
            tx.touch_configuration()
            tx.record("grant.remove", actor=actor, subject=subject, index=index, before=_words(role, pattern))

    def list(self, *, subject: str | None = None, index: str | None = None) -> list[GrantRow]:
        """All grants in the order in which they were made, or those of a subject or for an index.

        Raises:
            RequestInvalid: no subject. NotFound: no such index.
        """
        query = select(Grant, IndexRow.name).outerjoin(IndexRow, IndexRow.id == Grant.index_id)
        with self._database.reading() as session:
            if subject is not None:
                query = query.where(Grant.subject == subject_of(subject))
            if index is not None:
                query = query.where(Grant.index_id == _index_id(session, index))
            return [
                GrantRow(
                    id=row.id,
                    role=row.role,
                    subject=row.subject,
                    index=name,
                    pattern=row.pattern,
                    created_at=row.created_at,
                )
                for row, name in session.execute(query.order_by(Grant.id))
            ]


def _check_subject(session: Session, subject: str) -> None:
    kind, _, name = subject.partition(":")
    if kind == "user":
        user_row(session, name)
    elif kind == "group":
        group_row(session, name)


def _index_id(session: Session, index: str | None) -> int | None:
    if index is None:
        return None
    found = session.scalar(select(IndexRow.id).where(IndexRow.name == index))
    if found is None:
        raise NotFound("index", index)
    return found


def _find(session: Session, role: Role, subject: str, index_id: int | None, pattern: str) -> Grant | None:
    same = Grant.index_id.is_(None) if index_id is None else Grant.index_id == index_id
    return session.scalar(
        select(Grant).where(Grant.role == role, Grant.subject == subject, Grant.pattern == pattern, same)
    )


def _words(role: Role, pattern: str) -> str:
    return role.value if pattern == "*" else f"{role} for {pattern}"
