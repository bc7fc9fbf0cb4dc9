"""The services as ``open_services`` puts them together, over a real database and the scripted upstream."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from koschey import settings as settings_module
from koschey.domain.names import normalize
from koschey.domain.negotiation import Representation
from koschey.opening import open_services
from koschey.services.files import ArrivingFile
from koschey.stores.lookup import FileLook
from koschey.web.current import Koschey
from tests import prepared
from tests.fake_upstream import FakeUpstream
from tests.upstream_pages import UpstreamFile

BASE = "http://index.example"


@dataclass(frozen=True)
class Deployment:
    """The services of one process."""

    koschey: Koschey

    def look(self, name: str, upstream: str = "upstream") -> None:
        """Have the mirror look at the upstream's page now."""
        source = next(s for s in self.koschey.configuration.upstreams() if s.name == upstream)
        self.koschey.catalog.refresh(source.id, normalize(name))

    def page(self, name: str, index: str = "main") -> dict[str, Any]:
        """The JSON page that a client gets. Raises: as ``Catalog.project_page``."""
        ready = self.koschey.catalog.project_page(
            index, normalize(name), Representation.JSON, "identity", BASE
        )
        page: dict[str, Any] = json.loads(ready.body)
        return page

    def listed(self, name: str, index: str = "main") -> set[str]:
        return {file["filename"] for file in self.page(name, index)["files"]}

    def find(self, file: UpstreamFile) -> FileLook:
        """The file as its public path finds it, after its page was asked for."""
        urls = {f["filename"]: f["url"] for f in self.page(file.project)["files"]}
        return self.koschey.files.find("main", urls[file.filename].removeprefix(BASE))

    def fetch(self, file: UpstreamFile) -> ArrivingFile:
        """Begin to download a file that is not stored."""
        arriving = self.koschey.files.open(self.find(file))
        assert isinstance(arriving, ArrivingFile)
        return arriving

    def rows(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        with self.koschey.database.reading() as session:
            return [dict(row) for row in session.execute(text(statement), values).mappings()]

    def execute(self, statement: str, **values: Any) -> None:
        with self.koschey.database.transaction() as tx:
            tx.session.execute(text(statement), values)

    def file(self, filename: str) -> dict[str, Any]:
        [row] = self.rows("SELECT * FROM file WHERE filename = :filename", filename=filename)
        return row

    def project(self, name: str) -> dict[str, Any]:
        [row] = self.rows("SELECT * FROM project WHERE name = :name", name=name)
        return row

    def events(self, *actions: str) -> list[dict[str, Any]]:
        """Events in order; all but the first start's, or those of ``actions``."""
        rows = self.rows("SELECT * FROM event WHERE reason IS NULL OR reason != 'first start' ORDER BY id")
        return [row for row in rows if not actions or row["action"] in actions]


Deploy = Callable[..., Deployment]


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as fake:
        yield fake


@pytest.fixture(params=["sqlite"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Empty for SQLite in the data folder. ``on_both`` makes a test run on PostgreSQL as well."""
    if request.param == "sqlite":
        return ""
    url: str = request.getfixturevalue("migrated_postgres_url")
    return url


on_both = pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)


@pytest.fixture
def deploy(tmp_path: Path, upstream: FakeUpstream, database_url: str) -> Iterator[Deploy]:
    """Makes the services of one more process over the same data; keywords are settings."""
    with ExitStack() as stack:

        def make(**settings: Any) -> Deployment:
            defaults = {
                "data_dir": tmp_path / "data",
                "database_url": database_url,
                "upstream_url": upstream.simple_url,
                "log_level": "error",
                "upstream_retries": 0,
                "read_timeout": 5.0,
            }
            wanted = settings_module.load({}, **(defaults | settings))
            if not wanted.database_url:
                prepared.copy_schema(wanted.sqlite_path)
            koschey = open_services(wanted)
            stack.callback(koschey.close)
            return Deployment(koschey)

        yield make


@pytest.fixture
def here(deploy: Deploy) -> Deployment:
    return deploy()
