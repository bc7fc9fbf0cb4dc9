"""Koschey in each way it can run, in front of one scripted upstream.

``koschey`` trusts a page for ten minutes; ``eager`` looks at the upstream before every answer, so that a
test sees what it has just changed there; ``unlucky`` is another such one for tests in which the upstream
does not answer, because whoever has a stored page does not wait for an upstream that has just failed.
They are started once for each backend; tests keep apart by using projects of their own.

A test that uses ``backend``, by itself or through one of these, runs once for each way to run, or for
those that ``@pytest.mark.backends(…)`` names. They are sorted by that, and ``--dist worksteal`` hands a
worker a run of neighbours, so that two workers seldom start the same processes.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests import prepared, running
from tests.fake_upstream import FakeUpstream
from tests.running import Running
from tests.services import Services
from tests.upstream_pages import Project

SQLITE, NO_HOT_PATH, POSTGRES_S3 = BACKENDS = ("sqlite", "no-hot-path", "postgres-s3")

Settings = Callable[[], Mapping[str, str]]
_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "backends(*names): the ways to run that a test proves something about")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("backends")
    names = BACKENDS if marker is None else marker.args
    metafunc.parametrize("backend", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Settings:
    """Makes the settings of one more Koschey of this kind, with a database and bucket of its own."""
    if request.param == SQLITE:
        return dict
    if request.param == NO_HOT_PATH:
        return lambda: {"KOSCHEY_HOT_PATH": "off"}
    # Asked for by name, so that the other backends start neither database nor storage.
    make: Settings = request.getfixturevalue("production")
    return make


@pytest.fixture(scope="session")
def production(services: Services) -> Iterator[Settings]:
    """Settings with a new PostgreSQL database and a new bucket each time."""
    with contextlib.ExitStack() as databases:

        def make() -> Mapping[str, str]:
            s3 = services.s3()
            # Clients reach storage by another host name than Koschey's, as they do in the field.
            public = f"&public_endpoint={s3.endpoint.replace('127.0.0.1', 'localhost')}"
            return {
                "KOSCHEY_DATABASE_URL": databases.enter_context(prepared.postgres()),
                "KOSCHEY_STORAGE_URL": s3.storage_url(s3.make_bucket(), "files", options=public),
            }

        yield make


@pytest.fixture(scope="session")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as fake:
        yield fake


@pytest.fixture(autouse=True)
def _no_faults_left(upstream: FakeUpstream) -> Iterator[None]:
    yield
    upstream.heal()


@pytest.fixture(scope="session")
def koschey(
    backend: Settings, upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("koschey")
    with running.koschey(folder, upstream.simple_url, backend(), workers=2) as process:
        yield process


_EAGER = {
    "KOSCHEY_REFRESH_SECONDS": "0",
    "KOSCHEY_STALE_SECONDS": "0",
    "KOSCHEY_NEGATIVE_SECONDS": "0",
    "KOSCHEY_UPSTREAM_RETRIES": "0",
    "KOSCHEY_READ_TIMEOUT": "2",
    "KOSCHEY_PAGE_DEADLINE": "3",
    "KOSCHEY_REFRESH_DEADLINE": "3",
    "KOSCHEY_FILE_DEADLINE": "4",
    "KOSCHEY_MAX_PAGE_BYTES": str(4 << 20),
    "KOSCHEY_MAX_METADATA_BYTES": str(1 << 20),
}


@pytest.fixture(scope="session")
def eager(
    backend: Settings, upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("eager")
    with running.koschey(folder, upstream.simple_url, _EAGER | dict(backend()), workers=2) as process:
        yield process


@pytest.fixture(scope="session")
def unlucky(
    backend: Settings, upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("unlucky")
    with running.koschey(folder, upstream.simple_url, _EAGER | dict(backend())) as process:
        yield process


@pytest.fixture
def alone(backend: Settings, upstream: FakeUpstream, tmp_path: Path) -> Iterator[Running]:
    """As ``unlucky``, and of one test: for an upstream that asks to be left alone, which it then is."""
    with running.koschey(tmp_path, upstream.simple_url, _EAGER | dict(backend())) as process:
        yield process


@pytest.fixture
def project(upstream: FakeUpstream) -> Project:
    """A project that no other test knows, without a release yet."""
    return upstream.project(f"sample-{next(_numbers)}")


@pytest.fixture(scope="session")
def showcase(upstream: FakeUpstream) -> Project:
    """A project with a file of every kind that an index may have to list; nobody changes it."""
    project = upstream.project("Show.Case")
    project.release("1.0", sdist=True, provenance={"version": 1, "attestation_bundles": []})
    project.release("1.1", yanked=True)
    project.release("1.2", yanked='broken & "bad" <really>')
    project.release("1.3", upload_time="2025-05-06T07:08:09Z", requires_python=">=3.9,<4")
    project.release("1.4", requires_python='>=3.9; "not valid" & odd')
    project.release("1.5", upload_time=None)
    project.release("2.0b1", sdist=True)
    project.release("1!1.0")
    project.release("1.0+local.1")
    for legacy in (
        "Show.Case-0.1-1.tar.gz",
        "show_case-0.9-py2.7.egg",
        "Show.Case-0.2.win32.exe",
        "Show.Case-0.3-1.noarch.rpm",
        "Show.Case-0.4.tar.bz2",
        "Show.Case-0.5.tgz",
        "Show.Case-2004d.zip",
        "show_case-not.a.version-py3-none-any.whl",
    ):
        project.add(legacy, legacy.encode())
    return project
