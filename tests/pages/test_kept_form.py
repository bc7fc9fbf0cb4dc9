"""A form that is sent after its session ended: nothing is done, nothing is lost, nothing secret kept."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from urllib.parse import urljoin

import pytest
from werkzeug.test import TestResponse

from koschey.web import kept_form
from tests.browser.people import PASSWORD
from tests.pages.test_protection import HTML, HTMX, Pages, app, pages
from tests.running import CHECKOUT

__all__ = ["app", "pages"]  # fixtures

OURS = {"Sec-Fetch-Site": "same-origin"}
REASON = "it was looked at <b>closely</b>, and found wanting"


def ended(pages: Pages, name: str = "rena") -> None:
    """Let the browser have a session of that user that was ended from elsewhere."""
    pages.log_in(name)
    pages.services.accounts.end_sessions(name, actor="test")


def log_in_on_the_way(pages: Pages, name: str) -> TestResponse:
    """The page of the kept form, as whoever logs in gets to see it."""
    pages.log_in(name)
    return pages.client.get("/account/form", headers=HTML)


def decision(name: str) -> dict[str, str]:
    return {"verb": "reject", "case": f"{name}==2.0@", "reason": REASON, "csrf_token": "of a session before"}


def decisions(pages: Pages, name: str) -> list[str | None]:
    return [event.reason for event in pages.services.audit.events(project=name, action="decision.*")]


def fields(page: str) -> dict[str, str]:
    form = page[page.index('class="card"') :]
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form)
    return {name: unescape(value) for name, value in found}


def kept_page(pages: Pages, answer: TestResponse, sent_to: str, name: str = "rena") -> str:
    """What a browser shows that was told to go on, by whoever logs in on the way."""
    way = answer.headers.get("Location") or answer.headers["HX-Redirect"]
    form = urljoin(sent_to, way)
    assert form == "/account/form"
    to_log_in = pages.client.get(form, headers=HTML)
    if to_log_in.status_code == 200:
        return to_log_in.text
    login = urljoin(form, to_log_in.headers["Location"])
    assert login == "/login?next=/account/form"
    data = {"csrf_token": pages.token(login), "username": name, "password": PASSWORD, "next": form}
    logged_in = pages.client.post("/login", data=data, headers=HTML)
    assert logged_in.headers["Location"] == form
    return pages.client.get(form, headers=HTML).text


@pytest.mark.parametrize("script", [False, True], ids=["a form", "htmx"])
def test_what_was_typed_is_there_after_the_log_in_and_is_sent_once_more(pages: Pages, script: bool) -> None:
    name = f"name-{10 + script}"
    headers = OURS | (HTMX | {"X-Root": "../"} if script else HTML)
    ended(pages)

    answer = pages.client.post("/admin/decide", data=decision(name), headers=headers)
    assert answer.status_code == (401 if script else 303)
    page = kept_page(pages, answer, "/admin/quarantine")

    assert decisions(pages, name) == []
    assert "&lt;b&gt;closely&lt;/b&gt;" in page
    again = pages.client.post("/admin/decide", data=fields(page), headers=HTML | OURS)
    assert again.status_code == 303
    assert set(decisions(pages, name)) == {REASON}
    assert pages.client.get_cookie(kept_form.COOKIE) is None, "what was sent is kept no longer"


def test_a_session_that_is_too_old_still_says_whose_form_it_is(pages: Pages) -> None:
    pages.log_in()
    cookie = pages.client.get_cookie("koschey-session")
    hours = pages.services.settings.session_hours
    with pages.client.session_transaction() as session:
        session["began"] -= round(hours * 3600) + 1

    answer = pages.client.post("/admin/decide", data=decision("name-17"), headers=HTML | OURS)

    assert answer.status_code == 303
    assert REASON in unescape(log_in_on_the_way(pages, "rena").text)
    assert decisions(pages, "name-17") == []
    assert cookie is not None and cookie.expires is not None
    assert cookie.expires - datetime.now(UTC) > timedelta(hours=hours, days=3), "over a weekend"


def test_a_form_is_shown_to_its_own_user_only(pages: Pages) -> None:
    ended(pages)
    pages.client.post("/admin/decide", data=decision("name-18"), headers=HTML | OURS)
    planted = pages.client.get_cookie(kept_form.COOKIE)
    assert planted is not None

    answer = log_in_on_the_way(pages, "ada")

    assert (answer.status_code, REASON in unescape(answer.text)) == (303, False)
    assert pages.client.get_cookie(kept_form.COOKIE) is None
    pages.client.set_cookie(kept_form.COOKIE, planted.value)
    assert REASON in unescape(log_in_on_the_way(pages, "rena").text), "it is theirs alone"


def test_what_nobody_known_sent_is_not_kept(pages: Pages) -> None:
    answer = pages.client.post("/admin/decide", data=decision("name-19"), headers=HTML | OURS)
    assert answer.status_code == 401
    assert pages.client.get_cookie(kept_form.COOKIE) is None


def test_another_form_that_is_sent_leaves_the_kept_one(pages: Pages) -> None:
    ended(pages)
    pages.client.post("/admin/decide", data=decision("name-20"), headers=HTML | OURS)
    pages.log_in()
    other = decision("name-21") | {"csrf_token": pages.token("/account")}

    assert pages.client.post("/admin/decide", data=other, headers=HTML | OURS).status_code == 303

    assert decisions(pages, "name-21") != []
    assert pages.client.get_cookie(kept_form.COOKIE) is not None


@pytest.mark.parametrize(
    "length",
    [
        {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True},
        {"CONTENT_LENGTH": str(2**20)},
        {},
    ],
    ids=["chunked", "too long", "none said"],
)
@pytest.mark.parametrize("known", [True, False])
def test_no_form_is_read_of_which_nobody_knows_that_it_is_short(
    pages: Pages, length: dict[str, object], known: bool
) -> None:
    if known:
        ended(pages)
    body = io.BytesIO(b"reason=" + b"x" * 2**20)
    environ = {"wsgi.input": body, "CONTENT_TYPE": "application/x-www-form-urlencoded"} | length
    answer = pages.client.post("/admin/decide", headers=HTML | OURS, environ_overrides=environ)
    assert answer.status_code == 401
    assert body.tell() == 0


def test_a_page_that_is_older_than_the_session_loses_nothing_either(pages: Pages) -> None:
    pages.log_in()
    answer = pages.client.post("/admin/decide", data=decision("name-12"), headers=HTML | OURS)

    page = kept_page(pages, answer, "/admin/decide")

    assert decisions(pages, "name-12") == []
    assert pages.client.post("/admin/decide", data=fields(page), headers=HTML | OURS).status_code == 303
    assert set(decisions(pages, "name-12")) == {REASON}


@pytest.mark.parametrize(
    "headers",
    [{}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "none"}, {"Origin": "https://evil.example"}],
    ids=["no browser", "another site", "no page", "another origin"],
)
@pytest.mark.parametrize("signed_in", [False, True])
def test_what_another_site_may_have_written_is_not_kept(
    pages: Pages, headers: dict[str, str], signed_in: bool
) -> None:
    if signed_in:
        pages.log_in()
    else:
        ended(pages)
    answer = pages.client.post("/admin/decide", data=decision("name-13"), headers=HTML | headers)

    assert answer.status_code == (403 if signed_in else 401)
    assert pages.client.get_cookie(kept_form.COOKIE) is None


def test_a_browser_without_fetch_metadata_says_its_origin(pages: Pages) -> None:
    headers = HTML | {"Origin": "http://localhost"}
    ended(pages)
    assert pages.client.post("/admin/decide", data=decision("name-14"), headers=headers).status_code == 303
    assert pages.client.get_cookie(kept_form.COOKIE) is not None


def without_canary(pages: Pages, data: dict[str, str]) -> str:
    """The page with an administrator's form that was kept; neither it nor the cookie has the secret."""
    answer = pages.client.post("/admin/upstreams/+new", data=data, headers=HTML | OURS)
    cookie = pages.client.get_cookie(kept_form.COOKIE)
    assert cookie is not None
    with pages.client.application.app_context():
        assert "canary" not in str(kept_form._signer().loads(cookie.value))

    page = kept_page(pages, answer, "/admin/upstreams/+new", "ada")

    assert "canary" not in page
    return page


