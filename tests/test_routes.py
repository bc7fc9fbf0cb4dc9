"""Every route says who may use it, and the ones that change something ask for a right to do so."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask

from koschey.application import create_app
from koschey.domain.permissions import Permission
from koschey.settings import Settings
from koschey.web.access import Public, Required, declaration

WRITES = {"POST", "PUT", "PATCH", "DELETE"}
LOOKING = {Permission.READ, Permission.AUDIT}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    settings = Settings(data_dir=tmp_path_factory.mktemp("routes"), upstream_url="", log_level="error")
    app = create_app(settings, periodic_jobs=False)
    app.extensions["koschey"].close()
    return app


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
