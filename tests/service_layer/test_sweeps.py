"""The sweeps: whatever time, a policy or a crash left undone is found in the database and done once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog.testing

from koschey.services import settling, sweeps
from koschey.services.holds import Holds
from koschey.services.settling import Settling
from koschey.services.sweeps import Sweeps
from koschey.services.sync_progress import Progress
from koschey.stores.database import now
from tests.fake_upstream import FakeUpstream
from tests.service_layer.conftest import Deploy, Deployment, on_both

ALL_CHECKS = (
    "archive=pass build-scripts=pass dependencies=pass entry-points=pass integrity=pass metadata=pass "
    "name=pass native=pass provenance=pass record=pass silence=pass size=pass startup=pass"
)
Submitted = list[tuple[Any, ...]]


def _ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat().replace("+00:00", "Z")


@pytest.fixture
def here(deploy: Deploy) -> Deployment:
    """A process in which nothing is done that the test does not do."""
    deployment = deploy()
    deployment.koschey.queue.close()
    return deployment


@pytest.fixture
def submitted() -> Submitted:
    """What the sweeps of ``swept`` handed over."""
    return []


@pytest.fixture
def steps(here: Deployment) -> Settling:
    services = here.koschey
    return Settling(services.database, services.configuration, Holds(services.configuration))


@pytest.fixture
def swept(here: Deployment, steps: Settling, submitted: Submitted) -> Sweeps:
    services = here.koschey
    holds = Holds(services.configuration)
    return Sweeps(
        services.database,
        services.locks,
        holds,
        steps,
        services.catalog,
        lambda *job: submitted.append(job),
    )


def _held(here: Deployment) -> dict[str, dict[str, Any]]:
    rows = here.rows("SELECT h.*, f.filename FROM hold h JOIN file f ON f.id = h.file_id")
    return {row["filename"]: row for row in rows}


def _counted(here: Deployment) -> int:
    return sum(row["value"] for row in here.rows("SELECT value FROM counter WHERE name LIKE 'held:%'"))


def _let_holds_end(here: Deployment) -> None:
    """Ten days pass: everything that is known becomes that much older."""
    span = 10 * 86_400_000_000
    here.execute(
        "UPDATE file SET upload_time = upload_time - :span, first_seen = first_seen - :span, "
        "previous_look = previous_look - :span, checks = COALESCE(checks, :checks)",
        span=span,
        checks=ALL_CHECKS,
    )
    here.execute('UPDATE "hold" SET until = until - :span', span=span)


@on_both
def test_a_hold_that_ended_is_recorded_once(here: Deployment, swept: Sweeps, upstream: FakeUpstream) -> None:
    project = upstream.project("sample")
    wheel = project.release("1.0", sdist=True, upload_time=_ago(1))
    here.look("sample")
    assert len(_held(here)) == _counted(here) == 2
    serial = here.project("sample")["serial"]
    _let_holds_end(here)

    swept.release_due()
    swept.release_due()

    assert _held(here) == {}
    assert _counted(here) == 0
    released = here.events("file.released")
    assert {event["subject"] for event in released} == {wheel.filename, "sample-1.0.tar.gz"}
    assert len(released) == 2
    assert {event["actor"] for event in released} == {"koschey"}
    assert here.project("sample")["serial"] > serial
    assert here.listed("sample") == {wheel.filename, "sample-1.0.tar.gz"}


def test_many_ended_holds_are_recorded_in_batches(
    here: Deployment, swept: Sweeps, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "_FILES_AT_ONCE", 5)
    monkeypatch.setattr(sweeps, "_PROJECTS_AT_ONCE", 2)
    for name in ("one", "two", "three", "four"):
        for version in ("1.0", "1.1", "1.2"):
            upstream.project(name).release(version, upload_time=_ago(1))
        here.look(name)
    _let_holds_end(here)

    swept.release_due()

    assert _held(here) == {}
    assert len(here.events("file.released")) == 12
    assert len({event["serial"] for event in here.events("file.released")}) > 2


def test_a_hold_whose_checks_are_missing_stays_and_is_not_looked_at_for_ever(
    here: Deployment, swept: Sweeps, upstream: FakeUpstream
) -> None:
    wheel = upstream.project("sample").release("1.0", upload_time=_ago(1))
    here.look("sample")
    _let_holds_end(here)
    here.execute("UPDATE file SET checks = NULL")

    swept.release_due()

    assert [(row["rule"], row["until"]) for row in _held(here).values()] == [("missing-check", None)]
    assert here.events("file.released") == []
    assert here.listed("sample") == set()
    assert _held(here).keys() == {wheel.filename}


def test_a_record_that_cannot_be_brought_in_step_does_not_hold_up_the_sweep(
    here: Deployment, swept: Sweeps, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.project("sample").release("1.0", upload_time=_ago(1))
    here.look("sample")
    here.execute('UPDATE "hold" SET until = 1')
    asked: list[object] = []
    monkeypatch.setattr(Holds, "settle", lambda *given, **_: asked.append(given))

    swept.release_due()
    assert len(asked) == 1  # once, and not for ever


@on_both
def test_work_is_derived_from_the_database_the_oldest_first(
    here: Deployment, swept: Sweeps, submitted: Submitted, upstream: FakeUpstream
) -> None:
    project = upstream.project("sample")
    files = [project.release(f"1.{n}", upload_time=_ago(1)) for n in range(4)]
    here.look("sample")
    ids = [here.file(file.filename)["id"] for file in files]
    for file_id, due_at, attempts in zip(ids, (3000, 1000, now() + 10**9, 2000), (0, 2, 0, 1), strict=True):
        here.execute(
            "UPDATE file SET due_at = :due, attempts = :n WHERE id = :id", due=due_at, n=attempts, id=file_id
        )

    swept.derive_work(limit=2)

    assert submitted == [("check_file", ids[1], 2), ("check_file", ids[3], 1)]


@on_both
def test_what_a_sync_that_runs_is_about_to_store_is_left_to_it(
    here: Deployment, swept: Sweeps, submitted: Submitted, upstream: FakeUpstream
) -> None:
    wheel = upstream.project("sample").release("1.0", upload_time=_ago(1))
    here.look("sample")
    file_id, source = here.file(wheel.filename)["id"], here.project("sample")["source_id"]
    here.execute(
        "INSERT INTO sync_file (file_id, source_id, attempts) VALUES (:f, :s, 0)", f=file_id, s=source
    )
    Progress(here.koschey.database).put(source, phase="files")
    here.execute("UPDATE file SET due_at = 1")

    swept.derive_work()
    assert submitted == []

    for over in (
        f"UPDATE sync_state SET seen_at = {now() - 10**8}",  # it died
        f"UPDATE sync_state SET seen_at = {now()}, phase = NULL",  # it has ended
        "UPDATE sync_file SET attempts = 1",  # it could not have it
    ):
        here.execute(over)
        swept.derive_work()
        assert submitted.pop() == ("check_file", file_id, 0)
        here.execute(f"UPDATE sync_state SET seen_at = {now()}, phase = 'files'")


@on_both
def test_a_changed_policy_is_settled_and_what_it_wants_checked_is_due(
    here: Deployment, swept: Sweeps, upstream: FakeUpstream
) -> None:
    project = upstream.project("sample")
    old = project.release("1.0", upload_time=_ago(400))
    middle = project.release("1.1", upload_time=_ago(20))
    here.look("sample")
    assert _held(here) == {}
    assert here.file(middle.filename)["due_at"] is None

    here.koschey.indexes.edit_index("main", sources=None, hold_days=30, actor="test")
    swept.settle_policies()

    assert _held(here).keys() == {middle.filename}
    assert _counted(here) == 1
    assert here.file(middle.filename)["due_at"] is not None
    assert here.file(old.filename)["due_at"] is None
    assert [event["subject"] for event in here.events("file.held")] == [middle.filename]
    [index] = here.rows('SELECT settled_version, policy_version FROM "index"')
    assert index["settled_version"] == index["policy_version"]

    here.koschey.indexes.edit_index("main", sources=None, hold_days=7, actor="test")
    swept.settle_policies()

    assert _held(here) == {}
    assert [event["subject"] for event in here.events("file.released")] == [middle.filename]


def _projects(here: Deployment, upstream: FakeUpstream, count: int) -> None:
    for number in range(count):
        upstream.project(f"sample-{number}").release("1.0", upload_time=_ago(20))
        here.look(f"sample-{number}")


@on_both
def test_settling_that_was_cut_short_goes_on_where_it_was(
    here: Deployment,
    swept: Sweeps,
    steps: Settling,
    upstream: FakeUpstream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settling, "_PROJECTS_AT_ONCE", 2)
    swept.settle_policies()
    _projects(here, upstream, 5)
    here.koschey.indexes.edit_index("main", sources=None, hold_days=30, actor="test")
    assert steps.step()
    assert len(_held(here)) == 2

    swept.settle_policies()

    assert len(_held(here)) == _counted(here) == 5
    assert len(here.events("file.held")) == 5


@on_both
def test_settling_starts_over_when_the_policy_changes_meanwhile(
    here: Deployment,
    swept: Sweeps,
    steps: Settling,
    upstream: FakeUpstream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settling, "_PROJECTS_AT_ONCE", 2)
    swept.settle_policies()
    _projects(here, upstream, 5)
    edit = here.koschey.indexes.edit_index
    edit("main", sources=None, hold_days=30, actor="test")
    steps.step()
    assert len(_held(here)) == 2
    edit("main", sources=None, hold_days=7, actor="test")

    swept.settle_policies()

    assert _held(here) == {}
    [index] = here.rows('SELECT settled_version, policy_version FROM "index"')
    assert index["settled_version"] == index["policy_version"]


@on_both
def test_a_source_that_left_an_index_leaves_no_records_in_it(
    here: Deployment, swept: Sweeps, upstream: FakeUpstream
) -> None:
    upstream.project("sample").release("1.0", upload_time=_ago(1))
    here.look("sample")
    assert len(_held(here)) == 1

    here.koschey.indexes.edit_index("main", sources=[], hold_days=None, actor="test")
    swept.settle_policies()

    assert _held(here) == {}
    assert _counted(here) == 0


def _make_stale(here: Deployment, *names: str) -> None:
    for name in names:
        here.execute("UPDATE project SET looked_at = looked_at - 86400000000 WHERE name = :name", name=name)


@on_both
def test_old_pages_of_what_is_held_or_in_use_are_looked_at_and_others_are_not(
    here: Deployment, swept: Sweeps, upstream: FakeUpstream
) -> None:
    upstream.project("held").release("1.0", upload_time=_ago(1))
    for name in ("used", "idle", "fresh"):
        upstream.project(name).release("1.0", upload_time=_ago(400))
    for name in ("held", "used", "idle", "fresh"):
        here.look(name)
    for name in ("used", "fresh"):
        here.execute(
            "INSERT INTO download (day, index_id, file_id, actor, count, last_at) "
            "VALUES (:day, 1, :file, 'x', 1, 1)",
            day=now() // 86_400_000_000,
            file=here.file(f"{name}-1.0-py3-none-any.whl")["id"],
        )
    _make_stale(here, "held", "used", "idle")
    before = {name: upstream.count(name) for name in ("held", "used", "idle", "fresh")}

    swept.refresh_stale()

    after = {name: upstream.count(name) - before[name] for name in before}
    assert after == {"held": 1, "used": 1, "idle": 0, "fresh": 0}


def test_one_look_for_old_pages_goes_on_behind_the_one_before(
    here: Deployment, swept: Sweeps, upstream: FakeUpstream
) -> None:
    names = [f"sample-{number}" for number in range(5)]
    for name in names:
        upstream.project(name).release("1.0", upload_time=_ago(1))
        here.look(name)
    _make_stale(here, *names)
    asked: list[int] = []

    for _ in range(3):
        swept.refresh_stale(limit=2)
        asked.append(sum(upstream.count(name) for name in names) - 5)

    assert asked == [2, 4, 5]
    _make_stale(here, *names)
    swept.refresh_stale(limit=2)
    assert sum(upstream.count(name) for name in names) == 12, "and begins again"


def test_of_an_upstream_that_is_out_not_every_old_page_is_asked_for(
    here: Deployment, swept: Sweeps, upstream: FakeUpstream
) -> None:
    names = [f"sample-{number}" for number in range(9)]
    for name in names:
        upstream.project(name).release("1.0", upload_time=_ago(1))
        here.look(name)
    _make_stale(here, *names)
    for name in names:
        upstream.fail(name, status=500)

    with structlog.testing.capture_logs() as lines:
        swept.refresh_stale()

    assert sum(line["event"] == "page.stale" for line in lines) == 3


def test_a_withdrawal_is_seen_though_nobody_asks(
    here: Deployment, swept: Sweeps, upstream: FakeUpstream
) -> None:
    project = upstream.project("sample")
    project.release("1.0", upload_time=_ago(400))
    bad = project.release("1.1", upload_time=_ago(1))
    here.look("sample")
    project.vanish(bad.filename)
    _make_stale(here, "sample")

    swept.refresh_stale()

    assert [event["subject"] for event in here.events("file.rejected")] == [bad.filename]


def test_a_sweep_that_runs_elsewhere_is_left_to_that_process(
    here: Deployment, deploy: Deploy, swept: Sweeps, upstream: FakeUpstream
) -> None:
    upstream.project("sample").release("1.0", upload_time=_ago(1))
    here.look("sample")
    _let_holds_end(here)

    with here.koschey.locks.hold("sweep:release_due", 0.0):
        swept.release_due()
        assert len(_held(here)) == 1
    swept.release_due()

    assert _held(here) == {}
