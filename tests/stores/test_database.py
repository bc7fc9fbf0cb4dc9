"""Connections of the database."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from koschey.stores.database import close_connections


def test_a_connection_that_is_in_use_when_all_are_closed_is_closed_when_it_comes_back(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/koschey.sqlite")
    with engine.connect() as connection:
        used = connection.connection.dbapi_connection
        assert isinstance(used, sqlite3.Connection)
        close_connections(engine)
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1

    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        used.execute("SELECT 1")
