"""Reviewing in a browser: the queue, the form that says what it does, keys, two reviewers, hostile names."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.browser.browsing import Site, Visitor
from tests.browser.conftest import Visit
from tests.browser.people import add_people, days_ago, log_in, see
from tests.fake_upstream import FakeUpstream

LONG = "long-" + "a" * 95 + "-" + "b" * 99
_names = itertools.count(1)


@pytest.fixture(scope="module", autouse=True)
def people(site: Site) -> Iterator[None]:
    add_people(site.services)
    yield


@pytest.fixture
def held(site: Site, upstream: FakeUpstream) -> list[str]:
    """Three projects with a version of yesterday each, that come one after the other."""
    names = [f"held-{next(_names)}" for _ in range(3)]
    for name in names:
        upstream.project(name).release("1.0", upload_time=days_ago(100))
        upstream.project(name).release("2.0", upload_time=days_ago(1))
    see(site, upstream, *names)
    return names


@pytest.fixture
def rena(visit: Visit) -> Visitor:
    return log_in(visit(), "rena")


def waiting(visitor: Visitor, prefix: str) -> list[str]:
    """The versions in the tab, by a search."""
    visitor.go(f"/admin/quarantine?tab=waiting&q={prefix}")
    return visitor.page.locator("[data-row] [data-open]").all_inner_texts()


def test_a_version_is_approved_after_the_form_has_said_what_that_does(
    rena: Visitor, site: Site, held: list[str]
) -> None:
    name = held[0]
    assert waiting(rena, name) == [f"{name} 2.0"]
    page = rena.page
    page.get_by_label(f"Select {name} 2.0").check()
    page.get_by_role("button", name="Approve").click()

    form = page.get_by_role("dialog")
    form.get_by_text("1 file becomes visible in 1 index (main)").wait_for()
    assert rena.violations() == []
    assert page.evaluate("document.activeElement.name") == "reason"
    form.get_by_label("Reason").fill("read every line")
    form.get_by_role("button", name="Approve").click()

    page.get_by_role("status").get_by_text(f"{name} 2.0: approved.").wait_for()
    assert page.locator("[data-row]").count() == 0
    said = site.services.audit.events(project=name, action="decision.*")
    assert [(event.actor, event.reason) for event in said] == [("user:rena", "read every line")]
    assert "visible: approved by user:rena" in rena.go(f"/why/{name}/2.0").content()
    assert f"{name} 2.0" in rena.go("/admin/quarantine?tab=released").content().replace("</bdi> <bdi>", " ")


@pytest.mark.parametrize("script", [True, False], ids=["with a script", "without"])
def test_a_reason_is_needed(visit: Visit, held: list[str], script: bool) -> None:
    visitor = log_in(visit(java_script_enabled=script), "rena")
    visitor.expected = ("422",)
    waiting(visitor, held[0])
    page = visitor.page
    page.get_by_label(f"Select {held[0]} 2.0").check()
    page.get_by_role("button", name="Reject").click()
    page.get_by_label("Reason").fill(" \n ")
    page.get_by_role("button", name="Reject", exact=True).click()

    page.get_by_role("alert").get_by_text("a reason is needed").wait_for()
    assert waiting(visitor, held[0]) == [f"{held[0]} 2.0"]


def test_several_are_decided_at_once_without_a_script(visit: Visit, site: Site, held: list[str]) -> None:
    visitor = log_in(visit(java_script_enabled=False), "rena")
    waiting(visitor, "held-")
    page = visitor.page
    for name in held[:2]:
        page.get_by_label(f"Select {name} 2.0").check()
    page.get_by_role("button", name="Extend").click()
    assert page.get_by_role("heading", name="Extend 2 versions").is_visible()
    assert not visitor.overflows()
    page.get_by_label("For how many days").fill("30")
    page.get_by_label("Reason").fill("everybody is on holiday")
    page.get_by_role("button", name="Extend", exact=True).click()

    assert page.get_by_role("status").inner_text() == "2 versions: held for longer."
    assert page.url.endswith("/admin/quarantine?tab=waiting&q=held-")
    for name in held[:2]:
        [event] = site.services.audit.events(project=name, action="decision.hold")
        assert event.reason == "everybody is on holiday"


def test_what_somebody_else_decided_meanwhile_is_shown_and_stands(
    visit: Visit, rena: Visitor, site: Site, held: list[str]
) -> None:
    rena.expected = ("409",)
    waiting(rena, held[0])
    site.services.review.reject(held[0], "2.0", reason="it is malware", actor="ines")

    page = rena.page
    page.get_by_label(f"Select {held[0]} 2.0").check()
    page.get_by_role("button", name="Approve").click()
    page.get_by_label("Reason").fill("looks fine")
    page.get_by_role("dialog").get_by_role("button", name="Approve").click()

    alert = page.get_by_role("alert")
    alert.get_by_text("has changed since you looked: ines said reject").wait_for()
    assert "it is malware" in alert.inner_text()
    [event] = site.services.audit.events(project=held[0], action="decision.*")
    assert event.actor == "ines"


def test_a_queue_is_worked_off_by_the_keyboard_alone(rena: Visitor, held: list[str]) -> None:
    waiting(rena, "held-")
    page = rena.page
    page.evaluate("htmx.config.defaultSettleDelay = 300")  # as on a busy machine
    here = "document.activeElement.innerText"
    rows = page.locator("[data-row] [data-open]").all_inner_texts()
    page.keyboard.press("j")
    assert page.evaluate(here) == rows[0]
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("j")
    assert page.evaluate(here) == rows[1]
    page.keyboard.press("x")
    assert page.get_by_text("1 selected").is_visible()
    page.keyboard.press("r")
    page.get_by_role("dialog").get_by_role("heading", name=f"Reject {rows[1]}").wait_for()
    page.keyboard.type("jar of jokes")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    page.get_by_role("status").get_by_text(f"{rows[1]}: rejected.").wait_for()
    page.wait_for_function("name => document.activeElement.innerText === name", arg=rows[2])
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "q"
    page.keyboard.press("ArrowDown")
    assert page.evaluate(here) == rows[0]
    page.keyboard.press("/")
    page.keyboard.press("End")
    page.keyboard.type("nothing")
    page.get_by_text("Nothing here fits").wait_for()
    assert "q=held-nothing" in page.url


@pytest.mark.parametrize(
    "path",
    ["/admin/", *(f"/admin/quarantine?tab={tab}" for tab in ("review", "waiting", "rejected", "released"))],
)
def test_pages_are_accessible_and_fit(
    rena: Visitor, site: Site, upstream: FakeUpstream, held: list[str], path: str
) -> None:
    upstream.project(LONG).release("2.0", upload_time=days_ago(1))
    see(site, upstream, LONG)
    rena.go(path)

    rena.assert_fits()


def test_an_auditor_sees_and_decides_nothing(visit: Visit, held: list[str]) -> None:
    visitor = log_in(visit(), "otto")
    assert waiting(visitor, held[0]) == [f"{held[0]} 2.0"]
    assert visitor.page.get_by_role("checkbox").count() == 0
    visitor.expected = ("403",)
    visitor.go(f"/admin/decide?verb=approve&case={held[0]}==2.0@x")
    assert visitor.page.get_by_role("heading", name="Forbidden").is_visible()


def test_who_is_nobody_is_led_to_the_log_in_and_back(visit: Visit) -> None:
    visitor = visit()
    page = visitor.go("/admin/quarantine?tab=waiting")
    assert "/login?next=" in page.url
    page.get_by_label("User name").fill("rena")
    page.get_by_label("Password").fill("a horse that is correct 1")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/admin/quarantine?tab=waiting")


def test_everything_that_fits_is_decided_by_a_job_whose_progress_is_shown(
    rena: Visitor, site: Site, upstream: FakeUpstream
) -> None:
    names = [f"many-{number:03}" for number in range(52)]
    for name in names:
        upstream.project(name).release("2.0", upload_time=days_ago(1))
    see(site, upstream, *names)
    assert len(waiting(rena, "many-")) == 50
    page = rena.page
    page.get_by_role("link", name="Older").click()
    page.get_by_role("link", name="many-051").wait_for()
    assert page.locator("[data-row]").count() == 2
    page.get_by_role("link", name="Decide about all that fit").click()
    assert "projects that begin with “many-”" in page.locator("main").inner_text()
    rena.assert_fits()
    page.get_by_label("Reject").check()
    page.get_by_label("Reason").fill("a name that is not ours")
    page.get_by_role("button", name="Decide about all of them").click()

    page.get_by_text("52 versions decided, 0 left as they are, finished").wait_for()
    rena.assert_fits()
    assert waiting(rena, "many-") == []
