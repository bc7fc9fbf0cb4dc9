"""Connections of the database."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from koschey.errors import RequestInvalid
from koschey.settings import Settings
from koschey.stores.database import Database, close_connections, engine_options


def test_a_connection_that_is_in_use_when_all_are_closed_is_closed_when_it_comes_back(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/koschey.sqlite")
    with engine.connect() as connection:
        used = connection.connection.dbapi_connection
        assert isinstance(used, sqlite3.Connection)
        close_connections(engine)
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1

    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        used.execute("SELECT 1")


@pytest.mark.parametrize("url", ["", "postgresql://db.example/koschey"], ids=["sqlite", "postgres"])
def test_an_error_repeats_no_value_of_its_statement(tmp_path: Path, url: str) -> None:
    """An upstream's password may be one, and an error goes into logs."""
    options = engine_options(Settings(data_dir=tmp_path, database_url=url))
    engine = create_engine("sqlite://", hide_parameters=options["hide_parameters"])
    with pytest.raises(OperationalError) as raised, engine.connect() as connection:
        connection.execute(text("INSERT INTO nowhere VALUES (:password)"), {"password": "canary"})
    engine.dispose()
    assert "nowhere" in str(raised.value)
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize("words", ["a\0b", "half \ud800"], ids=["NUL", "surrogate"])
def test_a_text_that_cannot_be_stored_is_the_askers_fault(migrated_postgres_url: str, words: str) -> None:
    engine = create_engine(Settings(database_url=migrated_postgres_url).resolved_database_url)
    database = Database(engine)
    with pytest.raises(RequestInvalid, match="cannot be stored"), database.reading() as session:
        session.execute(text("SELECT :words"), {"words": words})
    with pytest.raises(RequestInvalid, match="cannot be stored"), database.transaction() as tx:
        tx.record("user.add", actor=words)
    with pytest.raises(ValueError, match="of another kind"), database.reading():
        raise ValueError("of another kind")
    engine.dispose()
