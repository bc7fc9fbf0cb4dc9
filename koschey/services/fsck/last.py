"""What ``koschey fsck`` found when it looked last, for who asks how an installation is."""

from __future__ import annotations

import msgspec
from sqlalchemy import text

from koschey.domain.page import Microseconds
from koschey.stores.database import Database, now

_NAME = "fsck"


class Found(msgspec.Struct, frozen=True):
    """What a check left."""

    at: Microseconds
    left: int
    """Findings that were not mended."""
    example: str | None
    """One of them."""


def remember(database: Database, check: str, left: int, example: str | None) -> None:
    """What a check left, in place of what it left before. Raises: StoreUnavailable."""
    with database.transaction() as tx:
        tx.connection.execute(_MAKE, {"name": _NAME})
        found = _decoded(tx.connection.execute(_READ, {"name": _NAME}).scalar_one())
        found[check] = Found(now(), left, example)
        tx.connection.execute(_WRITE, {"name": _NAME, "value": msgspec.json.encode(found).decode()})


def last(database: Database) -> dict[str, Found]:
    """What each check left, by its name; those that never ran are left out. Raises: StoreUnavailable."""
    with database.reading() as session:
        value = session.execute(_READ, {"name": _NAME}).scalar()
    return {} if value is None else _decoded(value)


def _decoded(value: str) -> dict[str, Found]:
    return msgspec.json.decode(value, type=dict[str, Found])


_MAKE = text("INSERT INTO instance_value (name, value) VALUES (:name, '{}') ON CONFLICT (name) DO NOTHING")
_READ = text("SELECT value FROM instance_value WHERE name = :name")
_WRITE = text("UPDATE instance_value SET value = :value WHERE name = :name")