def test_no_secret_is_kept_and_each_is_asked_for_again(pages: Pages) -> None:
    data = {"name": "inner", "url": "https://upstream.example/", "password": "canary-1", "token": "canary-2"}
    ended(pages, "ada")
    page = without_canary(pages, data)

    assert re.findall(r'name="(\w+)" type="password"', page) == ["password", "token"]
    assert fields(page)["url"] == "https://upstream.example/"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", "https://user:canary@upstream.example/simple/"),
        ("url", "https://user:ca/na@ry canary@upstream.example/"),
        ("url", "https://canary@upstream.example/simple/"),
        ("proxy", "http://user:canary@proxy.example:3128"),
        ("proxy", "user:canary@proxy.example:3128"),
        ("reason", "it is koschey_canary0123456789, which everybody knows"),
    ],
)
def test_no_secret_is_kept_inside_of_a_value(pages: Pages, field: str, value: str) -> None:
    ended(pages, "ada")
    data = {"name": "inner", field: value}
    page = without_canary(pages, data)

    assert re.findall(r'name="(\w+)" type="password"', page) == [field]
    assert fields(page)["name"] == "inner"


def test_every_field_for_a_secret_is_known_as_one() -> None:
    sources = [path.read_text() for path in (CHECKOUT / "templates").rglob("*.html")]
    fields = [
        found
        for source in sources
        for found in re.findall(r"<input[^>]* name=\"([^\"]+)\" type=\"password\"", source)
        + re.findall(r"f\.text\('[^']*', '(\w+)'[^)]*type='password'", source)
    ]
    names = set(fields) - {"{{ name }}", "username"}
    account = (CHECKOUT / "templates/developers/account.html").read_text()
    names |= {found for found in ("current", "new", "again") if f"'{found}'" in account}
    assert len(names) >= 4
    assert names <= kept_form.SECRETS


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/login", {"username": "rena", "password": "x"}),
        ("/logout", {}),
        ("/account/password/none", {"password": "x"}),
    ],
)
def test_a_form_for_nobody_in_particular_is_not_kept(pages: Pages, path: str, data: dict[str, str]) -> None:
    assert pages.client.post(path, data=data, headers=HTML | OURS).status_code == 403
    assert pages.client.get_cookie(kept_form.COOKIE) is None


