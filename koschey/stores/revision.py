"""The schema's version, and a look at it that loads no more than the standard library."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

HEAD = "0015"
"""The newest migration. Written here so that a start need not load Alembic to see that all is well."""


def is_current(database: Path) -> bool:
    """Whether an SQLite file is there, has this schema, has had its first rows written, and has an admin."""
    if not database.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
            version = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            begun = connection.execute("SELECT 1 FROM counter LIMIT 1").fetchone()
            admin = connection.execute("SELECT 1 FROM \"grant\" WHERE role = 'admin' LIMIT 1").fetchone()
    except sqlite3.Error:
        return False
    return version == (HEAD,) and begun is not None and admin is not None
