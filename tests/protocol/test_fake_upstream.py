"""The scripted upstream does what its orders say; otherwise every other test here proves nothing."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.fake_upstream import JSON, FakeUpstream
from tests.upstream_faults import endless_json, gzip_bomb
from tests.upstream_pages import ABSENT


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as fake:
        yield fake


def page(upstream: FakeUpstream, name: str, **headers: str) -> requests.Response:
    wanted = {"Accept": JSON} | {key.replace("_", "-"): value for key, value in headers.items()}
    return requests.get(f"{upstream.simple_url}{name}/", headers=wanted, timeout=60)


def test_a_release_is_listed_and_served_with_its_metadata(upstream: FakeUpstream) -> None:
    wheel = upstream.project("Foo.Bar").release(
        "1.0", sdist=True, requires=["other"], requires_python=">=3.9"
    )

    listing = page(upstream, "foo-bar").json()

    assert listing["name"] == "foo-bar"
    assert [f["filename"] for f in listing["files"]] == ["foo_bar-1.0-py3-none-any.whl", "foo_bar-1.0.tar.gz"]
    entry = listing["files"][0]
    assert re.search(
        r"/packages/[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60}/foo_bar-1.0-py3-none-any.whl$", entry["url"]
    )
    content = requests.get(entry["url"], timeout=60).content
    assert hashlib.sha256(content).hexdigest() == entry["hashes"]["sha256"]
    metadata = requests.get(entry["url"] + ".metadata", timeout=60).content
    assert b"Requires-Dist: other" in metadata
    assert entry["core-metadata"] == {"sha256": hashlib.sha256(metadata).hexdigest()}
    assert upstream.count("foo-bar") == upstream.count(wheel.filename) == 1


def test_the_html_form_says_the_same(upstream: FakeUpstream) -> None:
    upstream.project("foo").release("1.0", requires_python=">=3.9,<4", yanked='say "no"')

    text = page(upstream, "foo", Accept="text/html").text

    assert 'data-requires-python="&gt;=3.9,&lt;4"' in text
    assert 'data-yanked="say &quot;no&quot;"' in text


def test_etags_and_serials(upstream: FakeUpstream) -> None:
    project = upstream.project("foo")
    project.release("1.0")
    first = page(upstream, "foo")

    assert first.headers["X-PyPI-Last-Serial"] == str(first.json()["meta"]["_last-serial"])
    assert page(upstream, "foo", If_None_Match=first.headers["ETag"]).status_code == 304
    project.release("2.0")
    changed = page(upstream, "foo", If_None_Match=first.headers["ETag"])
    assert changed.status_code == 200
    assert changed.json()["meta"]["_last-serial"] > first.json()["meta"]["_last-serial"]


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"status": 503, "retry_after": 7}, 503),
        ({"status": 404}, 404),
        ({"redirect": "/simple/other/", "times": 1}, 302),
    ],
    ids=["busy", "missing", "moved"],
)
def test_scripted_statuses(upstream: FakeUpstream, fault: dict[str, Any], status: int) -> None:
    upstream.project("foo").release("1.0")
    upstream.fail("foo", **fault)

    answer = requests.get(upstream.simple_url + "foo/", allow_redirects=False, timeout=60)

    assert answer.status_code == status
    assert answer.headers.get("Retry-After") == ("7" if status == 503 else None)


@pytest.mark.parametrize("fault", [{"down": True}, {"cut": 5}], ids=["down", "cut"])
def test_broken_transfers(upstream: FakeUpstream, fault: dict[str, Any]) -> None:
    upstream.project("foo").release("1.0")
    upstream.fail("foo", **fault)

    with pytest.raises(requests.RequestException):
        page(upstream, "foo")


def test_a_fault_of_limited_length_heals(upstream: FakeUpstream) -> None:
    upstream.project("foo").release("1.0")
    upstream.fail("foo", status=500, times=2)

    assert [page(upstream, "foo").status_code for _ in range(3)] == [500, 500, 200]


def test_slow_bytes_take_their_time(upstream: FakeUpstream) -> None:
    wheel = upstream.project("foo").release("1.0", payload=b"x" * 4000)
    upstream.fail(wheel.filename, bytes_per_second=len(wheel.content) * 2)
    began = time.monotonic()

    assert requests.get(wheel.url, timeout=60).content == wheel.content
    assert time.monotonic() - began > 0.4


def test_bodies_that_are_too_much(upstream: FakeUpstream) -> None:
    upstream.project("foo").release("1.0")
    upstream.fail("foo", stream=endless_json(1 << 20))
    assert len(page(upstream, "foo").content) > 1 << 20
    upstream.fail("foo", body=gzip_bomb(1 << 20), headers={"Content-Encoding": "gzip"})
    assert len(page(upstream, "foo").content) == 1 << 20


def test_a_page_can_lie_and_freeze(upstream: FakeUpstream) -> None:
    project = upstream.project("foo")
    wheel = project.release("1.0")
    wheel.listed = {"hashes": {}, "size": ABSENT}
    assert "size" not in page(upstream, "foo").json()["files"][0]
    project.freeze()
    project.vanish(wheel.filename)
    assert len(page(upstream, "foo").json()["files"]) == 1
    project.thaw()
    assert page(upstream, "foo").json()["files"] == []


def test_a_transfer_can_be_resumed(upstream: FakeUpstream) -> None:
    wheel = upstream.project("foo").release("1.0")

    rest = requests.get(wheel.url, headers={"Range": "bytes=10-"}, timeout=60)

    assert rest.status_code == 206
    assert rest.content == wheel.content[10:]


def test_stopped_it_refuses_and_started_again_it_is_the_same(upstream: FakeUpstream) -> None:
    upstream.project("foo").release("1.0")
    with requests.Session() as session:
        session.get(upstream.simple_url + "foo/", timeout=60)
        upstream.stop()
        with pytest.raises(requests.ConnectionError):
            session.get(upstream.simple_url + "foo/", timeout=60)
    upstream.start_again()
    assert page(upstream, "foo").status_code == 200


def test_files_may_live_on_another_host() -> None:
    with FakeUpstream(file_host="127.0.0.2", public_paths=False) as upstream:
        wheel = upstream.project("foo").release("1.0")

        assert wheel.url.startswith("http://127.0.0.2:")
        assert requests.get(wheel.url, timeout=60).content == wheel.content
