"""Serials as readers see them, while many write at once on PostgreSQL."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from koschey.application import prepare
from koschey.settings import Settings
from koschey.stores.database import Database, Transaction, engine_options

_WRITERS, _READERS, _EACH = 8, 3, 40


@pytest.fixture
def database(postgres_url: str, tmp_path: Path) -> Iterator[Database]:
    settings = Settings(data_dir=tmp_path, database_url=postgres_url, upstream_url="")
    prepare(settings)
    engine: Engine = create_engine(settings.resolved_database_url, **engine_options(settings))
    database = Database(engine)
    with database.transaction() as tx:
        tx.connection.execute(
            text(
                "INSERT INTO source (name, kind, internal, refresh_seconds, created_at) "
                "VALUES ('writers', 'hosted', false, 600, 0)"
            )
        )
    yield database
    engine.dispose()


def test_whoever_sees_a_serial_sees_everything_up_to_it(database: Database) -> None:
    """A reader that goes on from serial N must never miss what was committed under N or below."""
    assert _gaps(database, lambda tx: tx.next_serial()) == []


def test_serials_from_a_sequence_would_leave_gaps(database: Database) -> None:
    """Or the test before would prove nothing: numbers that are taken before they are committed."""
    with database.transaction() as tx:
        tx.connection.execute(text("CREATE SEQUENCE plain START 1000"))

    def take(tx: Transaction) -> int:
        serial: int = tx.connection.execute(text("SELECT nextval('plain')")).scalar_one()
        tx.serial = serial
        tx.connection.execute(text("SELECT pg_sleep(0.01)"))
        return serial

    assert _gaps(database, take, newest="SELECT max(serial) FROM project") != []


def _gaps(
    database: Database,
    take: Callable[[Transaction], int],
    newest: str = "SELECT value FROM counter WHERE name = 'serial'",
) -> list[str]:
    """What readers saw that must not be, while writers make projects, each under a serial of its own."""
    problems: list[str] = []
    begin = _newest(database, newest)
    done = threading.Event()

    def write(number: int) -> None:
        chance = random.Random(number)
        for turn in range(_EACH):
            with database.transaction() as tx:
                time.sleep(chance.random() * 0.004)
                serial = take(tx)
                tx.connection.execute(_NEW, {"name": f"p-{number}-{turn}", "serial": serial})
                time.sleep(chance.random() * 0.002)

    def read() -> None:
        last = begin
        while not done.is_set():
            serial = _newest(database, newest)
            if serial < last:
                problems.append(f"{serial} after {last}")
            last = serial
            with database.reading() as session:  # afterwards, as a mirror does: it asks for what it knows of
                known = set(session.scalars(_KNOWN, {"begin": begin, "upto": serial}))
            if missing := set(range(max(begin + 1, min(known, default=serial)), serial + 1)) - known:
                problems.append(f"{sorted(missing)} are not there although {serial} is")

    readers = [threading.Thread(target=read) for _ in range(_READERS)]
    writers = [threading.Thread(target=write, args=(number,)) for number in range(_WRITERS)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    with database.reading() as session:
        assert len(session.scalars(_KNOWN, {"begin": begin, "upto": 10**9}).all()) == _WRITERS * _EACH
    return problems


def _newest(database: Database, query: str) -> int:
    with database.reading() as session:
        return session.execute(text(query)).scalar() or 0


_NEW = text(
    "INSERT INTO project (source_id, name, state, status, serial, first_seen, decided) "
    "SELECT id, :name, 'present', 'active', :serial, 0, false FROM source WHERE name = 'writers'"
)
_KNOWN = text("SELECT serial FROM project WHERE serial > :begin AND serial <= :upto")