def test_what_is_too_long_is_not_kept_and_says_so(pages: Pages) -> None:
    noise = "".join(chr(0x4E00 + number * 7 % 20_000) for number in range(2000))
    data = decision("name-15") | {"reason": noise}
    ended(pages)
    assert pages.client.post("/admin/decide", data=data, headers=HTML | OURS).status_code == 401
    assert pages.client.get_cookie(kept_form.COOKIE) is None

    pages.client.set_cookie(kept_form.COOKIE, "made-up")
    pages.log_in()
    answer = pages.client.get("/account/form", headers=HTML)
    assert urljoin("/account/form", answer.headers["Location"]) == "/account"
    assert "There is no form to send again" in pages.client.get("/account", headers=HTML).text


def test_who_logs_out_leaves_no_form_behind(pages: Pages) -> None:
    ended(pages)
    pages.client.post("/admin/decide", data=decision("name-16"), headers=HTML | OURS)
    pages.log_in()
    assert pages.client.get_cookie(kept_form.COOKIE) is not None
    pages.client.post("/logout", data={"csrf_token": pages.token("/account")}, headers=HTML)
    assert pages.client.get_cookie(kept_form.COOKIE) is None


def test_a_part_of_a_page_leads_back_to_its_page(pages: Pages) -> None:
    current = {"HX-Current-URL": "http://localhost/admin/quarantine?tab=waiting&q=a"}
    answer = pages.client.get("/admin/decide?verb=approve&case=six==1.0@", headers=HTMX | current)
    expected = "/login?next=/admin/quarantine%3Ftab%3Dwaiting%26q%3Da"
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (401, expected)

    elsewhere = {"HX-Current-URL": "http://evil.example/admin/"}
    answer = pages.client.get("/admin/quarantine", headers=HTMX | elsewhere)
    assert answer.headers["HX-Redirect"] == "/login"
