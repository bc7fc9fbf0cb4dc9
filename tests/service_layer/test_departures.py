"""What the overview says went away upstream: all of it that still is, and nothing that came back."""

from __future__ import annotations

import pytest

from koschey.services.departures import Departure
from koschey.stores.database import now
from tests.fake_upstream import FakeUpstream
from tests.service_layer.conftest import Deployment, on_both
from tests.upstream_pages import Project

DAY = 86_400 * 10**6


@pytest.fixture
def project(here: Deployment, upstream: FakeUpstream) -> Project:
    project = upstream.project("sample")
    project.release("1.0")
    project.release("2.0")
    here.look("sample")
    return project


def departures(here: Deployment) -> list[tuple[str, str]]:
    return [(each.filename or each.project, each.state) for each in here.koschey.departures.latest(10)]


@on_both
def test_a_quarantine_is_not_hidden_by_other_changes_of_status(here: Deployment, project: Project) -> None:
    project.set_status("quarantined", "malware")
    here.look("sample")
    with here.koschey.database.transaction() as tx:
        for number in range(15):
            tx.record(
                "project.status", actor="upstream:upstream", project=f"o-{number}", after="present archived"
            )

    assert departures(here) == [("sample", "quarantined")]

    project.set_status("active")
    here.look("sample")
    assert departures(here) == []


@on_both
def test_what_came_back_is_not_away_and_what_goes_again_is_there_once(
    here: Deployment, upstream: FakeUpstream, project: Project
) -> None:
    wheel = next(iter(project.files.values()))
    for there in (False, True, False):
        project.vanish(wheel.filename) if not there else project.files.update({wheel.filename: wheel})
        project.touch()
        here.look("sample")
    assert departures(here) == [(wheel.filename, "withdrawn")]

    upstream.forget("sample")
    here.look("sample")
    here.execute("UPDATE project SET missing_since = missing_since - 11000000000")
    here.look("sample")
    assert departures(here) == [("sample", "deleted"), (wheel.filename, "withdrawn")]

    upstream.project("sample").release("1.0")
    upstream.project("sample").release("2.0")
    here.look("sample")
    assert departures(here) == []


@on_both
def test_it_says_whether_bytes_are_stored_and_forgets_what_was_long_ago(
    here: Deployment, project: Project
) -> None:
    first, second = project.files.values()
    here.execute("UPDATE file SET stored_at = 1 WHERE filename = :name", name=first.filename)
    for file in (first, second):
        project.vanish(file.filename)
        here.look("sample")

    latest: list[Departure] = here.koschey.departures.latest(10)
    assert [(each.filename, each.upstream, each.stored) for each in latest] == [
        (second.filename, "upstream", False),
        (first.filename, "upstream", True),
    ]
    here.execute("UPDATE event SET at = :at WHERE subject = :name", at=now() - 8 * DAY, name=first.filename)
    assert departures(here) == [(second.filename, "withdrawn")]
    here.execute("UPDATE project SET status = 'quarantined'")
    here.execute("UPDATE event SET action = 'project.status', after = 'present quarantined', subject = NULL")
    here.execute("UPDATE event SET at = :at", at=now())
    assert [each.stored for each in here.koschey.departures.latest(10)] == [True], "some of its files are"
