"""Who writes waits in turn, and holds no connection until then."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import QueuePool

from koschey.errors import StoreUnavailable
from koschey.stores import database as databases
from koschey.stores.database import Database, close_connections, tune
from koschey.stores.turns import Turns

_SOON = 20.0


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SOON
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_turns_are_given_in_the_order_in_which_they_were_asked_for() -> None:
    turns, served = Turns(1), list[int]()

    def wait(number: int) -> None:
        with turns.turn(_SOON) as mine:
            assert mine
            served.append(number)

    def waits(number: int) -> bool:
        return len(turns._waiting) > number

    with turns.turn(0):
        threads = []
        for number in range(5):
            threads.append(threading.Thread(target=wait, args=(number,)))
            threads[-1].start()
            _until(partial(waits, number))
    with turns.turn(_SOON):  # asked for after all of them
        assert served == list(range(5))
    for thread in threads:
        thread.join()


def test_who_has_no_turn_in_time_gives_none_back() -> None:
    turns = Turns(1)
    with turns.turn(0), turns.turn(0.01) as other:
        assert not other
    with turns.turn(0) as mine, turns.turn(0) as other:
        assert mine
        assert not other


def test_a_forked_child_has_all_turns_of_its_own() -> None:
    turns = Turns(1)
    with turns.turn(0):
        child = os.fork()
        if child == 0:
            with turns.turn(0) as mine:
                os._exit(0 if mine else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[Database]:
    """A database with two connections for everybody."""
    engine = create_engine(
        f"sqlite:///{tmp_path / 'narrow.sqlite'}",
        poolclass=QueuePool,
        pool_size=2,
        max_overflow=0,
        pool_timeout=_SOON,
        connect_args={"check_same_thread": False},
    )
    tune(engine)
    yield Database(engine)
    close_connections(engine)


def test_who_waits_to_write_leaves_a_connection_to_the_writer_that_reads(narrow: Database) -> None:
    def write(_: int) -> int:
        with narrow.transaction() as tx:
            return tx.session.scalar(text("SELECT 1")) or 0

    with ThreadPoolExecutor(4) as pool:
        with narrow.transaction() as tx:
            tx.session.execute(text("CREATE TABLE written (number INTEGER)"))
            waiting = [pool.submit(write, number) for number in range(4)]
            _until(lambda: len(narrow._turns._waiting) == 4)
            with narrow.reading() as session:
                assert session.scalar(text("SELECT 1")) == 1
            assert not any(each.done() for each in waiting)
        assert [each.result(_SOON) for each in waiting] == [1] * 4


def test_who_waited_too_long_is_told(narrow: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def write() -> None:
        with narrow.transaction():
            pass

    monkeypatch.setattr(databases, "_PATIENCE", 0.01)
    with (
        ThreadPoolExecutor(1) as pool,
        narrow.transaction(),
        pytest.raises(StoreUnavailable, match="too many are writing"),
    ):
        pool.submit(write).result(_SOON)


def test_a_transaction_within_another_is_an_error_at_once_and_leaves_the_turn(narrow: Database) -> None:
    began = time.monotonic()
    with pytest.raises(RuntimeError, match="within another"), narrow.transaction(), narrow.transaction():
        pass
    assert time.monotonic() - began < _SOON / 2, "it waited for its own turn"
    with narrow.transaction() as tx:  # neither the turn nor the thread is taken any more
        assert tx.session.scalar(text("SELECT 1")) == 1


def test_a_child_of_a_thread_that_writes_is_in_no_transaction(narrow: Database) -> None:
    with narrow.transaction():
        child = os.fork()
        if child == 0:
            try:
                with narrow.transaction():
                    os._exit(0)
            finally:
                os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0
