"""The reviewers' queue: versions in tabs, each once, with what was seen of them."""

from __future__ import annotations

import pytest

from koschey.errors import NotFound, Overtaken, RequestInvalid
from koschey.services.deliberation import Case, Verb
from koschey.services.queued_versions import QueuedVersion, Risk
from koschey.services.review_queue import Tab
from tests.fake_upstream import FakeUpstream
from tests.service_layer.conftest import Deploy, Deployment, on_both
from tests.service_layer.test_review import fresh, quiet

HOW = {"reason": "looked at it", "actor": "anna"}


@pytest.fixture
def here(deploy: Deploy) -> Deployment:
    return quiet(deploy(quarantine_days=7.0))


def publish(here: Deployment, upstream: FakeUpstream, *names: str, version: str = "2.0") -> None:
    for name in names:
        upstream.project(name).release(version, upload_time=fresh(), sdist=True)
        here.look(name)


def shown(here: Deployment, tab: Tab, **what: object) -> list[str]:
    page = here.koschey.review_queue.page(tab, **what)  # type: ignore[arg-type]
    return [f"{row.project} {row.version}" for row in page.rows]


def one(here: Deployment, name: str, version: str = "2.0") -> QueuedVersion:
    found = here.koschey.review_queue.version(name, version)
    assert found is not None
    return found


@on_both
def test_a_version_stands_once_in_the_tab_of_what_is_most_against_it(
    here: Deployment, upstream: FakeUpstream
) -> None:
    here.koschey.indexes.add_index("team", ["upstream"], hold_days=30, actor="test")
    publish(here, upstream, "first", "second", "third", "fourth")
    here.koschey.review.extend("second", "2.0", **HOW)
    here.koschey.review.reject("third", "2.0", index="team", **HOW)
    here.koschey.review.extend("fourth", filename="fourth-2.0.tar.gz", **HOW)

    assert shown(here, Tab.REVIEW) == ["second 2.0", "fourth 2.0"]
    assert shown(here, Tab.WAITING) == ["first 2.0", "third 2.0"]
    assert shown(here, Tab.REJECTED) == []
    assert shown(here, Tab.REJECTED, index="team") == ["third 2.0"]
    assert shown(here, Tab.WAITING, index="team") == ["first 2.0"]
    row = one(here, "first")
    assert (row.files, row.indexes, row.risk) == (2, ("main", "team"), Risk.UNKNOWN)
    with pytest.raises(NotFound):
        shown(here, Tab.REVIEW, index="nowhere")


@on_both
def test_pages_go_forth_and_back_and_a_search_goes_by_how_names_begin(
    here: Deployment, upstream: FakeUpstream
) -> None:
    names = [f"name-{letter}" for letter in "abcde"]
    publish(here, upstream, *names, "other")
    queue = here.koschey.review_queue

    first = queue.page(Tab.WAITING, limit=2)
    second = queue.page(Tab.WAITING, limit=2, at=first.older)
    third = queue.page(Tab.WAITING, limit=2, at=second.older)

    found = [row.project for page in (first, second, third) for row in page.rows]
    assert found == [*names, "other"]
    assert third.older is None
    assert queue.page(Tab.WAITING, limit=2, at=third.newer).rows == second.rows
    assert shown(here, Tab.WAITING, search="Name_") == [f"{name} 2.0" for name in names]
    assert shown(here, Tab.WAITING, search="ame") == []
    assert shown(here, Tab.WAITING, search="name%") == []
    with pytest.raises(RequestInvalid):
        queue.page(Tab.REVIEW, at=first.older)


@on_both
def test_a_decision_about_what_is_not_so_any_more_is_refused(
    here: Deployment, upstream: FakeUpstream
) -> None:
    publish(here, upstream, "sample")
    seen = one(here, "sample").seen
    here.koschey.review.extend("sample", "2.0", reason="ask legal", actor="ines")

    for verb in (here.koschey.review.approve, here.koschey.review.reject, here.koschey.review.extend):
        with pytest.raises(Overtaken, match="ines said hold less than a minute ago: ask legal"):
            verb("sample", "2.0", seen=seen, **HOW)
    again = one(here, "sample").seen
    assert again != seen
    here.koschey.review.approve("sample", "2.0", seen=again, **HOW)
    assert here.koschey.review_queue.version("sample", "2.0") is None


