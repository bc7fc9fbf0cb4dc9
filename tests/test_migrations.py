"""Migrations on both databases: up, down, killed half-way, and by two processes at once."""

from __future__ import annotations

import logging
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, text

from koschey.application import downgrade_database, prepare
from koschey.errors import RequestInvalid
from koschey.settings import Settings
from koschey.stores.schema import HEAD, MIGRATIONS
from koschey.stores.schema import tables as declared
from tests import running

#: Prepares a database and dies where the new version is about to be written: all changes are made, and
#: none is committed. Arguments: data folder, database URL, and what to do.
PROGRAM = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import Engine, event
from koschey.application import downgrade_database, prepare
from koschey.settings import Settings
from koschey.stores.schema import HEAD

@event.listens_for(Engine, "before_cursor_execute")
def die(connection, cursor, statement, parameters, context, executemany):
    if "alembic_version" in statement and HEAD in statement and not statement.startswith("SELECT"):
        os.kill(os.getpid(), signal.SIGKILL)

settings = Settings(data_dir=Path(sys.argv[1]), database_url=sys.argv[2])
if sys.argv[3] == "up":
    prepare(settings)
else:
    downgrade_database(settings, "base")
"""


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """Koschey sets up the root logger; its handler must not outlive the test's standard error."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Koschey over an empty database."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else ""
    return Settings(data_dir=tmp_path / "data", database_url=url, upstream_url="http://upstream.example/")


@contextmanager
def database(settings: Settings) -> Iterator[Engine]:
    """The database, past Koschey."""
    settings.data_dir.mkdir(exist_ok=True)
    engine = create_engine(settings.resolved_database_url)
    try:
        yield engine
    finally:
        engine.dispose()


def tables(settings: Settings) -> set[str]:
    with database(settings) as engine:
        return set(inspect(engine).get_table_names()) - {"alembic_version"}


def one(settings: Settings, query: str) -> Any:
    """The only value of a query."""
    with database(settings) as engine, engine.connect() as connection:
        return connection.execute(text(query)).scalar_one()


def killed(settings: Settings, direction: str) -> None:
    """Start a migration in a process of its own, which dies before the commit."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(settings.data_dir), settings.database_url, direction],
        env=running.clean_environment() | {"KOSCHEY_UPSTREAM_URL": settings.upstream_url},
        cwd=running.CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_the_newest_migration_is_the_one_that_the_code_names() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_after_the_upgrade_the_schema_is_that_of_the_models(settings: Settings) -> None:
    prepare(settings)
    with database(settings) as engine, engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, declared()) == []


def test_partial_indexes_have_the_conditions_that_the_models_name(settings: Settings) -> None:
    prepare(settings)
    with database(settings) as engine:
        made = {
            index["name"]: str(index["dialect_options"].get(f"{engine.dialect.name}_where", ""))
            for table in declared().tables
            for index in inspect(engine).get_indexes(table)
        }
    expected = {
        index.name: index.info.get("where", "")
        for table in declared().tables.values()
        for index in table.indexes
    }
    # PostgreSQL writes types and parentheses into a condition.
    plain = {name: re.sub(r"[()]|::\w+", "", where) for name, where in made.items() if name in expected}
    assert plain == expected
    assert "due_at IS NOT NULL" in expected.values()


def test_up_and_down_and_up_again(settings: Settings) -> None:
    prepare(settings)
    assert tables(settings) == set(declared().tables)
    downgrade_database(settings, "base")
    assert tables(settings) == set()
    prepare(settings)
    assert tables(settings) == set(declared().tables)
    assert one(settings, "SELECT version_num FROM alembic_version") == HEAD
    assert one(settings, "SELECT url FROM source WHERE kind = 'upstream'") == settings.upstream_url


def test_an_unknown_revision_changes_nothing(settings: Settings) -> None:
    prepare(settings)
    with pytest.raises(RequestInvalid, match="'nonsense'"):
        downgrade_database(settings, "nonsense")
    assert tables(settings) == set(declared().tables)


def test_an_upgrade_killed_half_way_leaves_nothing_and_the_next_one_succeeds(settings: Settings) -> None:
    killed(settings, "up")
    assert tables(settings) == set()
    prepare(settings)
    assert tables(settings) == set(declared().tables)


def test_a_downgrade_killed_half_way_leaves_everything(settings: Settings) -> None:
    prepare(settings)
    killed(settings, "down")
    assert tables(settings) == set(declared().tables)
    assert one(settings, "SELECT value FROM counter WHERE name = 'configuration'") == 1


def test_several_processes_that_upgrade_at_once_do_it_once(settings: Settings) -> None:
    environment = running.clean_environment() | {
        "KOSCHEY_DATA_DIR": str(settings.data_dir),
        "KOSCHEY_DATABASE_URL": settings.database_url,
    }
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "koschey", "db", "upgrade"],
            env=environment,
            cwd=running.CHECKOUT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(3)
    ]
    said = [(process.communicate(timeout=90)[0], process.returncode) for process in started]
    assert [status for _, status in said] == [0, 0, 0], said
    assert all(f"the database is at {HEAD}" in text for text, _ in said)
    assert one(settings, "SELECT count(*) FROM event WHERE action = 'index.add'") == 1


def test_a_database_without_a_hosted_source_gets_one_first_in_main(settings: Settings) -> None:
    prepare(settings)
    downgrade_database(settings, "0002")
    with database(settings) as engine, engine.begin() as connection:
        connection.execute(text("DELETE FROM index_source WHERE position = 0"))
        connection.execute(text("DELETE FROM source WHERE kind = 'hosted'"))
    number = one(settings, "SELECT value FROM counter WHERE name = 'configuration'")
    prepare(settings)
    members = "source s JOIN index_source m ON m.source_id = s.id"
    first = f"SELECT s.name FROM {members} ORDER BY m.position LIMIT 1"
    assert one(settings, first) == "hosted"
    assert one(settings, "SELECT value FROM counter WHERE name = 'configuration'") > number
    assert one(settings, "SELECT count(*) FROM event WHERE action = 'hosted.add'") == 1


def test_a_hosted_source_that_is_there_stays_the_only_one(settings: Settings) -> None:
    prepare(settings)
    downgrade_database(settings, "0002")
    prepare(settings)
    assert one(settings, "SELECT name FROM source WHERE kind = 'hosted'") == "hosted"


def test_a_request_from_before_says_its_version_as_the_project_spells_it(settings: Settings) -> None:
    prepare(settings)
    downgrade_database(settings, "0018")
    with database(settings) as engine, engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO project (source_id, name, state, status, serial, first_seen, decided) "
                "SELECT id, 'sample', 'present', 'active', 0, 1, false FROM source WHERE kind = 'upstream'"
            )
        )
        connection.execute(
            text(
                "INSERT INTO file (project_id, filename, version, path, first_seen, yanked, attempts, "
                "metadata_advertised, metadata_stored) "
                "SELECT id, 's-2.0.0.zip', '2.0.0', 'a/b/s-2.0.zip', 1, false, 0, false, false FROM project"
            )
        )
        for version in ("2", "3"):
            connection.execute(
                text(
                    'INSERT INTO ask ("index", project, version, state, people, asked_at, seen_serial) '
                    "VALUES ('main', 'sample', :version, 'open', 1, 1, 0)"
                ),
                {"version": version},
            )

    prepare(settings)

    assert one(settings, "SELECT spelled FROM ask WHERE version = '2'") == "2.0.0"
    assert one(settings, "SELECT spelled FROM ask WHERE version = '3'") == "3", "nobody knows how else"
