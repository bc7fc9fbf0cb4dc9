"""What changes for people counts at the next request in every process: workers, gunicorn, elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import requests

from tests import prepared, running
from tests.fake_upstream import FakeUpstream
from tests.running import Running

#: New connections, so that each worker gets some.
TRIES = 12


@pytest.fixture(scope="module", params=["one machine", "two machines"])
def machines(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Running]]:
    """Two workers on SQLite; or two workers here and gunicorn there on one PostgreSQL."""
    with ExitStack() as stack:
        upstream = stack.enter_context(FakeUpstream())
        upstream.project("sample").release("1.0")
        settings: dict[str, str] = {}
        if request.param == "two machines":
            settings = {"KOSCHEY_DATABASE_URL": stack.enter_context(prepared.postgres())}
        folder = tmp_path_factory.mktemp("machine")
        first = stack.enter_context(running.koschey(folder / "a", upstream.simple_url, settings))
        found = [first]
        if settings:
            second = running.start_koschey(folder / "b", upstream.simple_url, settings, gunicorn=True)
            stack.callback(second.stop)
            found.append(second)
        first.cli("grant", "remove", "reader", "everyone")
        yield found


def statuses(machines: list[Running], token: str) -> set[int]:
    asked = [machine for machine in machines for _ in range(TRIES)]
    return {
        requests.get(f"{machine.simple}sample/", auth=("__token__", token), timeout=60).status_code
        for machine in asked
    }


def test_a_token_a_grant_and_a_user_count_at_the_next_request_everywhere(machines: list[Running]) -> None:
    operator = machines[0]
    operator.cli("user", "create", "anna", "--role", "reader")
    token = operator.cli("token", "create", "anna").strip()
    other = operator.cli("token", "create", "anna", "--scope", "read").strip()
    for _ in range(2):  # the second time from what is remembered
        assert statuses(machines, token) == {200}
    operator.cli("token", "revoke", "1")
    assert statuses(machines, token) == {401}
    assert statuses(machines, other) == {200}
    operator.cli("grant", "remove", "reader", "anna")
    assert statuses(machines, other) == {404}
    operator.cli("grant", "add", "reader", "signed-in", "--project", "s*")
    assert statuses(machines, other) == {200}
    operator.cli("user", "disable", "anna")
    assert statuses(machines, other) == {401}
    operator.cli("user", "enable", "anna")
    assert statuses(machines, other) == {200}


def test_the_start_prints_the_link_of_the_first_admin_and_logs_no_secret(machines: list[Running]) -> None:
    operator = machines[0]
    printed = [line.strip() for line in operator.log.splitlines() if line.startswith("  http")]
    [link] = [line for line in printed if "/setup/" in line]
    assert link.startswith(f"{operator.url}/setup/")
    assert requests.get(link, headers={"Accept": "text/html"}, timeout=60).status_code == 200
    assert operator.cli("user", "setup-link").startswith("/setup/")
    for machine in machines:
        logged = "\n".join(line for line in machine.log.splitlines() if line.startswith("{"))
        assert link.rpartition("/")[2] not in logged and "koschey_" not in logged.replace("koschey_***", "")
    operator.cli("user", "create", "root", "--role", "admin")
    assert requests.get(link, timeout=60).status_code == 404
