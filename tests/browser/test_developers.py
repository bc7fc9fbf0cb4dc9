"""Pages for developers: finding a project, reading about it, asking for what is held, tools, tokens."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page

from koschey.domain.permissions import Role, Scope
from koschey.hookspecs import SignInRequest
from tests.browser.browsing import NARROW, Site, Visitor
from tests.browser.conftest import Visit
from tests.fake_upstream import FakeUpstream
from tests.hosting import host

PASSWORD = "correct horse battery staple"
#: What a project may try in every place where its words are shown.
ATTACK = """<script>window.evil=1</script><img src=x onerror="window.evil=1">"""
README = f"""# Sample

A **library** for [things](https://things.example/) and [others](javascript:window.evil=1).

![the badge](https://tracker.example/badge.svg)

{ATTACK}

<a href="/" hx-get="/logout" data-hx-trigger="load" id="main" class="skip" style="position:fixed">over all</a>

## Use

```python
import sample
```

| a | b |
|---|---|
| 1 | 2 |
"""
FIELDS = (
    f"Summary: Does things {ATTACK}",
    f"Author: Ada {ATTACK}",
    "License-Expression: MIT",
    f"Keywords: things,{ATTACK}",
    f"Project-URL: Evil {ATTACK}, javascript:window.evil=1",
    f"Project-URL: Source {ATTACK}, https://things.example/src",
    f"Classifier: Topic :: {ATTACK}",
    "Description-Content-Type: text/markdown",
)
LONG = "long-" + "name-" * 38 + "end"


def days_ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat().replace("+00:00", "Z")


@pytest.fixture(scope="module", autouse=True)
def _filled(site: Site, upstream: FakeUpstream) -> Iterator[None]:
    """Projects with old and new releases, and two people."""
    sample = upstream.project("sample")
    sample.release(
        "1.0", upload_time=days_ago(90), sdist=True, requires_python=">=3.9", yanked=f"bad {ATTACK}"
    )
    sample.release("1.1", upload_time=days_ago(60), requires=["other>=1"], fields=FIELDS, description=README)
    sample.release("2.0", upload_time=days_ago(1))
    for name in ("sample-extras", "pytest-sample", LONG):
        upstream.project(name).release("1.0", upload_time=days_ago(50))
    source = site.services.configuration.upstreams()[0]
    for name in ("sample", "sample-extras", "pytest-sample", LONG):
        site.services.catalog.refresh(source.id, name)  # type: ignore[arg-type]
    for name, role in (("dora", None), ("rita", Role.REVIEWER)):
        site.services.accounts.create(name, password=PASSWORD, role=role, actor="test")
    host(site.services, "acme-tools")
    site.services.grants.add(Role.PUBLISHER, "rita", index=None, pattern="acme-*", actor="test")
    yield


def logged_in(visitor: Visitor, name: str, onward: str = "/") -> Page:
    page = visitor.go(f"/login?next={onward}")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Log in").click()
    page.wait_for_url(f"**{onward}")
    return page


@pytest.mark.parametrize("script", [True, False], ids=["with a script", "without"])
def test_a_project_is_found_by_a_part_of_its_name(visit: Visit, script: bool) -> None:
    visitor = visit(java_script_enabled=script)
    page = visitor.go("/search")
    page.get_by_label("Find a project").fill("sample")
    if not script:
        page.get_by_role("main").get_by_role("button", name="Search").click()
    links = page.get_by_role("region", name="Projects").get_by_role("link")
    links.first.wait_for()
    assert links.all_inner_texts() == ["sample", "sample-extras", "pytest-sample"]
    links.first.click()
    page.get_by_role("heading", level=1, name="sample 1.1").wait_for()


def test_what_a_project_says_of_itself_is_shown_and_does_nothing(visit: Visit) -> None:
    page = visit().go("/projects/sample/")

    readme = page.locator(".readme")
    assert readme.get_by_role("heading", name="Use").is_visible()
    assert readme.get_by_role("link", name="things").get_attribute("href") == "https://things.example/"
    assert readme.locator("img, script, [id], [class], [style], [hx-get], [data-hx-trigger]").count() == 0
    assert "the badge" in readme.inner_text()
    assert page.get_by_role("main").locator("a[href^=javascript]").count() == 0
    assert page.get_by_text("Does things <script>").is_visible()
    assert page.evaluate("typeof window.evil") == "undefined"


def test_the_versions_say_why_they_can_be_installed_or_not(visit: Visit) -> None:
    page = visit().go("/projects/sample/")

    rows = page.get_by_role("region", name="Versions").get_by_role("row")
    assert [row.split("\t")[:2] for row in rows.all_inner_texts()[1:]] == [
        ["2.0", "held"],
        ["1.1", "visible"],
        ["1.0", "visible"],
    ]
    assert "pip install --index-url" in page.get_by_label("the line for pip").inner_text()
    assert "sample==1.1" in page.get_by_label("the line for pip").inner_text()
    assert page.get_by_role("link", name="sample-1.1-py3-none-any.whl").is_visible()
    page.get_by_role("link", name="1.0", exact=True).click()
    assert page.get_by_text("Yanked: bad <script>").first.is_visible()


def test_a_spelling_of_a_name_leads_to_the_project(visit: Visit) -> None:
    page = visit().go("/projects/Sample_Extras")
    assert page.url.endswith("/projects/sample-extras/")


@pytest.mark.parametrize("script", [True, False], ids=["with a script", "without"])
def test_a_held_version_is_asked_for_and_the_answer_reaches_who_asked(
    visit: Visit, site: Site, script: bool
) -> None:
    visitor = visit(java_script_enabled=script)
    page = visitor.go("/projects/sample/2.0/")
    page.get_by_role("link", name="Sign in").click()
    page = logged_in(visitor, "dora", "/projects/sample/2.0/")
    page.get_by_label("Why do you need it?").fill(f"our build {ATTACK}")
    page.get_by_role("button", name="Ask for 2.0").click()
    page.get_by_text("You asked for sample 2.0").wait_for()
    assert page.get_by_role("heading", name="1 person asks for it").is_visible()

    reviewer = visit(java_script_enabled=script)
    desk = logged_in(reviewer, "rita", "/admin/requests")
    assert desk.get_by_text("our build <script>").is_visible()
    desk.get_by_text("Refuse…").click()
    desk.get_by_label("Why not").fill("2.1 comes tomorrow")
    desk.get_by_role("button", name="Refuse sample 2").click()
    desk.get_by_text("stays as it is").first.wait_for()

    page = visitor.go("/requests")
    row = page.get_by_role("row").nth(1)
    assert "refused" in row.inner_text() and "2.1 comes tomorrow" in row.inner_text()


def test_asking_without_a_reason_says_what_is_missing(visit: Visit) -> None:
    visitor = visit(java_script_enabled=False)
    visitor.expected = ("422",)
    page = logged_in(visitor, "dora", "/projects/sample/2.0/")
    page.get_by_label("Why do you need it?").fill(" ")
    page.get_by_role("button", name="Ask for 2.0").click()
    page.get_by_text("a reason is needed").wait_for()


def test_requests_are_for_those_who_review(visit: Visit, site: Site) -> None:
    visitor = visit()
    visitor.expected = ("403",)
    page = logged_in(visitor, "dora")
    assert page.get_by_role("link", name="Requests", exact=True).count() == 0
    visitor.go("/admin/requests")
    assert page.get_by_role("heading", level=1).inner_text() == "Forbidden"


def test_somebody_makes_a_token_that_works_and_revokes_it(visit: Visit, site: Site) -> None:
    page = logged_in(visit(), "dora", "/account")
    page.get_by_label("Note").fill("laptop")
    page.get_by_role("button", name="Make the token").click()
    secret = page.get_by_label("the token", exact=True).inner_text()
    request = SignInRequest(method="GET", path="/")
    actor = site.services.authentication.authenticate(f"Bearer {secret}", request)
    assert (actor.name, actor.scopes) == ("dora", {Scope.READ})

    page.goto(page.url)  # as somebody does who loads the page again
    assert page.url.endswith("/account")
    assert secret not in page.content()
    page.get_by_role("button", name="Revoke token").click()
    page.get_by_text("is revoked").wait_for()
    assert page.get_by_role("button", name="Revoke token").count() == 0


def test_the_lines_for_tools_have_the_real_address(visit: Visit, site: Site) -> None:
    page = visit().go("/setup")
    assert (
        f"index-url = {site.url}/simple/" in page.get_by_label("the lines for pip", exact=True).inner_text()
    )
    twine = page.get_by_label("the lines for twine", exact=True).inner_text()
    assert f"repository = {site.url}/legacy/" in twine


@pytest.mark.parametrize("script", [True, False], ids=["with a script", "without"])
def test_a_publisher_yanks_a_version_on_the_projects_page(visit: Visit, script: bool) -> None:
    page = logged_in(visit(java_script_enabled=script), "rita", "/projects/acme-tools/")
    card = page.get_by_role("region", name="Look after it")
    for fold, button, words in (
        ("Yank…", "Yank", "acme-tools==1.0: yanked."),
        ("Yank no more…", "Take the yank back", "acme-tools==1.0: yanked no more."),
    ):
        card.get_by_text(fold, exact=True).click()
        form = card.locator("details[open]")
        form.get_by_label("Version").fill("1.0")
        form.get_by_label("Reason").fill("it broke")
        form.get_by_role("button", name=button, exact=True).click()
        page.get_by_text(words).first.wait_for()


@pytest.mark.parametrize("look", [{}, {"color_scheme": "dark"}, {"viewport": NARROW}], ids=str)
def test_pages_are_accessible_and_fit(visit: Visit, look: dict[str, object]) -> None:
    visitor = visit(**look)
    visitor.expected = ("404",)
    logged_in(visitor, "rita")
    for path in (
        "/search",
        "/search?q=sample",
        "/search?q=nothing",
        "/projects/sample/",
        "/projects/sample/2.0/",
        "/projects/sample/9/",
        "/projects/acme-tools/",
        f"/projects/{LONG}/",
        "/setup",
        "/account",
        "/requests",
        "/admin/requests",
        "/admin/requests?state=refused",
    ):
        visitor.go(path)
        assert visitor.violations(colours="color_scheme" in look) == [], path
        assert not visitor.overflows(), path
