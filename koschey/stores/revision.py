"""The schema's version, and a look at it that loads no more than the standard library."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

HEAD = "0022"
"""The newest migration. Written here so that a start need not load Alembic to see that all is well."""


@dataclass(frozen=True)
class Prepared:
    """An SQLite database with this schema and its first rows."""

    has_admin: bool
    instance_values: Mapping[str, str]
    """Name to value, of ``instance_value``; without those that were never needed."""


def prepared(database: Path) -> Prepared | None:
    """What a start has to know of a database that it need not prepare; None: it has to, or cannot tell."""
    if not database.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
            version = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            begun = connection.execute("SELECT 1 FROM counter LIMIT 1").fetchone()
            admin = connection.execute("SELECT 1 FROM \"grant\" WHERE role = 'admin' LIMIT 1").fetchone()
            values = dict(connection.execute("SELECT name, value FROM instance_value"))
    except sqlite3.Error:
        return None
    if version != (HEAD,) or begun is None:
        return None
    return Prepared(admin is not None, values)
