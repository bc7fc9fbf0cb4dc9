"""Locks between threads and between real processes, over files and over PostgreSQL."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import create_engine
from structlog.testing import capture_logs

from koschey.errors import Busy, StoreUnavailable
from koschey.stores.locks import AdvisoryLocks, FileLocks, Locks, make_locks

#: Python that makes ``locks`` from its first argument: a folder or a database's URL.
OPEN = """
import sys, time
from pathlib import Path
from sqlalchemy import create_engine
from koschey.stores.locks import AdvisoryLocks, FileLocks
where = sys.argv[1]
locks = AdvisoryLocks(create_engine(where)) if "://" in where else FileLocks(Path(where))
"""
HOLD = OPEN + "with locks.hold(sys.argv[2], 5): print('held', flush=True); sys.stdin.read()"
COUNT = (
    OPEN
    + """
counter = Path(sys.argv[2])
for _ in range(50):
    with locks.hold("counter", 60):
        number = int(counter.read_text())
        time.sleep(0.0002)
        counter.write_text(str(number + 1))
"""
)


@pytest.fixture(params=["file", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What processes have to agree on: a folder, or a database."""
    if request.param == "file":
        return str(tmp_path / "locks")
    return str(request.getfixturevalue("postgres_url")).replace("postgresql://", "postgresql+psycopg2://")


@pytest.fixture
def locks(where: str) -> Iterator[Locks]:
    if "://" not in where:
        yield FileLocks(Path(where))
        return
    engine = create_engine(where)
    advisory = AdvisoryLocks(engine)
    yield advisory
    advisory.close()
    engine.dispose()


@contextmanager
def another_process(where: str, key: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds ``key`` until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, where, key], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def in_threads(count: int, work: Callable[[int], Any]) -> list[BaseException]:
    """Run ``work(n)`` in so many threads; what they raised."""
    raised: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test reports it
            raised.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_a_free_lock_is_got_at_once(locks: Locks) -> None:
    with locks.hold("page:main/requests", 0) as held:
        assert held


def test_a_lock_may_be_taken_again_after_its_release(locks: Locks) -> None:
    for _ in range(3):
        with locks.hold("page", 0):
            pass


def test_an_error_inside_releases_the_lock(locks: Locks) -> None:
    with pytest.raises(RuntimeError), locks.hold("page", 0):
        raise RuntimeError
    with locks.hold("page", 0):
        pass


def test_different_keys_do_not_wait_for_each_other(locks: Locks) -> None:
    with locks.hold("one", 0), locks.hold("other", 0), locks.hold("näme \0 of any kind", 0):
        pass


def test_a_lock_of_this_process_is_busy_for_its_other_threads(locks: Locks) -> None:
    def wanting(number: int) -> None:
        with locks.hold("page", 0.05):
            pytest.fail("two threads hold one lock")

    with locks.hold("page", 0):
        raised = in_threads(3, wanting)
    assert [type(error) for error in raised] == [Busy, Busy, Busy]
    assert "page is being worked on" in str(raised[0])


def test_a_lock_of_another_process_is_busy_here(locks: Locks, where: str) -> None:
    with another_process(where, "page"):
        begin = time.monotonic()
        with pytest.raises(Busy), locks.hold("page", 0.3):
            pass
        assert 0.3 <= time.monotonic() - begin < 3
        with pytest.raises(Busy), locks.hold("page", 0):
            pass
        with locks.hold("other page", 0):
            pass


def test_a_lock_that_is_released_in_time_is_got(locks: Locks, where: str) -> None:
    with another_process(where, "page") as holder:
        assert holder.stdin is not None
        threading.Timer(0.2, holder.stdin.close).start()
        with locks.hold("page", 30):
            pass


def test_the_lock_of_a_killed_process_is_free(locks: Locks, where: str) -> None:
    with another_process(where, "page") as holder:
        with pytest.raises(Busy), locks.hold("page", 0):
            pass
        holder.kill()
        holder.wait()
        with locks.hold("page", 10):
            pass


def test_twenty_threads_take_turns(locks: Locks) -> None:
    inside, most, turns = 0, 0, 0

    def work(number: int) -> None:
        nonlocal inside, most, turns
        for _ in range(5):
            with locks.hold("page", 60):
                inside += 1
                most = max(most, inside)
                time.sleep(0.0005)
                turns += 1
                inside -= 1

    assert in_threads(20, work) == []
    assert (most, turns) == (1, 100)


