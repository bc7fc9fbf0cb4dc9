"""What all processes of an installation share and nobody chose, made when it is first needed."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from sqlalchemy import text

from koschey.stores.database import Database

_KEEP = text("INSERT INTO instance_value (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING")
_READ = text("SELECT value FROM instance_value WHERE name = :name")


def instance_value(database: Database, name: str, make: Callable[[], str] = secrets.token_hex) -> str:
    """The value of that name, the same in every process; made by ``make`` if there is none yet."""
    with database.reading() as session:
        found = session.execute(_READ, {"name": name}).scalar()
    if found is None:
        with database.transaction() as tx:
            tx.connection.execute(_KEEP, {"name": name, "value": make()})
            found = tx.connection.execute(_READ, {"name": name}).scalar_one()
    return str(found)
