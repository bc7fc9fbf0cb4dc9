"""Fixtures that every test may use: real services, and no way out to the network.

``postgres_url``, ``migrated_postgres_url``, ``redis_url`` and ``s3_url`` are fresh for each test; their
servers start when the first test of a run asks for one. One that does not start is an error, never a skip.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from tests import outside, prepared
from tests.services import VARIABLE, S3Server, Services, summary

_services = pytest.StashKey[Services]()


def pytest_configure(config: pytest.Config) -> None:
    outside.block()
    _keep_loggers_open()
    # xdist's workers inherit the environment of the process that began the run.
    is_worker = hasattr(config, "workerinput")
    config.stash[_services] = Services.joined() if is_worker else Services.begin()


def _keep_loggers_open() -> None:
    """A logger that was cached would keep a configuration, past a later test's ``capture_logs``."""
    configure = structlog.configure

    def uncached(**options: Any) -> None:
        configure(**(options | {"cache_logger_on_first_use": False}))

    structlog.configure = uncached


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On a user's machine, what is missing is a skip with its reason; in CI it is an error."""
    if os.environ.get("CI") != "true":
        return
    for item in items:
        for mark in item.iter_markers("skipif"):
            if any(mark.args):
                raise pytest.UsageError(f"{item.nodeid} would be skipped in CI: {mark.kwargs.get('reason')}")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and _services in config.stash:
        config.stash[_services].stop()
        os.environ.pop(VARIABLE, None)


def pytest_report_header() -> list[str]:
    return summary()


@pytest.fixture(autouse=True)
def _nothing_reaches_outside() -> Iterator[None]:
    """Fail a test that tried to leave this machine, even when the code under test swallowed the error."""
    outside.attempts.clear()
    yield
    assert not outside.attempts, f"tried to reach {', '.join(outside.attempts)}"


@pytest.fixture(scope="session")
def services(request: pytest.FixtureRequest) -> Services:
    """The services of this run; for tests that need more than one database or bucket."""
    return request.config.stash[_services]


@pytest.fixture
def postgres_url(services: Services) -> Iterator[str]:
    """A new, empty PostgreSQL database: ``postgresql://…`` for psycopg2, over a unix socket."""
    with services.database() as url:
        yield url


@pytest.fixture
def migrated_postgres_url() -> Iterator[str]:
    """A new PostgreSQL database at the newest schema."""
    with prepared.postgres() as url:
        yield url


@pytest.fixture
def redis_url(services: Services) -> str:
    """An empty database of a real Redis. Tests of one xdist worker take turns with it."""
    return services.redis_database(os.environ.get("PYTEST_XDIST_WORKER", "master"))


@pytest.fixture(scope="session")
def s3(services: Services) -> S3Server:
    """A real HTTP server that speaks S3."""
    return services.s3()


@pytest.fixture
def s3_url(s3: S3Server) -> str:
    """The storage URL of a new bucket."""
    return s3.storage_url(s3.make_bucket(), "files")
