"""Koschey in this process, with people who may upload and people who may not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text
from werkzeug.test import TestResponse

from koschey import settings as settings_module
from koschey.application import create_app
from koschey.web.current import Koschey
from tests import prepared
from tests.artifacts import Artifact, Release, sdist, wheel
from tests.people import add_token
from tests.uploads.posting import Parts, basic, encoded, form_of

MEGABYTE = 2**20


class House:
    """A Koschey, one who may upload (``token``), and short ways to do it."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.koschey: Koschey = app.extensions["koschey"]
        self.token = add_token(self.koschey.database, "alice")
        self._numbers = itertools.count(1)

    def new_name(self) -> str:
        """The name of a project that nobody has used."""
        return f"acme-{next(self._numbers)}"

    def wheel(self, name: str | None = None, version: str = "1.0", **more: Any) -> Artifact:
        return wheel(Release(name or self.new_name(), version, **more))

    def sdist(self, name: str | None = None, version: str = "1.0", **more: Any) -> Artifact:
        return sdist(Release(name or self.new_name(), version, **more))

    def post(
        self, parts: Parts, *, to: str = "/legacy/", token: str | None = "", **more: Any
    ) -> TestResponse:
        body, headers = encoded(parts)
        return self.post_raw(body, headers, to=to, token=token, **more)

    def post_raw(
        self,
        body: bytes,
        headers: dict[str, str],
        *,
        to: str = "/legacy/",
        token: str | None = "",
        **more: Any,
    ) -> TestResponse:
        """``token``: empty for alice's, None for no credentials."""
        if token is not None:
            headers = headers | basic(token or self.token)
        return self.app.test_client().post(to, data=body, headers=headers, **more)

    def upload(
        self, file: Artifact, *, to: str = "/legacy/", token: str | None = "", **fields: Any
    ) -> TestResponse:
        return self.post(form_of(file, **fields), to=to, token=token)

    def page(self, name: str, index: str = "") -> dict[str, Any]:
        accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
        answer = self.app.test_client().get(f"{index}/simple/{name}/", headers=accept)
        assert answer.status_code == 200, answer.text
        page: dict[str, Any] = answer.json
        return page

    def listed(self, name: str) -> list[str]:
        return [file["filename"] for file in self.page(name)["files"]]

    def rows(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        with self.koschey.database.reading() as session:
            return [dict(row) for row in session.execute(text(statement), values).mappings()]

    def execute(self, statement: str, **values: Any) -> None:
        with self.koschey.database.transaction() as tx:
            tx.session.execute(text(statement), values)

    def events(self, name: str) -> list[dict[str, Any]]:
        return self.rows("SELECT * FROM event WHERE project = :name ORDER BY id", name=name)

    def spooled(self) -> list[str]:
        """What lies in the spool folder."""
        return [path.name for path in self.koschey.store.spool_dir.iterdir()]


def reason(answer: TestResponse) -> str:
    """The reason phrase, which is all that twine, flit and hatch show."""
    return answer.status.partition(" ")[2]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    settings = {
        "data_dir": tmp_path_factory.mktemp("house") / "data",
        "upstream_url": "",
        "log_level": "error",
        "max_upload_bytes": 8 * MEGABYTE,
    }
    with built(settings) as made:
        yield made


class built:  # noqa: N801 - a with statement's
    """A house with these settings."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings

    def __enter__(self) -> House:
        settings = settings_module.load({}, **self._settings)
        prepared.copy_schema(settings.sqlite_path)
        app = create_app(settings, periodic_jobs=False)
        self._house = House(app)
        return self._house

    def __exit__(self, *_: object) -> None:
        self._house.koschey.close()


def data_of(house: House) -> Path:
    return house.koschey.settings.data_dir
