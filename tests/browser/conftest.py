"""One browser for all tests here, one site for each module; without a browser, skips that say why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from koschey import settings as settings_module
from koschey.application import create_app
from tests.browser.browsing import Site, Visitor, chromium, missing, served, visiting
from tests.fake_upstream import FakeUpstream

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = missing()
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.skipif(bool(reason), reason=reason))
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as fake:
        yield fake


@pytest.fixture(scope="module")
def site(upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Koschey over SQLite; nothing is done in it but what a test asks for."""
    settings = settings_module.load(
        {},
        data_dir=tmp_path_factory.mktemp("site"),
        upstream_url=upstream.simple_url,
        log_level="error",
        upstream_retries=0,
    )
    app = create_app(settings, periodic_jobs=False)
    tasks: Any = app.extensions["koschey"].tasks
    tasks["derive_work"] = lambda: None  # or files would be checked while a test looks at them
    with served(app) as site:
        yield site
    site.services.close()


Visit = Callable[..., Visitor]


@pytest.fixture
def visit(browser: Browser, site: Site) -> Iterator[Visit]:
    """Makes visitors; keywords are playwright's. At the end none of them may have had trouble."""
    visitors = []
    with ExitStack() as stack:

        def make(**options: Any) -> Visitor:
            visitors.append(stack.enter_context(visiting(browser, site, **options)))
            return visitors[-1]

        yield make
        for visitor in visitors:
            visitor.check()
