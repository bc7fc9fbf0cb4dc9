"""Koschey as one WSGI application in this process, with a few people and hosted projects in it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from koschey import settings as settings_module
from koschey.application import create_app
from koschey.domain.permissions import Role, Scope
from koschey.stores.database import now
from koschey.stores.models import File, Project, Source
from koschey.web.current import Koschey
from tests import prepared

PASSWORD = "correct horse battery"
JSON = "application/vnd.pypi.simple.v1+json"


def basic(username: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def by_token(token: str) -> dict[str, str]:
    return basic("__token__", token)


@dataclass
class House:
    """One process of Koschey."""

    app: Flask

    @property
    def koschey(self) -> Koschey:
        services: Koschey = self.app.extensions["koschey"]
        return services

    def client(self) -> FlaskClient:
        """A browser, or an installer, that nobody knows."""
        return self.app.test_client()

    def get(self, path: str, headers: dict[str, str] | None = None, **more: Any) -> TestResponse:
        return self.client().get(path, headers={"Accept": JSON} | (headers or {}), **more)

    def status(self, path: str, headers: dict[str, str] | None = None) -> int:
        return self.get(path, headers).status_code

    def names(self, headers: dict[str, str] | None = None, index: str = "") -> list[str]:
        """The root list."""
        answer = self.get(f"{index}/simple/", headers)
        assert answer.status_code == 200, answer.text
        return [project["name"] for project in answer.json["projects"]]

    def user(self, name: str, role: Role | None = None, password: str | None = None) -> str:
        self.koschey.accounts.create(name, password=password, role=role, actor="test")
        return name

    def token(self, user: str, *scopes: Scope, **more: Any) -> str:
        scopes = scopes or (Scope.UPLOAD,)
        return self.koschey.tokens.create(user, scopes=scopes, actor="test", **more).secret

    def grant(self, role: Role, subject: str, index: str | None = None, pattern: str = "*") -> None:
        self.koschey.grants.add(role, subject, index=index, pattern=pattern, actor="test")

    def take(self, role: Role, subject: str, index: str | None = None, pattern: str = "*") -> None:
        self.koschey.grants.remove(role, subject, index=index, pattern=pattern, actor="test")

    def make_private(self) -> None:
        self.take(Role.READER, "everyone")

    def host(self, *names: str) -> None:
        """Hosted projects, each with a file that is stored nowhere."""
        with self.koschey.database.transaction() as tx:
            source = tx.session.scalar(select(Source.id).where(Source.kind == "hosted"))
            for name in names:
                project = Project(
                    source_id=source, name=name, state="present", serial=tx.next_serial(), first_seen=now()
                )
                tx.session.add(project)
                tx.session.flush()
                tx.session.add(
                    File(
                        project_id=project.id,
                        filename=f"{name}-1.0.tar.gz",
                        version="1.0",
                        path=file_path(name),
                        sha256=digest(name),
                        size=3,
                        first_seen=now(),
                        upload_time=now(),
                        stored_at=now(),
                    )
                )

    def events(self) -> list[tuple[str, str, str | None]]:
        """(action, actor, subject) of what came after the first start, in order."""
        rows = [e for e in self.koschey.audit.events(limit=1000) if e.reason != "first start"]
        return [(event.action, event.actor, event.subject) for event in reversed(rows)]

    def form(
        self, client: FlaskClient, path: str, *, to: str = "", headers: Any = None, **fields: str
    ) -> TestResponse:
        """Load the page with a form, and send it, to the same address or another one."""
        page = client.get(path, headers=headers)
        found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
        assert found is not None, page.text
        return client.post(to or path, data={"csrf_token": found[1], **fields}, headers=headers)

    def log_in(self, client: FlaskClient, name: str, password: str = PASSWORD, **fields: str) -> TestResponse:
        return self.form(client, "/login", username=name, password=password, **fields)


def digest(name: str) -> str:
    return (name.encode().hex() * 64)[:64]


def file_path(name: str) -> str:
    sha256 = digest(name)
    return f"/packages/{sha256[:2]}/{sha256[2:4]}/{sha256[4:]}/{name}-1.0.tar.gz"


Build = Callable[..., House]


@pytest.fixture(params=["sqlite"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Empty for SQLite in the data folder. ``on_both`` makes a test run on PostgreSQL as well."""
    if request.param == "sqlite":
        return ""
    url: str = request.getfixturevalue("migrated_postgres_url")
    return url


on_both = pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)


@pytest.fixture
def build(tmp_path: Path, database_url: str) -> Iterator[Build]:
    """Makes one more process over the same data; keywords are settings."""
    with ExitStack() as stack:

        def make(**settings: Any) -> House:
            defaults = {
                "data_dir": tmp_path / "data",
                "database_url": database_url,
                "upstream_url": "",
                "log_level": "error",
            }
            wanted = settings_module.load({}, **(defaults | settings))
            if not wanted.database_url:
                prepared.copy_schema(wanted.sqlite_path)
            app = create_app(wanted, periodic_jobs=False)
            house = House(app)
            stack.callback(house.koschey.close)
            return house

        yield make


@pytest.fixture
def house(build: Build) -> House:
    return build()
