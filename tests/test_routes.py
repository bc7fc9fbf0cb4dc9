"""Every route says who may use it; each is tried with every role, and with names that are somebody else's."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.routing import Rule

from koschey.application import create_app
from koschey.domain.permissions import ROLES, SCOPES, Permission, Role, Scope
from koschey.settings import Settings
from koschey.web.access import Public, Required, declaration
from koschey.web.current import Koschey
from koschey.web.protection import SESSION_COOKIE
from koschey.web.route_table import as_rst, route_rows

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "permissions.rst"
WRITES = {"POST", "PUT", "PATCH", "DELETE"}
LOOKING = {Permission.READ, Permission.AUDIT, Permission.INSPECT}
PASSWORD = "correct horse battery"
#: What a route is asked for, by the name of its argument; another name: any word will do.
VALUES = {"index": "team", "name": "acme-core", "project": "acme-core", "version": "1.0"}
REACHED = 299


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """An application whose views do nothing but say that they were reached, with a user for each role."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("routes"), upstream_url="", log_level="error")
    app = create_app(settings, periodic_jobs=False)
    services: Koschey = app.extensions["koschey"]
    services.indexes.add_index("team", ["hosted"], hold_days=0, actor="test")
    services.grants.remove(Role.READER, "everyone", index=None, pattern="*", actor="test")
    for role in Role:
        services.accounts.create(f"a-{role}", password=PASSWORD, role=role, actor="test")
        services.accounts.create(f"acme-{role}", password=PASSWORD, role=None, actor="test")
        for index in ("main", "team"):
            services.grants.add(role, f"acme-{role}", index=index, pattern="acme-*", actor="test")
    services.accounts.create("nobody", password=PASSWORD, role=None, actor="test")
    for endpoint in app.view_functions:
        declared = declaration(app, endpoint)

        def reached(**_: object) -> tuple[str, int]:
            return "", REACHED

        if endpoint not in LOGGING_IN:
            reached.koschey_access = declared  # type: ignore[attr-defined]
            if hasattr(app.view_functions[endpoint], "koschey_unprotected"):
                reached.koschey_unprotected = "as the view"  # type: ignore[attr-defined]
            app.view_functions[endpoint] = reached
    yield app
    services.close()


#: These keep their views, to get a session from.
LOGGING_IN = {"sign_in.log_in", "sign_in.logged_in"}


def requests_of(app: Flask, name: str = "acme-core") -> list[tuple[Rule, str, str, Required | Public]]:
    """(rule, method, path, what it asks for) of every route."""
    values = VALUES | {"name": name, "project": name}
    found = []
    for rule in app.url_map.iter_rules():
        declared = declaration(app, rule.endpoint)
        assert declared is not None, rule.rule
        path = re.sub(r"<(?:[^:>]+:)?(\w+)>", lambda argument: values.get(argument[1], "1"), rule.rule)
        for method in sorted((rule.methods or set()) - {"OPTIONS"}):
            if rule.endpoint not in LOGGING_IN:
                found.append((rule, method, path, declared))
    return found


def may(role: Role | None, declared: Required, scopes: frozenset[Permission] | None = None) -> bool:
    return (
        role is not None
        and declared.permission in ROLES[role]
        and (scopes is None or declared.permission in scopes)
    )


def basic(name: str, password: str = PASSWORD) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def status(app: Flask, method: str, path: str, headers: dict[str, str]) -> int:
    return app.test_client().open(path, method=method, headers=headers).status_code


def undeclared(app: Flask) -> list[str]:
    return [rule.rule for rule in app.url_map.iter_rules() if declaration(app, rule.endpoint) is None]


def test_every_route_says_who_may_use_it(app: Flask) -> None:
    assert undeclared(app) == []


def test_a_route_that_changes_something_asks_for_a_right_to_do_so(app: Flask) -> None:
    for rule in app.url_map.iter_rules():
        declared = declaration(app, rule.endpoint)
        if WRITES & (rule.methods or set()) and isinstance(declared, Required):
            assert declared.permission not in LOOKING, rule.rule
        if isinstance(declared, Public):
            assert declared.reason


def test_an_undeclared_route_is_seen_and_answers_nobody(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path, upstream_url="", log_level="error"), periodic_jobs=False)
    app.add_url_rule("/forgotten", "forgotten", lambda: "secret")
    try:
        assert undeclared(app) == ["/forgotten"]
        answer = app.test_client().get("/forgotten")
        assert answer.status_code == 403
        assert b"secret" not in answer.data
    finally:
        app.extensions["koschey"].close()


