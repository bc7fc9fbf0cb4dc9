"""Rows of projects: what is known of one, and the statements of those who write a single one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import Update, bindparam, insert, select, update

from koschey.stores.database import Transaction
from koschey.stores.models import File, Project
from koschey.stores.quarantine_rows import DecisionRow


@dataclass
class Known:
    """What the database says of a project. The id of one that is new comes with ``Writes.flush``."""

    id: int
    name: str
    state: str
    status: str
    status_reason: str | None
    upstream_serial: int | None = None
    looked_at: int | None = None
    missing_since: int | None = None
    decided: bool = False


def known_project(tx: Transaction, source_id: int, name: str) -> Known | None:
    """The project as it is stored, locked until the transaction ends."""
    row = tx.connection.execute(_ONE, {"name": name, "source_id": source_id}).one_or_none()
    return None if row is None else Known(*row)


def new_project(tx: Transaction, *, name: str, **values: Any) -> tuple[int, bool]:
    """Insert a project; returns its id, and whether anything was decided about its name before."""
    tx.lock_name(name)  # who decides about it at this moment finds no row to mark
    decided = tx.connection.execute(_DECIDED, {"name": name}).first() is not None
    row = values | {"name": name, "decided": decided}
    return int(tx.connection.execute(_INSERT, row).scalar_one()), decided


def set_project(tx: Transaction, project_id: int, **values: Any) -> None:
    """Set columns of a project."""
    tx.connection.execute(set_columns("project", tuple(values)), values | {"_id": project_id})


@lru_cache(maxsize=128)
def set_columns(kind: Literal["project", "file"], columns: tuple[str, ...]) -> Update:
    """A statement that sets those columns of the row ``_id``."""
    table = _PROJECTS if kind == "project" else _FILES
    return (
        update(table)  # type: ignore[arg-type]
        .where(table.c.id == bindparam("_id"))
        .values({column: bindparam(column) for column in columns})
    )


# Statements are built once: for small ones, SQLAlchemy takes longer to build than a database to execute.
_PROJECTS = Project.__table__
_FILES = File.__table__
KNOWN_COLUMNS = (
    _PROJECTS.c.id,
    _PROJECTS.c.name,
    _PROJECTS.c.state,
    _PROJECTS.c.status,
    _PROJECTS.c.status_reason,
    _PROJECTS.c.upstream_serial,
    _PROJECTS.c.looked_at,
    _PROJECTS.c.missing_since,
    _PROJECTS.c.decided,
)
"""In the order of ``Known``."""
_ONE = (
    select(*KNOWN_COLUMNS)
    .where(_PROJECTS.c.name == bindparam("name"), _PROJECTS.c.source_id == bindparam("source_id"))
    .with_for_update()
)
_DECIDED = select(DecisionRow.id).where(DecisionRow.name == bindparam("name")).limit(1)
_INSERT = insert(_PROJECTS).returning(_PROJECTS.c.id)  # type: ignore[arg-type]
