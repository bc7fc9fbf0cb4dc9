"""Inserting many rows at once.

PostgreSQL takes longer to read a statement of some thousand values than to insert them, and a driver to write
it down. One JSON document in its place costs a third, and next to nothing on this side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Connection, Dialect, Insert, Table, insert, text
from sqlalchemy.sql.dml import ReturningInsert
from sqlalchemy.sql.elements import TextClause


def insert_rows(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *returning: str
) -> list[Any]:
    """Insert rows that all have the same columns; what they leave out has the column's default.

    Args:
        returning: columns to return of each row, in any order.
    """
    if not rows:
        return []
    if connection.dialect.name != "postgresql":
        done = connection.execute(_plain(table, returning), list(rows))
        return list(done) if returning else []
    statement = _statement(connection.dialect, table, tuple(rows[0]), returning)
    done = connection.execute(statement, {"rows": msgspec.json.encode(rows).decode()})
    return list(done) if returning else []


@lru_cache(maxsize=32)
def _plain(table: Table, returning: tuple[str, ...]) -> Insert | ReturningInsert[Any]:
    columns = [table.c[name] for name in returning]
    return insert(table).returning(*columns) if columns else insert(table)


@lru_cache(maxsize=32)
def _statement(
    dialect: Dialect, table: Table, given: tuple[str, ...], returning: tuple[str, ...]
) -> TextClause:
    left_out = [c.name for c in table.columns if c.default is not None and c.name not in given]
    columns = ", ".join([*given, *left_out])
    values = ", ".join([*given, *(f":default_{name}" for name in left_out)])
    typed = ", ".join(f"{name} {table.c[name].type.compile(dialect)}" for name in given)
    back = f" RETURNING {', '.join(returning)}" if returning else ""
    statement = text(
        f"INSERT INTO {table.name} ({columns}) SELECT {values} "  # noqa: S608 - our own names
        f"FROM json_to_recordset(CAST(:rows AS json)) AS given({typed}){back}"
    )
    defaults = {f"default_{name}": _default(table, name) for name in left_out}
    return statement.bindparams(**defaults)


def _default(table: Table, name: str) -> Any:
    default = table.c[name].default
    assert default is not None and default.is_scalar
    return default.arg  # type: ignore[attr-defined]