def test_a_file_that_came_meanwhile_is_not_approved_unseen(here: Deployment, upstream: FakeUpstream) -> None:
    publish(here, upstream, "sample")
    seen = one(here, "sample").seen
    upstream.project("sample").release("2.0", upload_time=fresh(), wheel=False, sdist=True, payload=b"more")
    upstream.project("sample").release("2.0.0", upload_time=fresh())
    here.look("sample")

    with pytest.raises(Overtaken, match="what is hidden of it"):
        here.koschey.review.approve("sample", "2.0", seen=seen, **HOW)


@pytest.mark.parametrize("listed", [None, "main"], ids=["seen in all", "seen in one"])
def test_what_was_seen_is_decided_in_one_index_of_several(
    here: Deployment, upstream: FakeUpstream, listed: str | None
) -> None:
    here.koschey.indexes.add_index("team", ["upstream"], hold_days=14, actor="test")
    publish(here, upstream, "sample")
    [row] = here.koschey.review_queue.page(Tab.WAITING, index=listed).rows
    here.koschey.review.reject("sample", "2.0", index="main", seen=row.seen, **HOW)

    with pytest.raises(Overtaken, match="anna said reject"):
        here.koschey.review.extend("sample", "2.0", index="team", seen=row.seen, **HOW)


def test_what_a_decision_would_do_is_counted_before(here: Deployment, upstream: FakeUpstream) -> None:
    here.koschey.indexes.add_index("team", ["upstream"], hold_days=0, actor="test")
    here.koschey.tasks["settle_policies"]()
    publish(here, upstream, "first", "second")
    here.koschey.review.reject("second", "2.0", index="main", **HOW)
    cases = [Case("first", "2.0"), Case("second", "2.0")]
    effect = here.koschey.deliberation.effect

    approving = effect(Verb.APPROVE, cases, index="main")
    assert (approving.files, approving.versions, approving.indexes) == (2, 1, ("main",))
    assert approving.obstacles == ("2 of the files are rejected: revert that first",)
    assert effect(Verb.REJECT, [Case("first", "2.0")]).hidden == 2
    assert effect(Verb.RECHECK, cases).files == 4


def test_what_is_refused_of_one_stops_no_other(here: Deployment, upstream: FakeUpstream) -> None:
    publish(here, upstream, "first", "second", "third")
    here.koschey.review.reject("second", "2.0", **HOW)
    cases = [
        Case("first", "2.0", one(here, "first").seen),
        Case("second", "2.0"),
        Case("third", "2.0", "of long ago"),
        Case("nowhere", "1.0"),
    ]

    results = here.koschey.deliberation.carry_out(Verb.APPROVE, cases, reason="read", actor="anna")

    assert [result.state for result in results] == ["done", "conflict", "conflict", "refused"]
    assert here.listed("first") == {"first-2.0-py3-none-any.whl", "first-2.0.tar.gz"}
    with pytest.raises(RequestInvalid, match="a reason"):
        here.koschey.deliberation.carry_out(Verb.REJECT, cases, reason=" ", actor="anna")


def test_what_became_visible_is_listed_by_versions(here: Deployment, upstream: FakeUpstream) -> None:
    publish(here, upstream, "first", "second")
    for name in ("first", "second"):
        here.koschey.review.approve(name, "2.0", **HOW)

    rows = here.koschey.releases.page().rows

    assert [(row.project, row.version, row.files, row.actor) for row in rows] == [
        ("second", "2.0", 2, "anna"),
        ("first", "2.0", 2, "anna"),
    ]
    assert [row.project for row in here.koschey.releases.page(search="First").rows] == ["first"]


@on_both
def test_a_row_says_how_many_people_ask_for_it_and_got_it_lately(
    here: Deployment, upstream: FakeUpstream
) -> None:
    here.koschey.indexes.add_index("team", ["upstream"], hold_days=30, actor="test")
    publish(here, upstream, "first", "other")
    for index, actor in (("main", "ann"), ("main", "bob"), ("team", "cid")):
        here.koschey.asks.ask(index, "first", "2.0", actor=actor, reason="wanted")
    file_id = here.file("first-2.0.tar.gz")["id"]
    for _ in range(3):
        here.koschey.usage.add("main", file_id, "ann")
    here.koschey.usage.flush()

    assert [(row.asking, row.downloads) for row in here.koschey.review_queue.page(Tab.WAITING).rows] == [
        (3, 3),
        (0, 0),
    ]
    found = here.koschey.asks.about("team", "first")["2"]
    here.koschey.asks.refuse(found.id, actor="rena", reason="not now")
    assert one(here, "first").asking == 2
