"""Many clients at once, two worker processes, one upstream request."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.fake_upstream import FakeUpstream
from tests.protocol.asking import ask_page, download, file_url, path_of
from tests.running import Running, eventually
from tests.upstream_pages import Project

CLIENTS = 50


def all_at_once[T](work: Callable[[], T], clients: int = CLIENTS) -> list[T]:
    """``work`` in so many threads that start together."""
    barrier = threading.Barrier(clients)

    def run(_: int) -> T:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(run, range(clients)))


@pytest.mark.parametrize("rate", [None, 400_000], ids=["fast upstream", "slow upstream"])
def test_fifty_clients_for_a_cold_file_are_one_upstream_request(
    koschey: Running, upstream: FakeUpstream, project: Project, rate: float | None
) -> None:
    wheel = project.release("1.0", payload=b"koschey!" * 50_000)
    url = file_url(koschey, wheel)
    upstream.fail(wheel.filename, bytes_per_second=rate)

    answers = all_at_once(lambda: download(url))

    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.content == wheel.content for answer in answers)
    assert upstream.count(wheel.filename) == 1


def test_fifty_clients_for_a_cold_page_are_one_upstream_request(
    koschey: Running, upstream: FakeUpstream, project: Project
) -> None:
    project.release("1.0")
    upstream.fail(project.name, delay=0.5)

    answers = all_at_once(lambda: ask_page(koschey, project.name))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert upstream.count(project.name) == 1


def test_fifty_clients_for_cold_metadata_are_one_upstream_request(
    koschey: Running, upstream: FakeUpstream, project: Project
) -> None:
    wheel = project.release("1.0")
    url = file_url(koschey, wheel) + ".metadata"
    upstream.fail(wheel.filename + ".metadata", delay=0.5)

    answers = all_at_once(lambda: download(url))

    assert {answer.content for answer in answers} == {wheel.metadata}
    assert upstream.count(wheel.filename + ".metadata") == 1


def test_fifty_clients_for_an_unknown_name_are_one_upstream_request(
    koschey: Running, upstream: FakeUpstream
) -> None:
    name = f"nobody-{time.time_ns()}"
    upstream.fail(name, delay=0.3, status=404)

    answers = all_at_once(lambda: ask_page(koschey, name))

    assert {answer.status_code for answer in answers} == {404}
    assert upstream.count(name) == 1


def test_the_first_client_gets_bytes_while_they_arrive(
    koschey: Running, upstream: FakeUpstream, project: Project
) -> None:
    wheel = project.release("1.0", payload=b"z" * 1_000_000)
    url = file_url(koschey, wheel)
    upstream.fail(wheel.filename, bytes_per_second=400_000)
    began = time.monotonic()

    with requests.get(url, stream=True, timeout=30) as answer:
        first = next(answer.iter_content(1024))
        first_after = time.monotonic() - began
        rest = b"".join(answer.iter_content(65536))

    assert first + rest == wheel.content
    assert first_after < 1.5, "the whole file takes two seconds and a half"


def test_a_head_of_a_cold_file_downloads_nothing(
    koschey: Running, upstream: FakeUpstream, project: Project
) -> None:
    wheel = project.release("1.0")

    answer = requests.head(file_url(koschey, wheel), timeout=30)

    assert answer.status_code == 200
    assert answer.headers["Content-Length"] == str(len(wheel.content))
    assert upstream.count(wheel.filename) == 0


def test_a_range_of_a_cold_file_is_right(koschey: Running, project: Project) -> None:
    wheel = project.release("1.0", payload=b"r" * 300_000)

    answer = download(file_url(koschey, wheel), Range="bytes=-500")

    assert answer.status_code == 206
    assert answer.content == wheel.content[-500:]


def test_a_client_that_leaves_midway_does_not_spoil_the_file(
    koschey: Running, upstream: FakeUpstream, project: Project
) -> None:
    wheel = project.release("1.0", payload=b"k" * 800_000)
    url = file_url(koschey, wheel)
    upstream.fail(wheel.filename, bytes_per_second=800_000)
    host, port = koschey.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as leaving:
        leaving.sendall(f"GET {path_of(url)} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert leaving.recv(100).startswith(b"HTTP/1.1 200")

    answer = download(url)

    assert answer.content == wheel.content
    upstream.heal()
    eventually(lambda: download(url).content == wheel.content)
    assert upstream.count(wheel.filename) <= 2


def test_a_broken_transfer_from_the_upstream_is_resumed(
    koschey: Running, upstream: FakeUpstream, project: Project
) -> None:
    wheel = project.release("1.0", payload=b"q" * 300_000)
    url = file_url(koschey, wheel)
    upstream.fail(wheel.filename, cut=100_000, times=1)

    assert download(url).content == wheel.content

    ranges = [seen.headers.get("range") for seen in upstream.seen(wheel.filename)]
    assert ranges[0] is None
    assert ranges[1] is not None
    assert ranges[1].startswith("bytes=")


def test_a_wrong_file_is_never_complete_for_any_of_its_clients(
    koschey: Running, upstream: FakeUpstream, project: Project
) -> None:
    wheel = project.release("1.0", payload=b"w" * 300_000)
    url = file_url(koschey, wheel)
    wrong = wheel.content[:-1] + bytes([wheel.content[-1] ^ 1])
    upstream.fail(wheel.filename, body=wrong, bytes_per_second=600_000)

    def outcome() -> int:
        try:
            answer = download(url)
        except (requests.RequestException, http.client.HTTPException):
            return 0
        return len(answer.content) if answer.status_code == 200 else 0

    assert max(all_at_once(outcome, 10)) < len(wheel.content)
