"""Approvals and trusts that ran out: what they showed is hidden again, and that is recorded."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select, text

from koschey.domain.page import Microseconds
from koschey.services.holds import Holds
from koschey.services.settling import ACTOR
from koschey.stores.database import Database, now
from koschey.stores.models import Project

#: Name of the counter that says up to which moment (microseconds since 1970) that is done.
_CURSOR = "lapsed"
#: A decision may be committed so long after its expiry was found to lie in the future.
_OVERLAP: Microseconds = 300_000_000
_NAMES_AT_ONCE = 200


def settle_lapsed(database: Database, holds: Holds) -> int:
    """Record what became of the files of projects about which a decision ran out; returns how many projects.

    Verdicts need none of this. ``hold`` has what is hidden, and so knows when that ends, but not when
    something visible is to be hidden.

    Raises:
        StoreUnavailable: the database failed; what was recorded before stays.
    """
    at = now()
    with database.reading() as session:
        names = lapsed(session.connection(), at)
    settled = 0
    for start in range(0, len(names), _NAMES_AT_ONCE):
        settled += _settle(database, holds, names[start : start + _NAMES_AT_ONCE])
    if names:
        with database.transaction() as tx:
            tx.connection.execute(_REMEMBER, {"name": _CURSOR, "value": at})
    return settled


def lapsed(connection: Connection, at: Microseconds) -> Sequence[str]:
    """Names about which a decision ran out lately: what is recorded may say that they show what is hidden."""
    return connection.scalars(_LAPSED, {"cursor": _CURSOR, "overlap": _OVERLAP, "now": at}).all()


def _settle(database: Database, holds: Holds, names: Sequence[str]) -> int:
    with database.transaction() as tx:
        ids = tx.session.scalars(select(Project.id).where(Project.name.in_(names))).all()
        holds.settle(tx, ids, actor=ACTOR, at=now())
    return len(ids)


_LAPSED = text(
    "SELECT DISTINCT name FROM decision WHERE expires_at <= :now AND name <> '' "
    "AND expires_at > COALESCE((SELECT value FROM counter WHERE name = :cursor), :overlap) - :overlap"
)
_REMEMBER = text(
    "INSERT INTO counter (name, value) VALUES (:name, :value) "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
