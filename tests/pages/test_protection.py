"""What pages are protected by, and what they cost: tokens of forms, ended sessions, queries, bytes."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event

from koschey import settings as settings_module
from koschey.application import create_app
from koschey.domain.names import normalize
from koschey.services.upstream_spec import UpstreamSpec
from koschey.stores.hot_connections import HotConnections
from koschey.web.current import Koschey
from tests.browser.people import PASSWORD, add_people, days_ago
from tests.fake_upstream import FakeUpstream

HTML = {"Accept": "text/html,*/*;q=0.8"}
HTMX = {"HX-Request": "true", "Accept": "*/*"}
VERSIONS = 60


@dataclass(frozen=True)
class Pages:
    """An application with a full queue, and people."""

    services: Koschey
    client: FlaskClient

    def log_in(self, name: str = "rena") -> None:
        data = {"csrf_token": self.token("/login"), "username": name, "password": PASSWORD}
        assert self.client.post("/login", data=data, headers=HTML).status_code == 303

    def token(self, path: str) -> str:
        page = self.client.get(path, headers=HTML).get_data(as_text=True)
        found = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert found is not None
        return found[1]

    def decision(self) -> dict[str, str]:
        return {"verb": "reject", "case": "name-0==2.0@", "reason": "no"}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    with filled(tmp_path_factory.mktemp("pages")) as app:
        yield app


@contextmanager
def filled(folder: Path, **options: Any) -> Iterator[Flask]:
    with FakeUpstream() as upstream:
        settings = settings_module.load(
            {}, data_dir=folder, upstream_url=upstream.simple_url, log_level="error", **options
        )
        app = create_app(settings, periodic_jobs=False)
        services: Koschey = app.extensions["koschey"]
        tasks: Any = services.tasks
        tasks["derive_work"] = lambda: None
        add_people(services)
        [source] = services.configuration.upstreams()
        for number in range(VERSIONS):
            name = f"name-{number}"
            upstream.project(name).release("2.0", upload_time=days_ago(1), sdist=True)
            services.catalog.refresh(source.id, normalize(name))
        for number in range(4):
            name = f"other-{number}"
            services.indexes.add_upstream(
                name, UpstreamSpec(url=f"{upstream.url}/{name}/"), indexes=[], actor="test"
            )
            services.indexes.add_index(name, ["upstream", name], hold_days=None, actor="test")
        services.tasks["settle_policies"]()
        yield app
        services.close()


@pytest.fixture
def pages(app: Flask) -> Iterator[Pages]:
    with app.test_client() as client:
        yield Pages(app.extensions["koschey"], client)


@pytest.mark.parametrize("headers", [HTML, HTMX], ids=["a form", "htmx"])
@pytest.mark.parametrize("token", [None, "", "made-up"])
def test_a_decision_without_the_token_of_its_session_is_refused(
    pages: Pages, headers: dict[str, str], token: str | None
) -> None:
    pages.log_in()
    data = pages.decision() | ({} if token is None else {"csrf_token": token})

    answer = pages.client.post("/admin/decide", data=data, headers=headers)

    assert answer.status_code == 403
    assert "load the page again" in answer.get_data(as_text=True)
    assert pages.services.audit.events(project="name-0", action="decision.*") == []


def test_another_sites_page_is_refused_whatever_it_knows(pages: Pages) -> None:
    pages.log_in()
    data = pages.decision() | {"csrf_token": pages.token("/admin/quarantine?tab=waiting")}

    answer = pages.client.post("/admin/decide", data=data, headers=HTML | {"Sec-Fetch-Site": "cross-site"})

    assert answer.status_code == 403
    assert pages.services.audit.events(project="name-0", action="decision.*") == []


def test_who_has_no_session_any_more_is_led_to_the_log_in(pages: Pages) -> None:
    answer = pages.client.get("/admin/quarantine", headers=HTMX)
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (401, "/login")

    answer = pages.client.get("/admin/quarantine?tab=waiting", headers=HTML)
    assert (answer.status_code, answer.headers["Location"]) == (
        303,
        "/login?next=/admin/quarantine%3Ftab%3Dwaiting",
    )


def test_each_address_answers_with_its_page_or_with_the_part_that_htmx_asks_for(pages: Pages) -> None:
    pages.log_in()
    address = "/admin/quarantine?tab=waiting"
    whole, part = (pages.client.get(address, headers=headers) for headers in (HTML, HTMX))
    again = pages.client.get(address, headers=HTMX | {"HX-History-Restore-Request": "true"})

    for answer in (whole, part):
        assert "HX-Request" in answer.headers["Vary"]
        assert answer.headers["Cache-Control"] == "no-store"
    assert "<!DOCTYPE html>" in whole.get_data(as_text=True)
    assert "<html" not in part.get_data(as_text=True)
    assert again.data.startswith(b"<!DOCTYPE html>")


def test_nothing_runs_in_a_page_but_our_own_files_and_htmx(pages: Pages) -> None:
    answer = pages.client.get("/login", headers=HTML)
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))

    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == f"'self' {pages.services.settings.htmx_url}"
    assert policy["style-src"] == policy["form-action"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"<style|<[^>]+ (?:style|on\w+)=|<script>", answer.get_data(as_text=True))


PATHS = [
    "/admin/",
    "/admin/quarantine?tab=review",
    "/admin/quarantine?tab=waiting",
    "/admin/quarantine?tab=waiting&q=name-1",
    "/admin/quarantine?tab=rejected",
    "/admin/quarantine?tab=released",
    "/admin/bulk?tab=waiting",
    "/admin/quarantine/name-1/2.0",
    "/admin/projects",
    "/admin/projects?show=own",
    "/admin/projects/name-1",
    "/admin/trusted",
    "/admin/names",
    "/admin/indexes",
    "/admin/indexes/main",
    "/admin/upstreams",
    "/admin/upstreams/upstream",
    "/admin/access",
    "/admin/access/users/dora",
    "/admin/access/groups",
    "/admin/access/grants",
    "/admin/access/tokens",
    "/admin/jobs",
    "/admin/system",
    "/admin/audit",
    "/admin/requests",
    "/projects/name-1/",
    "/search?q=name",
    "/",
    "/requests",
    "/account",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_page_asks_the_database_a_few_things_however_many_rows_it_has(pages: Pages, path: str) -> None:
    pages.log_in("ada")
    asked = questions(pages, path)

    assert 0 < len(asked) <= 12, asked


def test_it_is_so_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    with filled(tmp_path, database_url=postgres_url) as app, app.test_client() as client:
        pages = Pages(app.extensions["koschey"], client)
        pages.log_in("ada")
        asked = {path: questions(pages, path) for path in PATHS}

    assert {path: found for path, found in asked.items() if not 0 < len(found) <= 12} == {}


def questions(pages: Pages, path: str) -> list[str]:
    """What a page asks of the database, when it is not the first time."""
    pages.client.get(path, headers=HTML)
    asked: list[str] = []
    here = threading.get_ident()  # jobs ask as well, in threads of their own

    def note(_1: Any, _2: Any, statement: str, *_: Any) -> None:
        if statement != "BEGIN" and threading.get_ident() == here:
            asked.append(statement)

    rows = HotConnections.rows

    def note_look(hot: HotConnections, statement: str, values: Any) -> list[Any]:
        if threading.get_ident() == here:
            asked.append(statement)
        return rows(hot, statement, values)

    event.listen(pages.services.engine, "before_cursor_execute", note)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HotConnections, "rows", note_look)
        assert pages.client.get(path, headers=HTML).status_code == 200
    event.remove(pages.services.engine, "before_cursor_execute", note)
    return asked


def test_the_first_load_of_the_queue_is_small(pages: Pages) -> None:
    pages.log_in()
    page = pages.client.get("/admin/quarantine?tab=waiting", headers=HTML)
    files = set(re.findall(r"static/([\w.]+)", page.get_data(as_text=True)))
    total = len(page.data)
    for file in files:
        with pages.client.get(f"/static/{file}") as answer:
            total += len(answer.data)

    assert page.data.count(b"data-row") == 50
    assert total <= 150_000
