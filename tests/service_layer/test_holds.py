"""What is recorded of verdicts: the queue of each index, its count, one event for each change, the serial."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from koschey.services.holds import Holds, Settled
from koschey.stores.database import now
from tests.fake_upstream import FakeUpstream
from tests.service_layer.conftest import Deployment, on_both
from tests.upstream_pages import Project

DAY = 86_400 * 10**6


def ago(**span: float) -> str:
    return (datetime.now(UTC) - timedelta(**span)).isoformat().replace("+00:00", "Z")


@pytest.fixture
def sample(here: Deployment, upstream: FakeUpstream) -> Project:
    """An old and a fresh release, in one index of 7 and one of 30 days."""
    here.koschey.indexes.add_index("strict", ["upstream"], hold_days=30, actor="test")
    project = upstream.project("sample")
    project.release("1.0", upload_time=ago(days=10))
    project.release("2.0", upload_time=ago(hours=1))
    return project


def settle(here: Deployment, **options: Any) -> Settled:
    holds = Holds(here.koschey.configuration)
    ids = [row["id"] for row in here.rows("SELECT id FROM project")]
    with here.koschey.database.transaction() as tx:
        return holds.settle(tx, ids, **({"actor": "test", "at": now()} | options))


def queue(here: Deployment, index: str = "main") -> dict[str, tuple[str, str]]:
    rows = here.rows(
        "SELECT f.filename, h.state, h.rule FROM hold h JOIN file f ON f.id = h.file_id "
        'JOIN "index" i ON i.id = h.index_id WHERE i.name = :index',
        index=index,
    )
    return {row["filename"]: (row["state"], row["rule"]) for row in rows}


def counted(here: Deployment) -> dict[str, int]:
    counters = {row["name"]: row["value"] for row in here.rows("SELECT name, value FROM counter")}
    return {
        row["name"]: counters.get(f"held:{row['id']}", 0) for row in here.rows('SELECT id, name FROM "index"')
    }


def changes(here: Deployment) -> list[tuple[str, str, str, str]]:
    found = here.events("file.held", "file.released", "file.rejected")
    return sorted((e["index"], e["subject"], e["before"], e["after"]) for e in found)


@on_both
def test_each_index_has_its_own_queue_with_its_count_and_its_events(
    here: Deployment, sample: Project
) -> None:
    here.look("sample")

    old, fresh = sample.files
    assert queue(here) == {fresh: ("held", "time")}
    assert queue(here, "strict") == {old: ("held", "time"), fresh: ("held", "time")}
    assert counted(here) == {"main": 1, "strict": 2}
    assert changes(here) == [
        ("main", fresh, "new", "held (time)"),
        ("strict", old, "new", "held (time)"),
        ("strict", fresh, "new", "held (time)"),
    ]


@on_both
def test_settling_again_changes_nothing(here: Deployment, sample: Project) -> None:
    here.look("sample")
    before = (queue(here), counted(here), changes(here), here.project("sample")["serial"])

    assert settle(here) == Settled(0, 0, 0)

    assert (queue(here), counted(here), changes(here), here.project("sample")["serial"]) == before


@on_both
def test_a_hold_that_ends_leaves_the_queue_with_one_event_and_a_new_page(
    here: Deployment, sample: Project
) -> None:
    old, fresh = sample.files
    here.look("sample")
    serial = here.project("sample")["serial"]
    here.execute("UPDATE file SET checks = :checks", checks=passed(here))

    assert settle(here, at=now() + 8 * DAY, actor="koschey") == Settled(released=1, held=0, rejected=0)

    assert queue(here) == {}
    assert queue(here, "strict").keys() == {old, fresh}
    assert counted(here) == {"main": 0, "strict": 2}
    [released] = here.events("file.released")
    assert (released["subject"], released["index"], released["actor"]) == (fresh, "main", "koschey")
    assert (released["before"], released["after"]) == ("held (time)", "visible (time)")
    assert here.project("sample")["serial"] == released["serial"] > serial


def passed(here: Deployment) -> str:
    return " ".join(f"{check}=pass" for check in sorted(here.koschey.configuration.index("main").checks))


def test_only_the_files_that_are_named_are_settled(here: Deployment, sample: Project) -> None:
    old, fresh = sample.files
    here.look("sample")
    here.execute("UPDATE file SET withdrawn_at = 1")

    settle(here, file_ids=[here.file(old)["id"]])

    assert queue(here) == {old: ("rejected", "withdrawn"), fresh: ("held", "time")}
    assert counted(here) == {"main": 2, "strict": 2}


def test_another_end_of_the_same_hold_is_recorded_without_an_event(here: Deployment, sample: Project) -> None:
    here.look("sample")
    before = changes(here)
    here.koschey.policies.set("main", "sample", 20, actor="test", reason="longer")
    untils = [row["until"] for row in here.rows("SELECT until FROM hold ORDER BY index_id, file_id")]

    settle(here)

    after = [row["until"] for row in here.rows("SELECT until FROM hold ORDER BY index_id, file_id")]
    assert len(after) == len(untils) + 1, "ten days are less than twenty"
    assert max(after) == max(untils) and set(after) != set(untils)
    assert [change for change in changes(here) if change not in before] == [
        ("main", next(iter(sample.files)), "visible", "held (time)")
    ]


def test_what_an_index_no_longer_has_leaves_its_queue(here: Deployment, sample: Project) -> None:
    here.look("sample")

    here.koschey.indexes.edit_index("strict", sources=["hosted"], hold_days=None, actor="test")
    settle(here)

    assert (queue(here, "strict"), counted(here)) == ({}, {"main": 1, "strict": 0})
    assert len(queue(here)) == 1


def test_a_transaction_that_fails_leaves_neither_queue_nor_event(here: Deployment, sample: Project) -> None:
    here.look("sample")
    before = (queue(here), counted(here), changes(here))
    holds = Holds(here.koschey.configuration)

    with pytest.raises(ZeroDivisionError), here.koschey.database.transaction() as tx:
        holds.settle(tx, [here.project("sample")["id"]], actor="test", at=now() + 40 * DAY)
        raise ZeroDivisionError

    assert (queue(here), counted(here), changes(here)) == before


@on_both
def test_the_sweep_records_that_a_trust_ran_out(here: Deployment, sample: Project) -> None:
    _, fresh = sample.files
    here.look("sample")
    here.execute("UPDATE file SET checks = :checks", checks=passed(here))
    here.koschey.review.trust("sample", reason="ours", actor="rena", expires_at=now() + DAY)
    assert queue(here) == {}

    here.execute("UPDATE decision SET expires_at = :past", past=now() - 1)
    here.koschey.tasks["release_due"]()

    assert queue(here) == {fresh: ("held", "time")}
    assert ("main", fresh, "visible", "held (time)") in changes(here)
    before = changes(here)
    here.koschey.tasks["release_due"]()
    assert changes(here) == before