@pytest.mark.parametrize("role", [None, *Role])
def test_each_route_is_for_the_roles_that_have_its_permission(app: Flask, role: Role | None) -> None:
    user = "nobody" if role is None else f"a-{role}"
    for _, method, path, declared in requests_of(app):
        if isinstance(declared, Public):
            assert status(app, method, path, {}) == REACHED, (method, path)
            continue
        assert status(app, method, path, {}) == 401, (method, path)
        said = status(app, method, path, basic(user))
        assert (said == REACHED) is may(role, declared), (method, path, said)
        assert said in (REACHED, 403, 404)


@pytest.mark.parametrize("role", list(Role))
def test_a_role_for_some_names_is_good_for_these_alone(app: Flask, role: Role) -> None:
    for name in ("acme-core", "Acme_Core", "six"):
        for rule, method, path, declared in requests_of(app, name):
            if isinstance(declared, Public):
                continue
            named = bool(rule.arguments & {"name", "project"})
            indexed = "index" in rule.arguments | set(rule.defaults or ())
            # Where no index is named, the view asks for each: tests/access/test_administering.py.
            inside = declared.some or (indexed and named and name != "six")
            said = status(app, method, path, basic(f"acme-{role}"))
            assert (said == REACHED) is (inside and may(role, declared)), (method, path, said)


@pytest.mark.parametrize("scope", list(Scope))
def test_a_token_is_good_for_its_scope_alone(app: Flask, scope: Scope) -> None:
    services: Koschey = app.extensions["koschey"]
    secret = services.tokens.create("a-admin", scopes=[scope], actor="test").secret
    for _, method, path, declared in requests_of(app):
        if isinstance(declared, Required):
            said = status(app, method, path, basic("__token__", secret))
            assert (said == REACHED) is may(Role.ADMIN, declared, SCOPES[scope]), (method, path, said)
            assert said in (REACHED, 403)


def test_with_a_session_a_change_needs_the_token_of_a_form(app: Flask) -> None:
    browser = app.test_client()
    page = browser.get("/login").text
    token = page.partition('name="csrf_token" value="')[2].partition('"')[0]
    form = {"username": "a-admin", "password": PASSWORD, "csrf_token": token}
    assert browser.post("/login", data=form).status_code == 303
    token = browser.get("/login").text.partition('name="csrf_token" value="')[2].partition('"')[0]
    seen = 0
    for rule, method, path, declared in requests_of(app):
        view = app.view_functions[rule.endpoint]
        if method not in WRITES or hasattr(view, "koschey_unprotected"):
            continue
        if isinstance(declared, Required) and not declared.cookies:
            assert browser.open(path, method=method).status_code == 401
            continue
        seen += 1
        assert browser.get_cookie(SESSION_COOKIE) is not None
        assert browser.open(path, method=method).status_code == 403, path
        assert browser.open(path, method=method, headers={"X-CSRFToken": "no"}).status_code == 403, path
        assert browser.open(path, method=method, headers={"X-CSRFToken": token}).status_code == REACHED, path
    assert seen


def test_another_sites_page_changes_nothing_whatever_it_brings_along(app: Flask) -> None:
    for _, method, path, _ in requests_of(app):
        if method in WRITES:
            for site in ("cross-site", "same-site"):
                headers = basic("a-admin") | {"Sec-Fetch-Site": site}
                assert status(app, method, path, headers) == 403, path


def test_the_documentation_has_the_table_of_the_code(app: Flask) -> None:
    written = as_rst(route_rows(app)) in DOCUMENT.read_text(encoding="utf-8")
    assert written, "docs/permissions.rst is out of date: `python -m tests.test_routes` writes it anew"


def _write_document() -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        app = create_app(
            Settings(data_dir=Path(folder), upstream_url="", log_level="error"), periodic_jobs=False
        )
        app.extensions["koschey"].close()
        head, marker, _ = DOCUMENT.read_text(encoding="utf-8").partition(".. The table of the code.\n")
        DOCUMENT.write_text(f"{head}{marker}\n{as_rst(route_rows(app))}", encoding="utf-8")


if __name__ == "__main__":
    _write_document()