def test_twenty_threads_hold_twenty_locks_at_once(locks: Locks) -> None:
    everybody = threading.Barrier(20, timeout=30)

    def work(number: int) -> None:
        with locks.hold(f"page {number}", 10):
            everybody.wait()

    assert in_threads(20, work) == []


def test_processes_take_turns(where: str, tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", COUNT, where, str(counter)]) for _ in range(3)]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    assert counter.read_text() == "150"


def _try(locks: Locks, answers: Any) -> None:
    for timeout in (0, 30):
        try:
            with locks.hold("page", timeout):
                answers.put("held")
        except Busy:
            answers.put("busy")


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_none_of_its_parents_locks_and_gets_them_later(locks: Locks) -> None:
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()
    with locks.hold("page", 0):
        child = fork.Process(target=_try, args=(locks, answers))
        child.start()
        assert answers.get() == "busy"
    # A copy of the parent's mutex, which nobody in the child would ever release, must not stop it.
    assert answers.get() == "held"
    child.join(30)
    with locks.hold("page", 0):  # and its end has not taken the parent's connection along
        pass


def test_two_lock_objects_of_one_folder_are_one(tmp_path: Path) -> None:
    one, other = FileLocks(tmp_path), FileLocks(tmp_path / ".." / tmp_path.name)
    with one.hold("page", 0):
        with pytest.raises(Busy), other.hold("page", 0):
            pass
        # The failed attempt must not have opened and closed the file: that would drop the lock.
        with another_process(str(tmp_path), "other"), pytest.raises(Busy), other.hold("page", 0):
            pass


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="locks: cannot use the folder"):
        FileLocks(tmp_path / "file")


def _disconnect(url: str) -> None:
    """End every connection for locks at the server, as a restart would."""
    connection = psycopg2.connect(url)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'koschey locks' AND datname = current_database()"
        )
        assert cursor.fetchall() == [(True,)]
    connection.close()


@pytest.fixture
def advisory(postgres_url: str) -> Iterator[AdvisoryLocks]:
    engine = create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg2://"))
    locks = AdvisoryLocks(engine)
    yield locks
    locks.close()
    engine.dispose()


def test_a_lost_connection_is_opened_again(advisory: AdvisoryLocks, postgres_url: str) -> None:
    with advisory.hold("page", 0):
        pass
    _disconnect(postgres_url)
    with advisory.hold("page", 0):
        pass


def test_a_lock_lost_while_it_was_held_is_said_so(advisory: AdvisoryLocks, postgres_url: str) -> None:
    with capture_logs() as logged, advisory.hold("page", 0):
        _disconnect(postgres_url)
    assert [(line["log_level"], line["key"]) for line in logged] == [("warning", "page")]
    with capture_logs() as logged, advisory.hold("page", 0):
        pass
    assert logged == []


def test_a_database_that_is_down_is_one_clear_error() -> None:
    locks = AdvisoryLocks(create_engine("postgresql+psycopg2://me:canary@127.0.0.1:1/nothing"))
    with (
        pytest.raises(StoreUnavailable, match="locks: no database connection") as raised,
        locks.hold("page", 0),
    ):
        pass
    assert "canary" not in str(raised.value)


def test_locks_need_one_connection_however_many_are_held(advisory: AdvisoryLocks, postgres_url: str) -> None:
    with advisory.hold("one", 0), advisory.hold("other", 0):
        connection = psycopg2.connect(postgres_url)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT state, xact_start IS NULL FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            assert cursor.fetchall() == [("idle", True)]
        connection.close()


def test_the_database_decides_how_far_locks_reach(tmp_path: Path) -> None:
    assert isinstance(make_locks(create_engine("sqlite://"), tmp_path), FileLocks)
    engine = create_engine("postgresql+psycopg2://upstream.example/nothing")
    assert isinstance(make_locks(engine, tmp_path), AdvisoryLocks)


def test_the_lock_file_never_grows(tmp_path: Path) -> None:
    with FileLocks(tmp_path).hold("page", 0):
        assert (tmp_path / "locks").stat().st_size == 0
