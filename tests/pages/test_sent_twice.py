"""Forms that are sent twice, one after the other and at once; and a table that no spreadsheet runs."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from flask import Flask

from koschey.domain.policy import DAY
from koschey.services.review import Review
from koschey.stores.database import now
from koschey.web.admin.audit import _inert
from tests.pages.test_protection import HTML, Pages, app, pages

__all__ = ["app", "pages"]  # fixtures


def field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def send(app: Flask, cookie: str, path: str, data: dict[str, str], times: int) -> list[int]:
    """Statuses of the same form, sent so many times at once."""
    barrier = Barrier(times)

    def one(_: int) -> int:
        with app.test_client() as client:
            client.set_cookie("koschey-session", cookie)
            barrier.wait(30)
            return client.post(path, data=data, headers=HTML).status_code

    with ThreadPoolExecutor(times) as pool:
        return sorted(pool.map(one, range(times)))


@pytest.mark.parametrize("times", [1, 3])
def test_a_form_makes_one_token_however_often_it_is_sent(app: Flask, pages: Pages, times: int) -> None:
    pages.log_in("dora")
    page = pages.client.get("/account", headers=HTML).get_data(as_text=True)
    cookie: Any = pages.client.get_cookie("koschey-session")
    data = {"scope": "read", "csrf_token": field(page, "csrf_token"), "once": field(page, "once")}
    before = len(pages.services.tokens.list("dora"))

    sent = send(app, cookie.value, "/account/tokens", data, times)
    again = pages.client.post("/account/tokens", data=data, headers=HTML)

    assert sent == [200, *[409] * (times - 1)]
    assert again.status_code == 409
    assert "sent already" in again.get_data(as_text=True)
    assert len(pages.services.tokens.list("dora")) == before + 1


@pytest.mark.parametrize("times", [1, 3])
def test_a_form_about_all_that_fit_begins_one_job_however_often_it_is_sent(
    app: Flask, pages: Pages, times: int
) -> None:
    pages.services.tasks["decide_bulk"] = lambda _: None  # type: ignore[index]
    pages.log_in()
    page = pages.client.get("/admin/bulk?tab=waiting&q=name-5", headers=HTML).text
    cookie: Any = pages.client.get_cookie("koschey-session")
    data = {name: field(page, name) for name in ("csrf_token", "tab", "q", "before")}
    data |= {"verb": "extend", "days": "3", "reason": f"sent {times}"}

    assert send(app, cookie.value, "/admin/bulk", data, times) == [303] * times
    again = pages.client.post("/admin/bulk", data=data, headers=HTML)
    other = pages.client.post("/admin/bulk", data=data | {"days": "5"}, headers=HTML)

    begun = pages.services.audit.events(action="bulk.begun", limit=50)
    begun = [event for event in begun if event.reason == f"sent {times}"]
    assert len(begun) == 2
    assert again.headers["Location"].endswith(begun[1].subject.replace("bulk ", "/bulk/"))
    assert other.headers["Location"].endswith(begun[0].subject.replace("bulk ", "/bulk/"))


@pytest.mark.parametrize("times", [1, 3])
def test_a_form_checks_once_however_often_it_is_sent(app: Flask, pages: Pages, times: int) -> None:
    pages.log_in()
    name = f"name-2{times}"
    page = pages.client.get(f"/admin/decide?verb=recheck&case={name}==2.0@", headers=HTML).text
    cookie: Any = pages.client.get_cookie("koschey-session")
    data = {each: field(page, each) for each in ("csrf_token", "verb", "opened", "case")} | {"reason": "new"}

    assert send(app, cookie.value, "/admin/decide", data, times) == [303] * times
    pages.client.post("/admin/decide", data=data, headers=HTML)
    assert len(pages.services.audit.events(project=name, action="check.requested")) == 1

    later = data | {"opened": str(now())}  # another form
    pages.client.post("/admin/decide", data=later, headers=HTML)
    assert len(pages.services.audit.events(project=name, action="check.requested")) == 2


def test_the_same_trust_twice_is_one_decision(pages: Pages) -> None:
    review: Review = pages.services.review
    for _ in range(2):
        review.trust("name-9", reason="known", actor="user:rena")
    assert len(pages.services.audit.events(project="name-9", action="decision.trust")) == 1
    review.trust("name-9", reason="known", actor="user:ines")
    review.trust("name-9", reason="known", actor="user:rena", expires_at=now() + DAY)
    assert len(pages.services.audit.events(project="name-9", action="decision.trust")) == 3


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("=cmd|'x'!A0", "'=cmd|'x'!A0"),
        ("well;=cmd()", "well;'=cmd()"),
        ("\tx", "'\tx"),
        ("\n=1", "'\n'=1"),
        ("\uff1d1", "'\uff1d1"),
        (' "=1', "' \"=1"),
        ("name-1==2.0; fixed", "name-1==2.0; fixed"),
    ],
)
def test_no_cell_begins_a_formula_whatever_ends_one(said: str, written: str) -> None:
    assert _inert(said) == written


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_an_export_that_cannot_be_is_an_error_and_no_half_of_a_file(pages: Pages, kind: str) -> None:
    pages.log_in("otto")
    answer = pages.client.get(f"/admin/audit.{kind}?project=..%2fx", headers=HTML)
    assert answer.status_code == 400
    assert "Content-Disposition" not in answer.headers
    answer = pages.client.get(f"/admin/audit.{kind}?project=name-9", headers=HTML)
    assert answer.status_code == 200
