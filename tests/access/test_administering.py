"""Who looks after one index only: what they may do there, and what that must not open to them elsewhere."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urljoin, urlsplit

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from koschey.domain.permissions import Role
from koschey.stores.quarantine_rows import DecisionRow
from tests.access.conftest import PASSWORD, House


@pytest.fixture
def ivan(house: House) -> FlaskClient:
    """A browser of the administrator of the index ``team``, which has one of two hosted sources."""
    house.koschey.hosted.add("secret", indexes=[], actor="test")
    house.koschey.hosted.add("patches", indexes=[], actor="test")
    house.koschey.indexes.add_index("team", ["hosted", "patches"], hold_days=7, actor="test")
    house.user("ivan", password=PASSWORD)
    house.grant(Role.ADMIN, "user:ivan", index="team")
    browser = house.client()
    assert house.log_in(browser, "ivan").status_code == 303
    return browser


def sources(house: House) -> list[str]:
    return [source.name for source in house.koschey.configuration.index("team").sources]


def test_they_put_no_other_source_into_their_index(house: House, ivan: FlaskClient) -> None:
    """They would read what is hosted there, and show it to whom they like."""
    page = ivan.get("/admin/indexes/team")
    assert page.status_code == 200
    assert "secret" not in page.text

    forged = {"place-hosted": "1", "place-patches": "2", "place-secret": "3"}
    answer = house.form(ivan, "/admin/indexes/team", **forged)

    assert (answer.status_code, sources(house)) == (403, ["hosted", "patches"])
    assert "those who administer all indexes" in answer.text


def test_they_put_their_own_into_another_order(house: House, ivan: FlaskClient) -> None:
    answer = house.form(ivan, "/admin/indexes/team", **{"place-hosted": "2", "place-patches": "1"})

    assert (answer.status_code, sources(house)) == (303, ["patches", "hosted"])


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/admin/indexes", {"name": "mine", "place-secret": "1"}),
        ("/admin/hosted", {"hosted": "mine", "index": "team"}),
        ("/admin/upstreams/+new", {"name": "mine", "url": "https://upstream.example/", "index": "team"}),
        ("/admin/indexes/main/policy", {"do": "save", "pattern": "*", "hold_days": "0", "reason": "x"}),
        ("/admin/indexes/main/remove", {}),
        ("/admin/access/grants", {"role": "admin", "subject": "user:ivan"}),
        ("/admin/access/grants", {"role": "reader", "subject": "everyone", "index": "team"}),
        ("/admin/names/reserve", {"do": "save", "pattern": "a*", "index": "team", "reason": "x"}),
    ],
)
def test_what_is_everybodys_is_not_theirs(
    house: House, ivan: FlaskClient, path: str, fields: dict[str, str]
) -> None:
    before = house.events()

    answer = house.form(ivan, "/admin/indexes/team", to=path, **fields)

    assert (answer.status_code, house.events()) == (403, before)


@pytest.fixture
def riko(house: House) -> FlaskClient:
    """A browser of somebody who reviews in the index ``team`` only."""
    house.koschey.indexes.add_index("team", ["hosted"], hold_days=7, actor="test")
    house.user("riko", password=PASSWORD)
    house.grant(Role.REVIEWER, "user:riko", index="team")
    browser = house.client()
    assert house.log_in(browser, "riko").status_code == 303
    return browser


@pytest.mark.parametrize(
    "path", ["/admin/", "/admin/quarantine", "/admin/requests", "/admin/bulk?tab=waiting"]
)
def test_who_reviews_in_one_index_opens_what_the_menu_offers(riko: FlaskClient, path: str) -> None:
    assert riko.get(path).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/admin/quarantine?index=main",
        "/admin/bulk?tab=waiting&index=main",
        "/admin/decide?verb=approve&case=six==1.0@x&index=main",
        "/admin/quarantine/six/1.0?index=main",
        "/admin/approve-plan?project=six&version=1.0&index=main",
        "/admin/projects",
        "/admin/audit",
    ],
)
def test_they_look_into_no_other(house: House, riko: FlaskClient, path: str) -> None:
    house.host("six")
    assert riko.get(path).status_code == 403


@pytest.mark.parametrize("index", ["main", ""], ids=["another", "all"])
def test_they_decide_in_no_other(house: House, riko: FlaskClient, index: str) -> None:
    before = house.events()
    answer = house.form(
        riko, "/admin/", to="/admin/decide", verb="reject", case="six==1.0@", index=index, reason="x"
    )
    assert (answer.status_code, house.events()) == (403, before)


def test_they_are_told_of_no_decision_elsewhere(house: House, riko: FlaskClient) -> None:
    house.host("six")
    house.koschey.review.trust("six", index="main", reason="of main alone", actor="test")
    house.koschey.review.trust("six", index="team", reason="of team alone", actor="test")
    page = riko.get("/admin/").text
    assert "of team alone" in page and "of main alone" not in page


@pytest.mark.parametrize(
    "path",
    [
        "/admin/quarantine/six/1.0",
        "/admin/quarantine/six/1.0/changes",
        "/admin/approve-plan?project=six&version=1.0",
        "/admin/decide?verb=approve&case=six==1.0@x",
    ],
)
def test_who_reviews_some_names_looks_into_no_other(house: House, path: str) -> None:
    house.host("six", "acme-one")
    house.user("arne", password=PASSWORD)
    house.grant(Role.REVIEWER, "user:arne", pattern="acme-*")
    browser = house.client()
    assert house.log_in(browser, "arne").status_code == 303
    assert browser.get(path).status_code == 403
    assert browser.get(path.replace("six", "acme-one")).status_code == 200


def test_they_take_back_what_was_decided_for_their_index_alone(house: House, riko: FlaskClient) -> None:
    house.host("six")
    for index in ("main", "team", None):
        house.koschey.review.trust("six", index=index, reason="known", actor="test")
    with house.koschey.database.reading() as session:
        numbers = {row.index: row.id for row in session.scalars(select(DecisionRow))}

    told = {
        index: house.form(
            riko,
            "/admin/",
            to="/admin/revert",
            project="six",
            version="1.0",
            decision=str(number),
            reason="gone",
        ).status_code
        for index, number in numbers.items()
    }

    assert told == {"main": 403, "team": 303, None: 403}


def dead_ends(browser: FlaskClient, start: str) -> dict[str, str]:
    """Addresses that pages link to and do not open, with the page that links; from one page on."""
    found, seen, dead = [start], {start: ""}, dict[str, str]()
    while found:
        page = found.pop()
        answer = browser.get(page, headers={"Accept": "text/html"})
        if answer.status_code >= 400:
            dead[page] = seen[page]
        if answer.mimetype != "text/html" or len(seen) > 150:
            continue
        for link in re.findall(r'<a [^>]*href="([^"#]+)"', answer.text):
            address = urlsplit(urljoin(page, unescape(link)))
            onward = f"{address.path}?{address.query}".rstrip("?")
            if not address.netloc and onward not in seen and not onward.startswith("/simple"):
                seen[onward] = page
                found.append(onward)
    return dead


def test_the_administrator_of_one_index_finds_it_in_the_menu(house: House, ivan: FlaskClient) -> None:
    assert 'href="../admin/indexes"' in ivan.get("/admin/").text
    page = ivan.get("/admin/indexes").text
    assert "admin/indexes/team" in page
    assert "admin/indexes/main" not in page
    assert "secret" not in page


def test_who_has_some_names_of_an_index_is_offered_no_index(house: House) -> None:
    house.user("arne", password=PASSWORD)
    house.grant(Role.ADMIN, "user:arne", pattern="acme-*", index="main")
    browser = house.client()
    house.log_in(browser, "arne")
    assert "admin/indexes" not in browser.get("/admin/").text
    assert browser.get("/admin/indexes").status_code == 403


@pytest.mark.parametrize("role", [Role.ADMIN, Role.REVIEWER, Role.AUDITOR])
@pytest.mark.parametrize(("index", "pattern"), [("team", "*"), ("team", "acme-*"), (None, "acme-*")])
def test_no_page_of_theirs_leads_where_they_may_not_go(
    house: House, role: Role, index: str | None, pattern: str
) -> None:
    house.host("six", "acme-one")
    house.koschey.indexes.add_index("team", ["hosted"], hold_days=7, actor="test")
    house.user("ivan", password=PASSWORD)
    house.grant(role, "user:ivan", index=index, pattern=pattern)
    browser = house.client()
    assert house.log_in(browser, "ivan").status_code == 303
    for name in ("six", "acme-one"):
        house.koschey.review.reject(name, "1.0", reason="looked at", actor="user:rena")

    assert dead_ends(browser, "/admin/") == {}


def test_who_removed_the_only_index_of_theirs_stands_before_no_closed_door(
    house: House, ivan: FlaskClient
) -> None:
    answer = house.form(ivan, "/admin/indexes/team", to="/admin/indexes/team/remove")
    assert answer.status_code == 303
    assert ivan.get(urljoin("/admin/indexes/team/remove", answer.headers["Location"])).status_code == 200
