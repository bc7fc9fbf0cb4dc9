"""Numbers about the queue: true, the same in every process, and found by indexes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from koschey.stores.database import now
from tests.fake_upstream import FakeUpstream
from tests.service_layer.conftest import Deploy, Deployment, on_both

SECOND = 1_000_000
DAY = 86_400 * SECOND
ROWS = 50_000
SCAN = re.compile(r"Seq Scan on (hold|file)\b")


def hold(here: Deployment, file: int, *, rule: str, state: str = "held", **values: Any) -> None:
    """Put a file of the first project into the queue of ``main``."""
    row = {"until": None, "since": now(), "review": False} | values
    here.execute(
        "INSERT INTO file (id, project_id, filename, path, first_seen, yanked, metadata_advertised, "
        "metadata_stored, attempts) VALUES (:id, (SELECT min(id) FROM project), :name, :name, 0, "
        "false, false, false, 0)",
        id=file,
        name=f"f{file}",
    )
    here.execute(
        "INSERT INTO hold (index_id, file_id, project_id, state, rule, until, since, review) VALUES "
        "((SELECT id FROM \"index\" WHERE name = 'main'), :file, (SELECT min(id) FROM project), :state, "
        ":rule, :until, :since, :review)",
        file=file,
        state=state,
        rule=rule,
        **row,
    )


@on_both
def test_the_numbers_are_those_of_the_queue(deploy: Deploy, upstream: FakeUpstream) -> None:
    here = deploy()
    upstream.project("sample").release("1.0")
    here.look("sample")
    at = now()
    hold(here, 1001, rule="reject", state="rejected", since=at - 90 * DAY)
    hold(here, 1002, rule="time", since=at - 50 * SECOND, until=at + DAY)
    hold(here, 1003, rule="time", since=at - 40 * SECOND, until=at - 7 * SECOND)
    hold(here, 1004, rule="failed-check", since=at - 30 * SECOND, review=True)
    hold(here, 1005, rule="hold", since=at - 20 * SECOND, review=True)
    here.execute("UPDATE file SET due_at = :at WHERE id = 1002", at=at - 9 * SECOND)
    here.execute("UPDATE file SET due_at = :at WHERE id = 1003", at=at + DAY)
    here.execute("DELETE FROM counter WHERE name LIKE 'held:%'")
    main = here.koschey.configuration.index("main").id
    here.execute("INSERT INTO counter (name, value) VALUES (:name, 5)", name=f"held:{main}")

    numbers = here.koschey.metrics.numbers()

    late = (now() - at) / SECOND
    [index] = numbers.indexes
    assert (index.name, index.hidden, index.review, index.failed_checks) == ("main", 5, 2, 1)
    assert 50 <= index.oldest <= 50 + late
    assert 30 <= index.oldest_review <= 30 + late
    assert 7 <= index.sweep_lag <= 7 + late
    assert numbers.checks_due == 1
    assert 9 <= numbers.checks_lag <= 9 + late


@on_both
def test_an_empty_queue_is_all_zeros(deploy: Deploy) -> None:
    numbers = deploy().koschey.metrics.numbers()
    [index] = numbers.indexes
    assert (index.hidden, index.review, index.oldest, index.oldest_review, index.sweep_lag) == (0, 0, 0, 0, 0)
    assert (numbers.checks_due, numbers.checks_lag) == (0, 0)


@on_both
def test_what_is_stored_is_told_as_it_was_counted_last(deploy: Deploy, upstream: FakeUpstream) -> None:
    here = deploy(quarantine_days=0)
    file = upstream.project("sample").release("1.0", sdist=True)
    here.look("sample")
    here.execute("UPDATE file SET stored_at = 1, due_at = NULL WHERE filename = :name", name=file.filename)
    here.execute(
        "INSERT INTO counter (name, value) VALUES ('blobs', 7), ('blobs:bytes', 70), ('evicted', 3), "
        "('evicted:bytes', 30)"
    )
    assert here.koschey.metrics.storage().tallies == ()
    here.koschey.tallies.count()
    at = now()

    storage = here.koschey.metrics.storage()

    [tally] = [tally for tally in storage.tallies if tally.state == "stored"]
    assert (tally.source, tally.kind, tally.files, tally.bytes) == ("upstream", "wheel", 1, len(file.content))
    assert {(t.kind, t.state) for t in storage.tallies} == {("wheel", "stored"), ("sdist", "listed")}
    assert (storage.blobs, storage.blob_bytes) == (7, 70)
    assert (storage.evicted_files, storage.evicted_bytes) == (3, 30)
    assert 0 <= storage.age <= 60 + (now() - at) / SECOND


def test_all_processes_say_the_same(deploy: Deploy, upstream: FakeUpstream) -> None:
    one, other = deploy(), deploy()
    upstream.project("sample").release("1.0")
    one.look("sample")
    hold(one, 1001, rule="failed-check", review=True)
    assert [i.review for i in other.koschey.metrics.numbers().indexes] == [1]


@contextmanager
def statements(here: Deployment) -> Iterator[list[tuple[str, Any]]]:
    """What is asked of the database meanwhile, with its values."""
    asked: list[tuple[str, Any]] = []

    def look(_conn: Any, _cursor: Any, statement: str, values: Any, *_rest: Any) -> None:
        asked.append((statement, values))

    event.listen(here.koschey.engine, "before_cursor_execute", look)
    try:
        yield asked
    finally:
        event.remove(here.koschey.engine, "before_cursor_execute", look)


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
@pytest.mark.parametrize("overdue", [0, ROWS], ids=["in time", "all overdue"])
def test_no_number_takes_a_look_at_every_row(
    deploy: Deploy,
    upstream: FakeUpstream,
    overdue: int,
) -> None:
    here = deploy()
    upstream.project("sample").release("1.0")
    here.look("sample")
    here.execute(
        "INSERT INTO file (id, project_id, filename, path, first_seen, yanked, metadata_advertised, "
        "metadata_stored, attempts, due_at) SELECT 1000 + n, (SELECT min(id) FROM project), 'f' || n, "
        "'p' || n, 0, false, false, false, 0, CASE WHEN n % 500 = 0 THEN n END "
        "FROM generate_series(1, :rows) n",
        rows=ROWS,
    )
    here.execute(
        "INSERT INTO hold (index_id, file_id, project_id, state, rule, until, since, review) "
        'SELECT (SELECT min(id) FROM "index"), 1000 + n, (SELECT min(id) FROM project), '
        "CASE WHEN n < 5000 THEN 'rejected' ELSE 'held' END, 'time', "
        "CASE WHEN n <= :overdue THEN n ELSE :later + n END, n, n % 100 = 0 FROM generate_series(1, :rows) n",
        rows=ROWS,
        overdue=overdue,
        later=now() + DAY,
    )
    here.execute("ANALYZE")
    with statements(here) as asked:
        here.koschey.metrics.numbers()
    looked = [(s, values) for s, values in asked if " hold " in s or " file " in s]
    assert len(looked) == 2
    for statement, values in looked:
        with here.koschey.engine.connect() as connection:
            plan = "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", values))
        assert not SCAN.search(plan), plan
        assert "Index" in plan, plan


def test_the_look_for_sequential_scans_sees_one() -> None:
    assert SCAN.search("->  Seq Scan on hold  (cost=0.00..1.00 rows=1 width=8)")
