"""A company's name in front of a second index: nothing falls through (conformance list E, 125)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from koschey import settings as settings_module
from koschey.application import create_app
from tests.clients.conftest import NewRoom, Room
from tests.fake_upstream import FakeUpstream
from tests.hosting import host
from tests.running import Running, koschey


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, FakeUpstream]]:
    """The index ``private`` over the hosted source, ``main`` behind it, and an attacker in the upstream."""
    folder = tmp_path_factory.mktemp("two-indexes")
    with FakeUpstream() as upstream:
        for name in ("acme-tool", "acme-unborn", "acme-gone"):
            upstream.project(name).release("99.0")
        upstream.project("public").release("1.0")
        with koschey(folder, upstream.simple_url, {}) as running:
            app = create_app(
                settings_module.load({}, data_dir=folder / "data", log_level="error"), periodic_jobs=False
            )
            services = app.extensions["koschey"]
            services.indexes.add_index("private", ["hosted"], hold_days=0, actor="test")
            host(services, "acme-tool", "1.0")
            host(services, "acme-gone", "1.0")
            services.projects.delete("acme-gone", reason="test", actor="test")
            services.names.reserve("acme-*", index=None, reason="test", actor="test")
            services.close()
            yield running, upstream


def uv(room: Room, first: str, second: str, *requirements: str, succeeds: bool = True) -> str:
    """``uv pip install`` with ``first`` before ``second``."""
    places = ["--index", first, "--default-index", second]
    return room.run("uv", "pip", "install", *places, "--target", "t", *requirements, succeeds=succeeds)


def test_private_names_come_from_the_first_index_and_public_ones_from_the_second(
    world: tuple[Running, FakeUpstream], new_room: NewRoom
) -> None:
    running, upstream = world
    said = uv(new_room(running), f"{running.url}/private/simple/", running.simple, "acme-tool", "public")
    assert "acme-tool==1.0" in said
    assert "public==1.0" in said
    assert [seen.target for seen in upstream.seen("*") if seen.target.startswith("acme")] == []


@pytest.mark.parametrize("name", ["acme-unborn", "acme-gone"])
def test_a_reserved_or_deleted_name_stops_uv_at_koschey_whatever_comes_behind(
    world: tuple[Running, FakeUpstream], new_room: NewRoom, name: str
) -> None:
    """With the attacker's own index second: a 404 would have sent uv there."""
    running, upstream = world
    uv(new_room(running), running.simple, upstream.simple_url, name, succeeds=False)
    assert upstream.count(name) == 0
