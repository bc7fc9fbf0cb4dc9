"""Downloads on record: counted in memory, written every few seconds, and never in a download's way."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from koschey.errors import StoreUnavailable
from koschey.services.usage import KEPT_DAYS, UNKNOWN, Usage
from koschey.stores.database import now
from tests.fake_upstream import FakeUpstream
from tests.running import eventually
from tests.service_layer.conftest import Deployment, on_both

DAY = 86_400_000_000


@pytest.fixture
def usage(here: Deployment, upstream: FakeUpstream) -> Iterator[Usage]:
    """Counts downloads, writes when told to, and at the end; ``sample`` is listed with two files."""
    upstream.project("sample").release("1.0", sdist=True)
    here.look("sample")
    made = Usage(here.koschey.database, here.koschey.configuration, flush_seconds=3600.0)
    yield made
    made.close()


def ids(here: Deployment) -> list[int]:
    return [row["id"] for row in here.rows("SELECT id FROM file ORDER BY id")]


def counted(here: Deployment) -> list[tuple[int, str, int]]:
    rows = here.rows("SELECT file_id, actor, count FROM download ORDER BY file_id, actor")
    return [(row["file_id"], row["actor"], row["count"]) for row in rows]


@contextmanager
def before_writing(here: Deployment, act: Any) -> Iterator[None]:
    """Do ``act`` right before each statement that writes downloads."""

    def look(_conn: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("INSERT INTO download"):
            act()

    event.listen(here.koschey.engine, "before_cursor_execute", look)
    try:
        yield
    finally:
        event.remove(here.koschey.engine, "before_cursor_execute", look)


@contextmanager
def warnings() -> Iterator[list[dict[str, Any]]]:
    """What is logged meanwhile, which the tests' own level of logging would leave out."""
    said: list[dict[str, Any]] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.msg)  # type: ignore[method-assign, assignment, arg-type]
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel("WARNING")
    try:
        yield said
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


