"""What idle processes carry: a worker what every request needs; the one that watches them next to nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import running
from tests.prepared import copy_schema

#: As ``server.supervisor`` starts a worker, on SQLite, a folder and threads.
PROGRAM = """
import json, sys
from koschey.server.deferred import defer

defer("aiohttp")
import koschey.server.worker
from koschey.serving import create_app

services = create_app().extensions["koschey"]
for task in ("settle_asks", "resume_bulk", "tell", "settle_policies", "release_due", "sync_due"):
    services.tasks[task]()
carried = sorted(sys.modules)
services.review, services.closure, services.explanations  # what was left out is there when it is asked for
later = sorted(sys.modules)
import aiohttp
names = [aiohttp.hdrs.__name__, aiohttp.ClientSession.__name__, aiohttp.web.Application.__name__]
missing = hasattr(aiohttp, "no_such_name")
services.close()
print(json.dumps([carried, later, names, missing]))
"""

#: As ``koschey serve`` starts; what its parent has loaded once the workers accept.
PARENT = """
import sys
from koschey import serving
from koschey.__main__ import main

serving._announce = lambda url: print("carried:", *sys.modules, flush=True)
main()
"""
#: Some megabytes, most of it for what only a child does.
HEAVY = {
    "argparse", "click", "dataclasses", "http", "importlib.metadata", "inspect", "json", "logging", "pathlib",
    "re", "sqlite3", "subprocess", "traceback", "typing", "urllib",
}  # fmt: skip

RARE = {
    "aiohttp.client",
    "alembic",
    "argon2",
    "boto3",
    "flask_login",
    "flask_wtf",
    "greenlet",
    "koschey.domain.explaining",
    "koschey.domain.seeds",
    "koschey.domain.why",
    "koschey.services.accounts",
    "koschey.services.asks",
    "koschey.services.audit",
    "koschey.services.bulk",
    "koschey.services.cases",
    "koschey.services.closure",
    "koschey.services.deliberation",
    "koschey.services.explanations",
    "koschey.services.grants",
    "koschey.services.hosted",
    "koschey.services.impact",
    "koschey.services.keeping",
    "koschey.services.keyset",
    "koschey.services.metrics",
    "koschey.services.policies",
    "koschey.services.project_lists",
    "koschey.services.projects",
    "koschey.services.review",
    "koschey.services.review_queue",
    "koschey.services.scope",
    "koschey.services.search",
    "koschey.services.sightings",
    "koschey.services.sitting",
    "koschey.services.telling",
    "koschey.services.tokens",
    "koschey.services.waiting",
    "koschey.stores.ask_rows",
    "koschey.stores.browsing_rows",
    "koschey.stores.bulk_rows",
    "koschey.stores.sync_rows",
    "koschey.stores.tally_rows",
    "koschey.upstream.session",
    "packaging.pylock",
    "packaging.requirements",
    "prometheus_client",
    "psycopg2",
    "redis",
    "requests",
    "rich",
    "rq",
    "sqlalchemy.dialects.postgresql",
    "wtforms",
}


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], set[str], list[str], bool]:
    settings = {
        "KOSCHEY_DATA_DIR": str(tmp_path_factory.mktemp("data")),
        "KOSCHEY_UPSTREAM_URL": "http://upstream.example/simple/",
    }
    prepared = [sys.executable, "-m", "koschey", "db", "upgrade"]
    environment = running.clean_environment() | settings
    subprocess.run(prepared, env=environment, cwd=running.CHECKOUT, check=True, timeout=60)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        cwd=running.CHECKOUT,
        check=True,
        timeout=60,
        stdout=subprocess.PIPE,
    )
    carried, later, names, missing = json.loads(done.stdout.splitlines()[-1])
    return set(carried), set(later), names, missing


def test_an_idle_worker_does_not_carry_what_few_requests_need(
    worker: tuple[set[str], set[str], list[str], bool],
) -> None:
    carried, later, _, _ = worker
    assert RARE & carried == set()
    assert {"koschey.services.review", "koschey.services.closure", "koschey.services.explanations"} <= later


def test_the_process_that_stays_carries_next_to_nothing(tmp_path: Path) -> None:
    copy_schema(tmp_path / "koschey.sqlite")
    command = [sys.executable, "-c", PARENT, "serve", "--bind", "127.0.0.1:0", "--workers", "1"]
    environment = running.clean_environment() | {
        "KOSCHEY_UPSTREAM_URL": "",
        "KOSCHEY_DATA_DIR": str(tmp_path),
    }
    with subprocess.Popen(
        command, env=environment, cwd=running.CHECKOUT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        said = next((line.split() for line in parent.stdout if line.startswith("carried:")), [])
        parent.terminate()
    assert "koschey.server.supervisor" in said
    assert HEAVY & set(said) == set()


def test_a_package_whose_loading_was_put_off_lacks_nothing(
    worker: tuple[set[str], set[str], list[str], bool],
) -> None:
    _, _, names, missing = worker
    assert names == ["aiohttp.hdrs", "ClientSession", "Application"]
    assert not missing


def test_putting_off_what_is_loaded_or_no_package_changes_nothing() -> None:
    code = (
        "import sys, email; from koschey.server.deferred import defer\n"
        "before = sys.modules['email']; defer('email'); defer('no_such_package'); defer('colorsys')\n"
        "assert sys.modules['email'] is before and 'no_such_package' not in sys.modules\n"
        "assert 'colorsys' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=running.CHECKOUT, check=True, timeout=60)
