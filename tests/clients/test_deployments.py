"""Several installers at once, in front of Koschey's own server and of gunicorn."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import requests

from tests import running
from tests.clients.conftest import NewRoom
from tests.fake_upstream import FakeUpstream
from tests.running import Running

PROJECTS = 40


@pytest.fixture(scope="module", params=[False, True], ids=["koschey serve", "gunicorn"])
def wide(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server in front of one project that requires forty others."""
    with FakeUpstream() as upstream:
        names = [f"part-{number}" for number in range(PROJECTS)]
        for name in names:
            upstream.project(name).release("1.0", payload=name.encode() * 2000)
        upstream.project("wide").release("1.0", requires=names)
        folder = tmp_path_factory.mktemp("wide")
        with running.koschey(folder, upstream.simple_url, {}, gunicorn=request.param, workers=2) as process:
            yield process


def test_several_uv_at_once_do_not_stall(wide: Running, new_room: NewRoom) -> None:
    def install(_: int) -> float:
        room = new_room(wide)
        began = time.monotonic()
        assert len(room.uv_install("wide")) == PROJECTS + 1
        return time.monotonic() - began

    alone = install(0)
    with ThreadPoolExecutor(4) as pool:
        slowest = max(pool.map(install, range(4)))

    # A connection that nobody serves stalls for many seconds, however fast the machine is.
    assert slowest < max(15, 8 * alone)


def test_connections_that_ask_for_nothing_hold_up_nobody(wide: Running) -> None:
    """uv opens connections ahead of its requests, up to fifty of them."""
    parts = urlsplit(wide.url)
    with contextlib.ExitStack() as idle:
        for _ in range(50):
            idle.enter_context(socket.create_connection((str(parts.hostname), int(parts.port or 0))))
        began = time.monotonic()
        with ThreadPoolExecutor(16) as pool:  # so that each worker process meets some of them
            answers = list(pool.map(lambda _: requests.get(wide.simple + "wide/", timeout=30), range(16)))

        assert {answer.status_code for answer in answers} == {200}
        assert time.monotonic() - began < 4, "gunicorn gives such a connection a thread for five seconds"


def test_pip_installs_a_wide_set(wide: Running, new_room: NewRoom) -> None:
    assert len(new_room(wide).pip_install("wide")) == PROJECTS + 1