@on_both
def test_downloads_are_counted_by_day_index_file_and_client(here: Deployment, usage: Usage) -> None:
    wheel, sdist = ids(here)
    for file, client in ((wheel, "10.0.0.1"), (wheel, "10.0.0.2"), (wheel, "10.0.0.1"), (sdist, "10.0.0.1")):
        usage.add("main", file, client)
    usage.flush()
    usage.add("main", wheel, "10.0.0.1")
    usage.flush()

    assert counted(here) == [(wheel, "10.0.0.1", 3), (wheel, "10.0.0.2", 1), (sdist, "10.0.0.1", 1)]
    rows = here.rows("SELECT DISTINCT day, index_id, last_at FROM download")
    main = here.koschey.configuration.index("main").id
    assert {(row["day"], row["index_id"]) for row in rows} <= {(now() // DAY, main), (now() // DAY - 1, main)}
    assert all(now() - 300_000_000 < row["last_at"] <= now() for row in rows)


@on_both
def test_two_processes_add_up(here: Deployment, usage: Usage) -> None:
    other = Usage(here.koschey.database, here.koschey.configuration, flush_seconds=3600.0)
    threads = [
        threading.Thread(target=lambda u=u: [u.add("main", f, "c") or u.flush() for f in ids(here) * 20])
        for u in (usage, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert counted(here) == [(file, "c", 40) for file in ids(here)]
    other.close()


@on_both
def test_a_file_or_index_that_went_away_takes_only_its_own_downloads_along(
    here: Deployment, usage: Usage
) -> None:
    wheel, sdist = ids(here)
    usage.add("main", wheel, "c")
    usage.add("main", sdist, "c")
    usage.add("gone", sdist, "c")
    usage.add("main", 999_999, "c")
    here.execute("DELETE FROM file WHERE id = :id", id=wheel)
    usage.flush()
    assert counted(here) == [(sdist, "c", 1)]


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_file_that_goes_while_its_downloads_are_written_does_not_stop_the_others(
    here: Deployment, usage: Usage
) -> None:
    wheel, sdist = ids(here)
    usage.add("main", wheel, "c")
    usage.add("main", sdist, "c")
    seen = threading.Event()
    gone = threading.Thread(target=lambda: _delete_slowly(here, wheel, seen))
    with before_writing(here, lambda: gone.is_alive() or seen.is_set() or (gone.start(), seen.wait(60))):
        usage.flush()
    gone.join(60)
    assert counted(here) == [(sdist, "c", 1)]


def _delete_slowly(here: Deployment, file_id: int, seen: threading.Event) -> None:
    """Delete a file, and commit once somebody waits for that: the foreign key's look at the file."""
    from sqlalchemy import text

    with here.koschey.database.transaction() as tx:
        tx.session.execute(text("DELETE FROM file WHERE id = :id"), {"id": file_id})
        seen.set()
        eventually(lambda: here.rows("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"), 60)


def test_what_cannot_be_written_now_is_written_later(here: Deployment, usage: Usage) -> None:
    wheel, _ = ids(here)

    def fail() -> None:
        raise StoreUnavailable("database", "it is away")

    usage.add("main", wheel, "c")
    with before_writing(here, fail), warnings() as said:
        usage.flush()
    assert [warning["event"] for warning in said] == ["usage.not_written"]
    assert counted(here) == []
    usage.add("main", wheel, "c")
    usage.flush()
    assert counted(here) == [(wheel, "c", 2)]


def test_memory_is_bounded_and_what_does_not_fit_is_said(here: Deployment) -> None:
    small = Usage(here.koschey.database, here.koschey.configuration, limit=10, flush_seconds=3600.0)
    small._writer.started = True  # nobody writes meanwhile
    for number in range(25):
        small.add("main", 1, f"10.0.0.{number}")
    small.add("main", 1, "10.0.0.1")  # known: still counted
    assert len(small._counts) == 10
    with warnings() as said:
        small.flush()
    assert [(warning["event"], warning["downloads"]) for warning in said] == [("usage.dropped", 15)]


def test_a_crowded_memory_is_written_early(here: Deployment, upstream: FakeUpstream) -> None:
    upstream.project("sample").release("1.0")
    here.look("sample")
    [wheel] = ids(here)
    small = Usage(here.koschey.database, here.koschey.configuration, limit=10, flush_seconds=3600.0)
    for number in range(8):
        small.add("main", wheel, f"10.0.0.{number}")
    eventually(lambda: len(counted(here)) >= 6, 60)
    small.close()
    assert len(counted(here)) == 8


def test_counting_goes_on_by_itself_and_ends_with_a_last_write(
    here: Deployment, upstream: FakeUpstream
) -> None:
    upstream.project("sample").release("1.0")
    here.look("sample")
    [wheel] = ids(here)
    quick = Usage(here.koschey.database, here.koschey.configuration, flush_seconds=0.05)
    quick.add("main", wheel, "")
    eventually(lambda: counted(here) == [(wheel, UNKNOWN, 1)], 60)
    quick.close()
    quick.add("main", wheel, "x" * 5000)
    quick.close()
    assert (wheel, "x" * 200, 1) in counted(here)


def test_a_forked_child_does_not_write_what_its_parent_counted(here: Deployment, usage: Usage) -> None:
    usage.add("main", 1, "c")
    child = os.fork()
    if child == 0:
        os._exit(0 if not usage._counts and not usage._writer.started else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert usage._counts


def test_downloads_of_more_than_a_year_ago_are_forgotten(here: Deployment, usage: Usage) -> None:
    wheel, _ = ids(here)
    today = now() // DAY
    for day in (today, today - KEPT_DAYS, today - KEPT_DAYS - 1, today - 2000):
        here.execute(
            "INSERT INTO download (day, index_id, file_id, actor, count, last_at) "
            "VALUES (:day, 1, :file, 'c', 1, 0)",
            day=day,
            file=wheel,
        )
    usage.sweep()
    days = [row["day"] for row in here.rows("SELECT day FROM download ORDER BY day")]
    assert days == [today - KEPT_DAYS, today]
