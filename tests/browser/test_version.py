"""The page of one version: why, what changed, deciding, taking back, what it needs; nothing of it runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.browsing import Site, Visitor
from tests.browser.conftest import Visit
from tests.browser.people import add_people, days_ago, log_in, see
from tests.fake_upstream import FakeUpstream

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(scope="module", autouse=True)
def packages(site: Site, upstream: FakeUpstream) -> Iterator[None]:
    add_people(site.services)
    for name in ("sample", "needed", "hostile"):
        upstream.project(name).release("1.0", upload_time=days_ago(100))
    upstream.project("needed").release("2.0", upload_time=days_ago(1))
    upstream.project("sample").release(
        "2.0", upload_time=days_ago(1), requires=["needed>=2"], payload="x = '\u202e'\n".encode()
    )
    upstream.project("hostile").release(
        "2.0",
        upload_time=days_ago(1),
        requires=[f"evil ; python_version > '{SCRIPT}'"],
        yanked=SCRIPT,
        requires_python=f">=3{SCRIPT}",
    )
    upstream.project("hostile").set_status("archived", SCRIPT)
    see(site, upstream, "sample", "needed", "hostile")
    for name in ("sample", "hostile"):
        check(site, name)
    yield


def check(site: Site, name: str) -> None:
    """Store and check a project's new files, as a worker does."""
    with site.services.database.reading() as session:
        rows = session.connection().exec_driver_sql(
            "SELECT f.id FROM file f JOIN project p ON p.id = f.project_id "
            f"WHERE p.name = '{name}' AND due_at IS NOT NULL"
        )
        ids = [row[0] for row in rows]
    for file_id in ids:
        site.services.checking.check_file(file_id)


@pytest.fixture
def rena(visit: Visit) -> Visitor:
    return log_in(visit(), "rena")


def test_what_changed_is_shown_once_it_was_compared_and_lines_when_they_are_opened(rena: Visitor) -> None:
    page = rena.go("/admin/quarantine/sample/2.0")
    changes = page.locator("#changes")
    changes.get_by_text("beside sample-1.0-py3-none-any.whl").wait_for()
    changes.get_by_text("needed>=2").wait_for()  # the job is done by then

    risky = changes.get_by_role("listitem").filter(has_text="hidden or direction-changing signs")
    risky.get_by_text("Show the lines").click()

    page.locator("pre.diff mark", has_text="U+202E").wait_for()
    page.wait_for_function("document.activeElement.matches('pre.diff')")
    rena.assert_fits()


def test_without_a_script_the_lines_are_a_page(visit: Visit, site: Site) -> None:
    visitor = log_in(visit(java_script_enabled=False), "rena")
    page = visitor.go("/admin/quarantine/sample/2.0")
    while page.get_by_role("link", name="Look again").is_visible():
        page.get_by_role("link", name="Look again").click()
    page.get_by_role("link", name="Show the lines").first.click()
    assert page.locator("pre.diff").is_visible()


def test_a_decision_is_made_on_the_page_and_taken_back(rena: Visitor, site: Site) -> None:
    page = rena.go("/admin/quarantine/needed/2.0")
    page.keyboard.press("e")
    page.get_by_role("dialog").get_by_label("Reason").fill("ask the authors")
    page.get_by_role("dialog").get_by_role("button", name="Extend").click()
    page.get_by_text("held until review by user:rena: ask the authors").first.wait_for()

    page.get_by_role("link", name="Take back").click()
    rena.assert_fits()
    page.get_by_label("Reason").fill("they have answered")
    page.get_by_role("button", name="Take it back").click()
    page.get_by_role("status").get_by_text("is taken back").wait_for()
    assert page.get_by_text("reverted").is_visible()
    reverted = site.services.audit.events(project="needed", action="decision.revert")
    assert [event.reason for event in reverted] == ["they have answered"]


def test_what_a_version_needs_is_shown_before_all_of_it_is_approved(rena: Visitor, site: Site) -> None:
    page = rena.go("/admin/quarantine/sample/2.0")
    page.get_by_role("link", name="Approve with what it needs").click()
    table = page.get_by_role("table", name="What would be approved")
    assert table.get_by_role("rowheader").count() == 2
    assert table.get_by_text("sample 2.0 requires needed>=2").is_visible()
    rena.assert_fits()

    page.get_by_label("Reason").fill("the team waits for it")
    page.get_by_role("button", name="Approve all of these").click()

    page.get_by_role("status").get_by_text("2 versions are approved").wait_for()
    for name in ("sample", "needed"):
        assert site.services.review_queue.version(name, "2.0") is None


def test_what_a_package_says_is_inert(rena: Visitor) -> None:
    page = rena.go("/admin/quarantine/hostile/2.0")
    page.locator("#changes").get_by_text("files to look at first", exact=False).or_(
        page.locator("#changes").get_by_text("those to look at first")
    ).first.wait_for()

    assert SCRIPT in page.locator("main").inner_text()
    assert page.locator("main script, main img").count() == 0
    rena.go("/admin/quarantine?tab=waiting&q=hostile")
    rena.go(f"/admin/quarantine?tab=waiting&q={SCRIPT}")
    assert page.locator("main img").count() == 0


def test_a_version_that_is_not_known_is_not_found(rena: Visitor) -> None:
    rena.expected = ("404",)
    assert "9.9" in rena.go("/admin/quarantine/sample/9.9").locator("main").inner_text()
