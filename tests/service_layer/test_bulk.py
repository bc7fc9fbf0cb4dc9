"""Deciding about everything that fits: what was there is decided, the rest is left."""

from __future__ import annotations

import pytest

from koschey.errors import NotFound, RequestInvalid
from koschey.services import bulk as bulk_module
from koschey.services.deliberation import Verb
from koschey.services.review_queue import Tab
from koschey.stores.database import now
from tests.fake_upstream import FakeUpstream
from tests.service_layer.conftest import Deploy, Deployment, on_both
from tests.service_layer.test_review import quiet
from tests.service_layer.test_review_queue import HOW, publish, shown

ALL = {"search": "", "index": None, "reason": "trusted team", "actor": "anna"}


@pytest.fixture
def here(deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    monkeypatch.setattr(bulk_module, "_AT_ONCE", 2)
    deployment = quiet(deploy(quarantine_days=7.0))
    tasks = deployment.koschey.tasks
    assert isinstance(tasks, dict)
    tasks["decide_bulk"] = lambda _: None  # the tests call it
    return deployment


@on_both
def test_all_that_was_there_is_decided_and_what_somebody_decided_since_is_left(
    here: Deployment, upstream: FakeUpstream
) -> None:
    bulk = here.koschey.bulk
    publish(here, upstream, "a", "b", "c", "d", "other")
    before = now()
    here.koschey.review.extend("b", "2.0", **HOW)
    publish(here, upstream, "e")

    made = bulk.begin(Verb.APPROVE, Tab.WAITING, before=before, **ALL)
    assert bulk.state(made).state == "running"
    bulk.run(made)
    bulk.run(made)

    assert shown(here, Tab.WAITING) == ["e 2.0"]
    assert shown(here, Tab.REVIEW) == ["b 2.0"]
    state = bulk.state(made)
    assert (state.state, state.done, state.left) == ("done", 4, 0)
    assert [result.case.project for result in bulk.results(made).rows] == ["a", "c", "d", "other"]
    assert [e["subject"] for e in here.events("bulk.begun")] == [f"bulk {made}"]
    approvals = here.events("decision.approve")
    assert len(approvals) == len({event["subject"] for event in approvals}) == 8


def test_what_was_decided_since_and_is_still_there_is_named(here: Deployment, upstream: FakeUpstream) -> None:
    bulk = here.koschey.bulk
    publish(here, upstream, "a", "b")
    before = now()
    here.koschey.review.trust("b", reason="ours", actor="ines")

    made = bulk.begin(Verb.REJECT, Tab.WAITING, before=before, **ALL)
    bulk.run(made)

    [first, second] = bulk.results(made).rows
    assert (first.state, second.state) == ("done", "conflict")
    assert "ines has decided about it since" in second.words
    assert bulk.state(made).left == 1


def test_a_job_that_was_lost_goes_on_where_it_ended_and_can_be_stopped(
    here: Deployment, upstream: FakeUpstream
) -> None:
    bulk = here.koschey.bulk
    publish(here, upstream, "a", "b", "c", "d", "e")
    made = bulk.begin(Verb.REJECT, Tab.WAITING, before=now(), **ALL)
    assert bulk._some(made)  # and then the worker is killed
    assert bulk.state(made).done == 2

    submitted: list[object] = []
    bulk._submit = lambda *job: submitted.append(job)
    bulk.resume()
    assert submitted == [("decide_bulk", made)]

    assert bulk._some(made)
    bulk.stop(made, actor="anna")
    bulk.run(made)
    assert (bulk.state(made).state, bulk.state(made).done) == ("stopped", 4)
    assert shown(here, Tab.WAITING) == ["e 2.0"]
    bulk.resume()
    assert len(submitted) == 1


def test_a_search_and_a_reason_bound_it(here: Deployment, upstream: FakeUpstream) -> None:
    bulk = here.koschey.bulk
    publish(here, upstream, "team-a", "team-b", "other")
    with pytest.raises(RequestInvalid, match="a reason"):
        bulk.begin(Verb.APPROVE, Tab.WAITING, before=now(), **{**ALL, "reason": " "})
    with pytest.raises(NotFound):
        bulk.state(99)

    bulk.run(bulk.begin(Verb.APPROVE, Tab.WAITING, before=now(), **{**ALL, "search": "team-"}))

    assert shown(here, Tab.WAITING) == ["other 2.0"]
