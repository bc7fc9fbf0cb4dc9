"""The plug-in ``koschey.contrib.proxy_header``: a header of a declared proxy, and of nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from koschey.contrib import proxy_header
from koschey.domain.permissions import Role
from koschey.errors import SettingsInvalid
from tests.access.conftest import Build, House


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    proxy_header._said.cache_clear()
    yield
    proxy_header._said.cache_clear()


def build_private(build: Build) -> House:
    house = build(plugins="koschey.contrib.proxy_header", proxy_addresses="127.0.0.1", trusted_proxies=1)
    house.make_private()
    house.koschey.groups.create("build", actor="test")
    house.grant(Role.READER, "group:build")
    return house


@pytest.mark.parametrize(
    ("peer", "headers", "status"),
    [
        ("127.0.0.1", {"X-Remote-User": "anna", "X-Remote-Groups": "other, build"}, 200),
        ("127.0.0.1", {"X-Remote-User": "anna, root"}, 401),
        ("127.0.0.1", {}, 401),
        ("127.0.0.1", {"X-Remote-User": " "}, 401),
        ("192.0.2.1", {"X-Remote-User": "anna", "X-Remote-Groups": "build"}, 401),
        ("192.0.2.1", {"X-Remote-User": "anna", "X-Forwarded-For": "127.0.0.1"}, 401),
    ],
)
def test_who_is_believed(build: Build, peer: str, headers: dict[str, str], status: int) -> None:
    house = build_private(build)
    answer = house.get("/simple/", headers, environ_base={"REMOTE_ADDR": peer})
    assert answer.status_code == status


def test_the_names_of_the_headers_can_be_said(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOSCHEY_PLUGIN_HEADER_USER", "X-Staff")
    monkeypatch.setenv("KOSCHEY_PLUGIN_HEADER_GROUPS", "X-Teams")
    monkeypatch.setenv("KOSCHEY_PLUGIN_HEADER_SEPARATOR", "|")
    house = build_private(build)
    assert house.status("/simple/", {"X-Staff": "anna", "X-Teams": "a|build"}) == 200
    assert house.status("/simple/", {"X-Remote-User": "anna"}) == 401


def test_a_misspelt_variable_stops_the_start(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOSCHEY_PLUGIN_HEADER_USERS", "X-Staff")
    with pytest.raises(SettingsInvalid, match="KOSCHEY_PLUGIN_HEADER_USERS"):
        build_private(build)
