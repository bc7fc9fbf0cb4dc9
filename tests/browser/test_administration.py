"""Pages for administrators: what they show and do, and to whom; with and without a script."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page
from sqlalchemy import update

from koschey.domain.permissions import Role, Scope
from koschey.stores.models import File
from tests.browser.browsing import Site, Visitor
from tests.browser.conftest import Visit
from tests.browser.test_developers import ATTACK, LONG, PASSWORD, days_ago
from tests.fake_upstream import FakeUpstream
from tests.hosting import host

#: Every page of theirs that has no part of another one.
PAGES = [
    "/admin/upstreams",
    "/admin/upstreams/+new",
    "/admin/upstreams/upstream",
    "/admin/indexes",
    "/admin/indexes/main",
    "/admin/indexes/main/policy",
    "/admin/projects",
    f"/admin/projects/{LONG}",
    "/admin/trusted",
    "/admin/names",
    "/admin/",
    "/admin/jobs",
    "/admin/system?look=1",
    "/admin/audit",
    "/admin/access",
    "/admin/access/users/dora",
    "/admin/access/groups",
    "/admin/access/groups/builders",
    "/admin/access/grants",
    "/admin/access/tokens",
    "/admin/access/explain?subject=dora&permission=read",
    "/admin/projects?q=nothing",
    "/admin/audit?project=nothing",
]
#: What an auditor may look at, and a reviewer may not.
INSPECTED = [path for path in PAGES if path.startswith(("/admin/access", "/admin/system"))]
CHANGES_ONLY = ["/admin/upstreams/+new", "/admin/indexes/main/policy"]


@pytest.fixture(scope="module", autouse=True)
def _filled(site: Site, upstream: FakeUpstream) -> Iterator[None]:
    for name in ("sample", LONG):
        project = upstream.project(name)
        project.release("1.0", upload_time=days_ago(90))
        project.release("2.0", upload_time=days_ago(1))
    [source] = site.services.configuration.upstreams()
    for name in ("sample", LONG):
        site.services.catalog.refresh(source.id, name)  # type: ignore[arg-type]
    for name, role in {
        "ada": Role.ADMIN,
        "otto": Role.AUDITOR,
        "rita": Role.REVIEWER,
        "dora": Role.READER,
    }.items():
        site.services.accounts.create(name, password=PASSWORD, role=role, actor="test")
    for counted in ("page.ready", "page.made", "upstream.failure"):
        site.services.hourly.add(counted, 3)
    site.services.hourly.flush()
    site.services.tasks["count_hourly"]()
    site.services.groups.create("builders", actor="test")
    site.services.groups.join("builders", "dora", actor="test")
    site.services.tokens.create("dora", scopes={Scope.READ}, description=ATTACK, actor="test")
    yield


_cookies: dict[tuple[str, str], list[Any]] = {}


def logged_in(visitor: Visitor, name: str) -> Visitor:
    """By the form the first time, then by its cookie."""
    kept = _cookies.get((visitor.site.url, name))
    if kept is None:
        page = visitor.go("/login")
        page.get_by_label("User name").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("main").get_by_role("button", name="Log in").click()
        page.wait_for_url("**/")
        _cookies[visitor.site.url, name] = [*visitor.context.cookies()]
    else:
        visitor.context.add_cookies(kept)
    return visitor


@pytest.fixture
def ada(visit: Visit) -> Visitor:
    return logged_in(visit(), "ada")


def said(page: Page) -> str:
    """What the page announces."""
    return page.get_by_role("status").inner_text()


def unfold(page: Page, label: str) -> None:
    page.locator("summary").filter(has_text=label).first.click()


def test_pages_are_accessible_and_fit(ada: Visitor) -> None:
    for path in PAGES:
        ada.go(path)
        ada.assert_fits()


def test_who_may_see_which_page(visit: Visit, site: Site) -> None:
    allowed = {
        "ada": set(PAGES),
        "otto": set(PAGES) - set(CHANGES_ONLY),
        "rita": set(PAGES) - set(CHANGES_ONLY) - set(INSPECTED),
        "dora": set(),
    }
    for name, paths in allowed.items():
        visitor = logged_in(visit(), name)
        visitor.expected = ("403",)
        for path in PAGES:
            answer = visitor.page.request.get(site.url + path, headers={"Accept": "text/html"})
            assert answer.status == (200 if path in paths else 403), (name, path)
    anonymous = visit().page.request.get(site.url + "/admin/audit", headers={"Accept": "text/html"})
    assert "/login" in anonymous.url


def test_an_auditor_is_shown_nothing_that_changes_anything(visit: Visit) -> None:
    visitor = logged_in(visit(), "otto")
    for path in set(PAGES) - set(CHANGES_ONLY):
        main = visitor.go(path).get_by_role("main")
        assert main.locator("form[method=post]").count() == 0, path


@pytest.mark.parametrize("script", [True, False], ids=["with a script", "without"])
def test_an_upstream_is_added_tested_changed_and_removed(
    visit: Visit, site: Site, upstream: FakeUpstream, script: bool
) -> None:
    visitor = logged_in(visit(java_script_enabled=script), "ada")
    visitor.expected = ("422", "409")
    name = "second" if script else "third"
    page = visitor.go("/admin/upstreams/+new")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Address", exact=True).fill("http://files.example/simple/#part")
    page.get_by_role("button", name="Add the upstream").click()
    page.get_by_role("alert").get_by_text("no query and no fragment").wait_for()
    assert page.get_by_label("Name", exact=True).input_value() == name
    page.get_by_label("Address", exact=True).fill(upstream.simple_url)
    page.get_by_label("User name").fill(ATTACK[:60])
    page.get_by_label("Password", exact=True).fill("hunter2-canary")
    page.get_by_role("button", name="Add the upstream").click()
    page.get_by_role("heading", level=1, name=f"Upstream {name}").wait_for()
    assert "is added" in said(page)
    assert "hunter2-canary" not in page.content()

    page.get_by_label("Project", exact=True).fill("sample")
    page.get_by_role("button", name="Test it").click()
    page.get_by_role("heading", name="It answers").wait_for()
    unfold(page, "Edit")
    page.get_by_label("Look again after seconds").fill("60")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("status").get_by_text("is changed").wait_for()
    kept = site.services.upstreams.get(name)
    assert (kept.refresh_seconds, kept.password, kept.username) == (60.0, True, ATTACK[:60])
    unfold(page, "Edit")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("alert").get_by_text("nothing is changed").wait_for()
    unfold(page, "Reset…")
    page.get_by_role("button", name="Forget serials").click()
    page.get_by_role("status").get_by_text("is reset").wait_for()
    unfold(page, "Remove…")
    page.get_by_role("button", name=f"Remove {name}").click()
    page.wait_for_url("**/admin/upstreams")
    events = site.services.audit.events(action="upstream.*")
    assert [(e.action, e.actor) for e in events if e.subject == name] == [
        (f"upstream.{word}", "user:ada") for word in ("remove", "reset", "edit", "add")
    ]
    assert not any("canary" in (e.after or "") + (e.before or "") for e in events)


def test_an_upstream_whose_files_are_known_is_not_removed_in_passing(ada: Visitor) -> None:
    ada.expected = ("409",)
    page = ada.go("/admin/upstreams/upstream")
    unfold(page, "Remove…")
    page.get_by_role("button", name="Remove upstream").click()
    page.get_by_role("alert").get_by_text("would be lost to users").wait_for()


@pytest.mark.parametrize("script", [True, False], ids=["with a script", "without"])
def test_a_rule_shows_what_it_would_do_before_it_is_saved(visit: Visit, site: Site, script: bool) -> None:
    visitor = logged_in(visit(java_script_enabled=script), "ada")
    visitor.expected = ("422",)
    page = visitor.go("/admin/indexes/main")
    page.get_by_role("link", name="Add a rule").click()
    page.get_by_label("Names", exact=True).fill(ATTACK)
    page.get_by_role("button", name="Show what it would do").click()
    page.get_by_role("alert").wait_for()
    page.get_by_label("Names", exact=True).fill("sample")
    page.get_by_label("Days of hold").fill("0")
    for check in page.locator("select[id^=f-check]").all():
        check.select_option("off")
    page.get_by_label("Reason").fill(f"needed {ATTACK}")
    assert page.get_by_role("button", name="Save the rule").count() == 0
    page.get_by_role("button", name="Show what it would do").click()
    page.get_by_text("1 version would appear").wait_for()
    assert "sample 2.0 appears" in page.get_by_role("region", name="What it would do").inner_text()
    assert site.services.policies.list("main")[-1][1].pattern == "*"
    page.get_by_role("button", name="Save the rule").click()
    page.get_by_role("status").get_by_text("is saved").wait_for()

    page.get_by_role("link", name="Remove the rule for sample").click()
    page.get_by_role("button", name="Show what it would do").click()
    page.get_by_text("1 version would vanish").wait_for()
    page.get_by_role("button", name="Remove the rule").click()
    page.get_by_role("status").get_by_text("is gone").wait_for()
    assert [e.action for e in site.services.audit.events(index="main", action="policy.*", limit=2)] == [
        "policy.remove",
        "policy.set",
    ]


def test_indexes_and_hosted_sources_come_go_and_change_their_order(ada: Visitor, site: Site) -> None:
    ada.expected = ("422", "409")
    page = ada.go("/admin/indexes")
    form = page.get_by_role("region", name="Add an index")
    form.get_by_label("Name", exact=True).fill("admin")
    form.get_by_label("upstream", exact=True).fill("1")
    form.get_by_role("button").click()
    page.get_by_role("alert").get_by_text("cannot be named").wait_for()
    form.get_by_label("Name", exact=True).fill("team")
    form.get_by_role("button").click()
    page.get_by_role("heading", level=1, name="Index team").wait_for()
    unfold(page, "Change the order")
    page.get_by_label("hosted", exact=True).fill("2")
    page.get_by_role("button", name="Save the order").click()
    page.get_by_role("status").get_by_text("another order").wait_for()
    assert [source.name for source in site.services.configuration.index("team").sources] == [
        "hosted",
        "upstream",
    ]
    unfold(page, "Accept what upstream has")
    page.get_by_label("Reason").last.fill("all was read")
    page.get_by_role("button", name="Accept all of it").click()
    page.get_by_role("status").get_by_text("visible at once").wait_for()
    unfold(page, "Take back…")
    page.get_by_label("Reason").first.fill("not all was read")
    page.get_by_role("button", name="Take it back").click()
    page.get_by_role("status").get_by_text("held again").wait_for()
    unfold(page, "Remove this index")
    page.get_by_role("button", name="Remove team").click()
    page.wait_for_url("**/admin/indexes")
    form = page.get_by_role("region", name="Add a hosted source")
    form.get_by_label("Name", exact=True).fill("other")
    form.get_by_role("button").click()
    page.get_by_text("Hosted source other is added").wait_for()
    page.locator("summary").filter(has_text="Remove… other").click()
    page.get_by_role("button", name="Remove other").click()
    page.get_by_text("Hosted source other is removed").wait_for()


def test_a_project_is_found_trusted_claimed_and_given_back(ada: Visitor, site: Site) -> None:
    ada.expected = ("422", "409")
    page = ada.go("/admin/projects")
    page.get_by_label("Names that begin with").fill("samp")
    page.get_by_role("link", name="sample").click()
    page.get_by_role("heading", level=1, name="sample").wait_for()
    assert "1.0 is the newest that is visible" in page.get_by_role("main").inner_text()
    unfold(page, "Trust…")
    page.get_by_label("For how many days").fill("-3")
    page.get_by_label("Reason").first.fill(f"read it {ATTACK}")
    page.get_by_role("button", name="Trust it").click()
    page.get_by_role("alert").get_by_text("more than 0").wait_for()
    assert page.get_by_label("Reason").first.input_value() == f"read it {ATTACK}"
    page.get_by_label("For how many days").fill("30")
    page.get_by_role("button", name="Trust it").click()
    page.get_by_role("status").get_by_text("is trusted").wait_for()
    page = ada.go("/admin/trusted")
    assert "read it <script>" in page.get_by_role("region", name="Trusted").inner_text()
    page = ada.go("/admin/projects/sample")
    for fold, button, words in (
        ("Trust no more…", "Take trust back", "trusted no more"),
        ("Claim…", "Claim sample", "company's own now"),
        ("Take the claim back…", "Unclaim sample", "is taken back"),
    ):
        unfold(page, fold)
        page.locator("details[open]").get_by_label("Reason").fill("because")
        if "aim" in button:
            page.get_by_role("button", name="Show what it would do").click()
            page.get_by_text("1 name changes").wait_for()
        page.get_by_role("button", name=button).click()
        page.get_by_role("status").get_by_text(words).wait_for()
    assert page.evaluate("typeof window.evil") == "undefined"


def test_a_name_is_reserved_after_the_page_said_what_that_does(ada: Visitor, site: Site) -> None:
    page = ada.go("/admin/names")
    page.get_by_label("Names", exact=True).fill("samp*")
    page.get_by_label("Reason").fill(f"ours {ATTACK}")
    page.get_by_role("button", name="Show what it would do").click()
    page.get_by_text("1 name changes").wait_for()
    assert site.services.names.rules() == []
    page.get_by_role("button", name="Reserve").click()
    page.get_by_role("status").get_by_text("is reserved").wait_for()
    unfold(page, "Take back…")
    page.locator("details[open]").get_by_label("Reason").fill("not ours")
    page.get_by_role("button", name="Take it back").click()
    page.get_by_role("status").get_by_text("reserved no more").wait_for()


def test_the_companys_own_are_yanked_deleted_and_restored(ada: Visitor, site: Site) -> None:
    ada.expected = ("422",)
    host(site.services, "acme-tools")
    page = ada.go("/admin/projects?show=own")
    page.get_by_role("link", name="acme-tools").click()
    for fold, button, words in (
        ("Yank…", "Yank", "yanked."),
        ("Yank no more…", "Take the yank back", "yanked no more"),
        ("Delete…", "Delete", "deleted"),
        ("Restore…", "Restore", "restored"),
    ):
        unfold(page, fold)
        page.locator("details[open]").get_by_label("Version").fill("1.0")
        page.locator("details[open]").get_by_label("Reason").fill("because")
        page.locator("details[open]").get_by_role("button", name=button, exact=True).click()
        page.get_by_role("status").get_by_text(words).wait_for()
    unfold(page, "Set the status…")
    page.locator("details[open]").get_by_label("Status").select_option("archived")
    page.locator("details[open]").get_by_label("Reason").fill("done")
    page.get_by_role("button", name="Set it").click()
    page.get_by_role("status").get_by_text("is archived now").wait_for()
    unfold(page, "Delete…")
    page.locator("details[open]").get_by_label("Reason").fill("because")
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("alert").get_by_text("say which version").wait_for()
    page = ada.go("/admin/projects?show=unusual")
    page.get_by_role("link", name="acme-tools").wait_for()


def test_the_audit_is_filtered_and_taken_away(ada: Visitor, site: Site) -> None:
    site.services.review.trust(LONG, reason=f"=cmd {ATTACK}", actor="user:ada")
    page = ada.go("/admin/audit")
    page.get_by_label("Action", exact=True).fill("decision.*")
    page.get_by_label("Project", exact=True).fill(LONG.upper())
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**/admin/audit?**")
    rows = page.get_by_role("region", name="Events").get_by_role("row").all_inner_texts()[1:]
    assert len(rows) == 1 and "=cmd <script>" in rows[0]
    assert page.evaluate("typeof window.evil") == "undefined"

    taken = page.request.get(site.url + f"/admin/audit.csv?action=decision.*&project={LONG}")
    [event] = csv.DictReader(io.StringIO(taken.text()))
    assert taken.headers["content-disposition"] == 'attachment; filename="audit.csv"'
    assert event["reason"] == f"'=cmd {ATTACK}" and event["action"] == "decision.trust"
    lines = page.request.get(site.url + "/admin/audit.jsonl").text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == sorted(
        (e.id for e in site.services.audit.events(limit=1000)), reverse=True
    )
    ada.expected = ("400",)
    page = ada.go("/admin/audit?since=yesterday")
    page.get_by_text("a date such as").wait_for()


@pytest.mark.parametrize("script", [True, False], ids=["with a script", "without"])
def test_a_user_comes_gets_a_role_and_goes(visit: Visit, site: Site, script: bool) -> None:
    visitor = logged_in(visit(java_script_enabled=script), "ada")
    visitor.expected = ("422", "409")
    name = "nils" if script else "nora"
    page = visitor.go("/admin/access")
    page.get_by_label("User name").fill(ATTACK[:90])
    page.get_by_role("button", name="Add the user").click()
    page.get_by_role("alert").get_by_text("no name for a user").wait_for()
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password", exact=True).fill("a long enough password 1")
    page.get_by_label("The same again").fill("another password 123456")
    page.get_by_role("button", name="Add the user").click()
    page.get_by_role("alert").get_by_text("not the same").wait_for()
    page.get_by_label("Password", exact=True).fill("a long enough password 1")
    page.get_by_label("The same again").fill("a long enough password 1")
    page.get_by_role("button", name="Add the user").click()
    page.get_by_role("heading", level=1, name=f"User {name}").wait_for()

    unfold(page, "Give a role")
    page.get_by_label("Role").select_option("publisher")
    page.get_by_label("Names").fill("acme-*")
    page.get_by_role("button", name="Give the role").click()
    page.get_by_role("status").get_by_text("is publisher now").wait_for()
    page = visitor.go(f"/admin/access/explain?subject={name}&permission=upload&name=Acme_tools&index=main")
    assert f"publisher to user:{name} for acme-*" in page.locator(".verdict").inner_text()
    page = visitor.go(f"/admin/access/users/{name}")
    page.get_by_role("button", name="Take back").click()
    page.get_by_role("status").get_by_text("there no more").wait_for()
    unfold(page, "Put into a group")
    page.get_by_label("Group").fill("builders")
    page.get_by_role("button", name="Put into it").click()
    page.get_by_role("status").get_by_text("is in builders now").wait_for()
    page.get_by_role("button", name="Keep out").click()
    page.get_by_role("status").get_by_text("is kept out").wait_for()
    page.get_by_role("button", name="Let in again").click()
    unfold(page, "Set a password…")
    page.get_by_label("New password").fill("short")
    page.get_by_label("The same again").fill("short")
    page.get_by_role("button", name="Set the password").click()
    page.get_by_role("alert").wait_for()
    unfold(page, "Remove…")
    page.get_by_role("button", name=f"Remove {name}").click()
    page.wait_for_url("**/admin/access")
    done = [e.action for e in site.services.audit.events(actor="user:ada") if name in (e.subject or "")]
    assert done == ["user.remove", "user.enable", "user.disable", "grant.remove", "grant.add", "user.add"]


def test_nobody_locks_themselves_out_in_passing(ada: Visitor, site: Site) -> None:
    ada.expected = ("409",)
    page = ada.go("/admin/access/users/ada")
    assert page.get_by_role("button", name="Keep out").count() == 0
    token = page.locator("input[name=csrf_token]").first.input_value()
    for verb in ("disable", "remove"):
        answer = page.request.post(
            f"{site.url}/admin/access/users/ada/{verb}", form={"csrf_token": token}, headers={"Accept": "*/*"}
        )
        assert answer.status == 409 and "That is you" in answer.text()


def test_groups_and_tokens_are_looked_after(ada: Visitor, site: Site) -> None:
    page = ada.go("/admin/access/groups")
    page.get_by_label("Name").fill("testers")
    page.get_by_role("button", name="Add the group").click()
    page.get_by_role("heading", level=1, name="Group testers").wait_for()
    page.get_by_label("User").fill("dora")
    page.get_by_role("button", name="Put in").click()
    page.get_by_role("button", name="Take out dora").click()
    page.get_by_role("status").get_by_text("no more in testers").wait_for()
    unfold(page, "Remove the group")
    page.get_by_role("button", name="Remove testers").click()
    page.wait_for_url("**/admin/access/groups")
    made = site.services.tokens.create("dora", scopes={Scope.UPLOAD}, actor="test")
    page = ada.go("/admin/access/tokens?user=dora")
    page.get_by_role("button", name=f"Revoke token {made.id}").click()
    page.get_by_role("status").get_by_text("worthless").wait_for()
    assert page.evaluate("typeof window.evil") == "undefined"
    page = ada.go("/admin/access")
    page.get_by_label("Users that begin with").fill("or")
    page.get_by_text("No such users").wait_for()
    page.get_by_label("Users that begin with").fill("OT")
    page.get_by_role("link", name="otto").wait_for()


def test_what_is_kept_is_changed_and_a_sync_is_watched(ada: Visitor, site: Site) -> None:
    ada.expected = ("422",)
    page = ada.go("/admin/upstreams/upstream")
    unfold(page, "What is kept")
    page.get_by_label("Newest versions").fill("1.5")
    page.get_by_role("button", name="Save what is kept").click()
    page.get_by_role("alert").wait_for()
    assert page.get_by_label("Newest versions").input_value() == "1.5"
    page.get_by_label("Newest versions").fill("")
    page.get_by_label("Exclude").fill("torch-*")
    page.get_by_label("Include").fill("sample")
    page.get_by_label("Mode").select_option("full")
    page.get_by_label("Newest versions").fill("1")
    page.get_by_role("button", name="What would be kept?").click()
    kept = page.get_by_role("region", name="What would be kept")
    kept.get_by_text("These have 1 file to keep").wait_for()
    ada.assert_fits()
    assert site.services.upstreams.get("upstream").mode == "known", "a preview changes nothing"
    page.get_by_label("Include").fill("")
    page.get_by_label("Mode").select_option("known")
    page.get_by_label("Newest versions").fill("")
    assert page.get_by_label("Exclude").input_value() == "torch-*"
    page.get_by_role("button", name="Save what is kept").click()
    page.get_by_role("status").get_by_text("is changed").wait_for()
    assert site.services.upstreams.get("upstream").filters.exclude == ("torch-*",)
    page.get_by_role("button", name="Sync now").click()
    section = page.get_by_role("region", name="Sync")
    section.get_by_text("ended just now").wait_for(timeout=30_000)
    section.get_by_role("button", name="Sync now").wait_for()


def test_the_overview_counts_and_says_what_is_to_be_done_first(ada: Visitor, site: Site) -> None:
    page = ada.go("/admin/")
    todo = page.get_by_role("region", name="To begin with")
    assert "done An upstream answers" in " ".join(todo.inner_text().split())
    pages = page.get_by_role("figure", name="Pages")
    assert pages.get_by_role("img", name="Pages").is_visible()
    pages.get_by_text("The numbers").click()
    last = pages.get_by_role("row").last.inner_text().split()
    assert int(last[-1]) >= 3 and int(last[-2]) >= 3


def test_the_overview_says_which_upstream_needs_a_look_and_why(
    ada: Visitor, site: Site, upstream: FakeUpstream
) -> None:
    """Until it does no more; what went away upstream is shown as well."""
    for number in range(12):
        upstream.project("shrinking").release(f"{number}.0", upload_time=days_ago(90))
    gone = upstream.project("going").release("1.0", upload_time=days_ago(90))
    upstream.project("going").release("2.0", upload_time=days_ago(90))
    [source] = site.services.configuration.upstreams()
    for name in ("shrinking", "going"):
        site.services.catalog.refresh(source.id, name)  # type: ignore[arg-type]
    upstream.project("going").vanish(gone.filename)
    listed = upstream.project("shrinking").files
    upstream.project("shrinking").files = type(listed)()

    site.services.sync.run("upstream")
    page = ada.go("/admin/")

    look = page.get_by_role("table", name="Upstreams that need a look")
    look.get_by_text("1 project is left, such as shrinking: its page is gone, or has none of its").wait_for()
    went = page.get_by_role("table", name="Gone upstream lately")
    went.get_by_text(gone.filename).wait_for()
    ada.assert_fits()

    upstream.project("shrinking").files = listed
    site.services.sync.run("upstream")
    page = ada.go("/admin/")
    went.get_by_text(gone.filename).wait_for()
    assert page.get_by_text("Upstreams that need a look").count() == 0

    upstream.project("going").release("1.0", upload_time=days_ago(90))
    site.services.sync.run("upstream")
    page = ada.go("/admin/")
    page.get_by_role("heading", name="Latest decisions").wait_for()
    assert page.get_by_text(gone.filename).count() == 0


def test_a_file_that_fails_is_tried_again_by_hand(ada: Visitor, site: Site) -> None:
    with site.services.database.transaction() as tx:
        tx.connection.execute(
            update(File)
            .where(File.filename == "sample-1.0-py3-none-any.whl")
            .values(attempts=3, due_at=2**50)
        )
    page = ada.go("/admin/jobs")
    page.get_by_role("button", name="Retry sample-1.0").click()
    page.get_by_role("status").get_by_text("is tried again").wait_for()
    page.get_by_text("No file fails").wait_for()


def test_the_system_page_shows_no_secret(ada: Visitor, site: Site) -> None:
    page = ada.go("/admin/system")
    assert "KOSCHEY_DATA_DIR" in page.get_by_role("region", name="Settings").inner_text()
    assert site.services.secret_key not in page.content()


def test_forms_without_a_token_do_nothing(ada: Visitor, site: Site) -> None:
    for path in ("/admin/upstreams/upstream/reset", "/admin/indexes/main", "/admin/hosted"):
        answer = ada.page.request.post(site.url + path, form={"hosted": "evil"})
        assert answer.status == 403, path


def test_somebody_chooses_a_password_by_a_link_that_works_once(
    ada: Visitor, visit: Visit, site: Site
) -> None:
    site.services.accounts.create("nina", password=None, role=Role.READER, actor="test")
    page = ada.go("/admin/access/users/nina")
    page.get_by_role("button", name="Make a password link").click()
    link = page.get_by_label("the link", exact=True).inner_text().removeprefix(site.url)
    assert ada.violations() == []

    nina = visit(java_script_enabled=False)
    nina.expected = ("422",)
    form = nina.go(link)
    for again in ("something else 123", "correct horse battery"):
        form.get_by_label("New password").fill("correct horse battery")
        form.get_by_label("Once more").fill(again)
        form.get_by_role("button", name="Set it and log in").click()
    form.get_by_role("link", name="nina").wait_for()
    other = visit()
    other.expected = ("404",)
    assert "was used" in other.go(link).get_by_role("main").inner_text()
    events = site.services.audit.events(action="user.password*")
    assert [(event.action, event.actor) for event in events if event.subject == "nina"] == [
        ("user.password", "user:nina"),
        ("user.password-link", "user:ada"),
    ]
