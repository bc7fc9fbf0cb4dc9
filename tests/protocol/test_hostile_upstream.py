"""An upstream that must not be believed: the bad-input list of hardening."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests import running
from tests.fake_upstream import FakeUpstream
from tests.protocol.asking import (
    JSON,
    ask_page,
    download,
    entry,
    file_url,
    filenames,
    get,
    logged,
    page,
    whole,
)
from tests.protocol.conftest import SQLITE
from tests.running import Running, eventually
from tests.upstream_faults import endless_json, gzip_bomb
from tests.upstream_pages import Project

GATEWAY_ERRORS = {502, 503, 504}


def html(*anchors: str, head: str = "") -> dict[str, Any]:
    """A fault that replaces a page by this HTML."""
    body = f"<!DOCTYPE html><html><head>{head}</head><body>{''.join(anchors)}</body></html>"
    return {"body": body.encode(), "content_type": "text/html"}


@pytest.mark.parametrize("change", ["short", "long", "wrong", "empty"])
def test_a_body_that_is_not_the_promised_file_is_never_whole(
    eager: Running, upstream: FakeUpstream, project: Project, change: str
) -> None:
    wheel = project.release("1.0", payload=b"p" * 100_000)
    content = wheel.content
    url = file_url(eager, wheel)
    body = {"short": content[:-10], "long": content + b"x", "wrong": b"x" + content[1:], "empty": b""}
    upstream.fail(wheel.filename, body=body[change])

    got = whole(url)

    assert got is None
    upstream.heal()
    assert eventually(lambda: whole(url)) == content


def test_a_connection_that_keeps_breaking_is_never_a_whole_file(
    eager: Running, upstream: FakeUpstream, project: Project
) -> None:
    wheel = project.release("1.0", payload=b"p" * 100_000)
    url = file_url(eager, wheel)
    upstream.fail(wheel.filename, cut=10, headers={"Accept-Ranges": "none"}, body=wheel.content)

    assert whole(url) is None
    upstream.heal()
    assert eventually(lambda: whole(url)) == wheel.content


def test_a_file_without_a_hash_gets_koscheys_own(
    eager: Running, upstream: FakeUpstream, project: Project
) -> None:
    wheel = project.release("1.0")
    wheel.listed = {"hashes": {}}
    url = file_url(eager, wheel)

    assert whole(url) == wheel.content

    assert entry(eager, wheel)["hashes"] == {"sha256": wheel.sha256}
    assert upstream.count(wheel.filename) == 1


def test_a_known_file_keeps_its_bytes_when_the_upstream_changes_them(
    eager: Running, project: Project
) -> None:
    wheel = project.release("1.0")
    url = file_url(eager, wheel)
    before, digest = wheel.content, wheel.sha256
    whole(url)

    wheel.content = before + b"tampered"
    project.touch()

    for _ in range(2):
        assert entry(eager, wheel)["hashes"] == {"sha256": digest}
    assert whole(url) == before
    [alarm] = logged(eager, "upstream.bytes_changed", filename=wheel.filename)
    assert (alarm["known"], alarm["offered"]) == (digest, wheel.sha256)


UNUSABLE_PAGES: dict[str, dict[str, Any]] = {
    "slow body": {"bytes_per_second": 20.0},
    "slow head": {"head_bytes_per_second": 10.0},
    "long header": {"headers": {"X-Endless": "x" * 100_000}},
    "many headers": {"headers": {f"X-{n}": "x" for n in range(500)}},
    "endless body": {"stream": endless_json(64 << 20)},
    "deep arrays": {"body": b"[" * 2_000_000, "content_type": JSON},
    "deep objects": {"body": b'{"files":' * 400_000, "content_type": JSON},
    "gzip bomb": {"body": gzip_bomb(64 << 20), "headers": {"Content-Encoding": "gzip"}},
    "false gzip": {"body": b"not gzip", "headers": {"Content-Encoding": "gzip"}},
    "to link-local": {"redirect": "http://169.254.169.254/latest/"},
    "to loopback": {"redirect": "http://127.0.0.2:9/simple/x/"},
    "to loopback v6": {"redirect": "http://[::1]:9/"},
    "to private": {"redirect": "http://10.0.0.1/"},
    "to a local file": {"redirect": "file:///etc/passwd"},
    "to another scheme": {"redirect": "gopher://127.0.0.1/"},
    "to nowhere": {"redirect": ""},
    "html as json": {"body": b"<!DOCTYPE html><html><body>hello</body></html>", "content_type": JSON},
    "no files": {"body": b'{"meta": {}, "name": "x"}', "content_type": JSON},
    "version 2": {
        "body": b'{"meta": {"api-version": "2.0"}, "name": "x", "files": []}',
        "content_type": JSON,
    },
    "not utf-8": {"body": b"\xff\xfe\x00", "content_type": JSON},
    "an image": {"body": b"\x89PNG", "content_type": "image/png"},
}


@pytest.mark.backends(SQLITE)
@pytest.mark.parametrize("fault", UNUSABLE_PAGES.values(), ids=UNUSABLE_PAGES)
def test_an_unusable_page_is_a_gateway_error_in_time_and_changes_nothing(
    eager: Running, upstream: FakeUpstream, project: Project, fault: dict[str, Any]
) -> None:
    project.release("1.0")
    upstream.fail(project.name, **fault)
    began = time.monotonic()

    assert ask_page(eager, project.name).status_code in GATEWAY_ERRORS
    assert time.monotonic() - began < 8
    upstream.heal()
    listed = filenames(eager, project.name)
    assert len(listed) == 1
    upstream.fail(project.name, **fault)
    assert filenames(eager, project.name) == listed


def test_a_redirect_loop_ends(eager: Running, upstream: FakeUpstream, project: Project) -> None:
    upstream.fail(project.name, redirect=f"/simple/{project.name}/")

    assert ask_page(eager, project.name).status_code in GATEWAY_ERRORS
    assert upstream.count(project.name) <= 10


INNER_ADDRESSES = {
    "loopback": "http://127.0.0.2:9/x/{name}",
    "link-local": "http://169.254.169.254/{name}",
    "private": "http://192.168.1.1/{name}",
    "mapped": "http://[::ffff:127.0.0.1]:9/{name}",
    "name": "http://localhost:9/{name}",
}


@pytest.mark.backends(SQLITE)
@pytest.mark.parametrize("address", INNER_ADDRESSES.values(), ids=INNER_ADDRESSES)
def test_files_at_inner_addresses_are_not_fetched(eager: Running, project: Project, address: str) -> None:
    wheel = project.release("1.0")
    wheel.listed = {"url": address.format(name=wheel.filename)}
    if wheel.filename not in filenames(eager, project.name):
        return

    answer = download(file_url(eager, wheel))

    assert answer.status_code in GATEWAY_ERRORS


def test_another_port_of_the_upstreams_host_needs_its_operators_word(tmp_path: Path) -> None:
    with FakeUpstream(file_host="127.0.0.1") as upstream:
        wheel = upstream.project("foo").release("1.0")
        with running.koschey(tmp_path, upstream.simple_url, {}) as process:
            url = file_url(process, wheel)
            assert download(url).status_code in GATEWAY_ERRORS
            assert upstream.count(wheel.filename) == 0

            process.cli("upstream", "edit", "upstream", "--internal")

            running.eventually(lambda: whole(url) == wheel.content)


HOSTILE_ENTRIES: dict[str, dict[str, Any]] = {
    "script url": {"url": "javascript:alert(1)"},
    "local url": {"url": "file:///etc/passwd"},
    "data url": {"url": "data:text/plain,x"},
    "name upwards": {"filename": "../evil-1.0-py3-none-any.whl"},
    "name with a slash": {"filename": "a/b-1.0-py3-none-any.whl"},
    "name with a header": {"filename": "evil\r\nX-Evil: 1.whl"},
    "no name": {"filename": ""},
    "number as name": {"filename": 7},
    "number as url": {"url": 7},
    "digest not hex": {"hashes": {"sha256": "not hex"}},
    "text as hashes": {"hashes": "text"},
}


@pytest.mark.backends(SQLITE)
@pytest.mark.parametrize("overrides", HOSTILE_ENTRIES.values(), ids=HOSTILE_ENTRIES)
def test_a_hostile_entry_is_left_out_and_the_others_stay(
    eager: Running, project: Project, overrides: dict[str, Any]
) -> None:
    good = project.release("1.0")
    bad = project.release("1.1")
    bad.listed = overrides

    assert good.filename in filenames(eager, project.name)
    answer = ask_page(eager, project.name, Accept="text/html")
    assert answer.status_code == 200
    assert "javascript:" not in answer.text
    assert "../evil" not in answer.text
    if "hashes" not in overrides:
        assert filenames(eager, project.name) == [good.filename]


STRANGE_VALUES: dict[str, dict[str, Any]] = {
    "negative size": {"size": -1},
    "text as size": {"size": "big"},
    "null size": {"size": None},
    "no time": {"upload-time": "yesterday"},
    "null time": {"upload-time": None},
    "null requires-python": {"requires-python": None},
    "number requires-python": {"requires-python": 3},
    "empty yank": {"yanked": ""},
    "null yank": {"yanked": None},
    "text as metadata": {"core-metadata": "yes"},
    "number as digest": {"core-metadata": {"sha256": 5}},
    "null metadata": {"core-metadata": None},
    "script provenance": {"provenance": "javascript:alert(1)"},
    "null provenance": {"provenance": None},
    "old metadata key": {"dist-info-metadata": True, "core-metadata": False},
    "signature key": {"gpg-sig": True},
    "private key": {"_private": {"x": 1}},
}


@pytest.mark.backends(SQLITE)
@pytest.mark.parametrize("overrides", STRANGE_VALUES.values(), ids=STRANGE_VALUES)
def test_a_strange_value_costs_no_page_and_is_not_passed_on(
    eager: Running, project: Project, overrides: dict[str, Any]
) -> None:
    project.release("1.0")
    strange = project.release("1.1")
    strange.listed = overrides

    for listed in page(eager, project.name)["files"]:
        assert listed.get("size", 0) is not None
        assert type(listed.get("size", 0)) is int
        assert listed.get("size", 0) >= 0
        assert listed.get("upload-time", "Z").endswith("Z")
        assert listed.get("yanked", False) != ""
        assert listed.get("yanked", False) is not None
        assert not str(listed.get("provenance") or "").startswith("javascript")
        assert "gpg-sig" not in listed
        assert "dist-info-metadata" not in listed
        assert "_private" not in listed


def test_html_is_rebuilt_and_never_passed_on(
    eager: Running, upstream: FakeUpstream, project: Project
) -> None:
    name = project.name.replace("-", "_")
    digest = "0" * 64
    upstream.fail(
        project.name,
        **html(
            f'<a href="/x/{name}-1.0-py3-none-any.whl#sha256={digest}" onclick="evil()" '
            f'data-requires-python="&gt;=3&quot;&gt;&lt;script&gt;evil()&lt;/script&gt;">'
            f"{name}-1.0-py3-none-any.whl</a>",
            f'<a href="javascript:alert(1)">{name}-1.1-py3-none-any.whl</a>',
            "<script>evil()</script><img src=x onerror=evil()>",
            f'<a href="/x/{name}-1.2-py3-none-any.whl#sha1=abc">{name}-1.2-py3-none-any.whl</a>',
            head='<base href="http://evil.example/">',
        ),
    )

    answer = ask_page(eager, project.name, Accept="text/html")

    assert answer.status_code == 200
    for trace in ("<script", "onclick", "onerror", "javascript:", "evil.example", "<base", "#sha1="):
        assert trace not in answer.text


def test_a_file_of_another_project_is_left_out(eager: Running, project: Project) -> None:
    good = project.release("1.0")
    project.add("numpy-99.0-py3-none-any.whl", b"not ours", version="99.0")
    project.add("numpy-99.0.tar.gz", b"not ours", version="99.0")

    assert filenames(eager, project.name) == [good.filename]


def test_a_page_of_another_project_is_refused(
    eager: Running, upstream: FakeUpstream, project: Project
) -> None:
    upstream.fail(
        project.name,
        body=json.dumps({"meta": {"api-version": "1.4"}, "name": "other", "files": []}).encode(),
        content_type=JSON,
    )

    assert ask_page(eager, project.name).status_code in GATEWAY_ERRORS


def test_two_urls_for_one_filename_are_one_file(
    eager: Running, upstream: FakeUpstream, project: Project
) -> None:
    wheel = project.release("1.0")
    document = project.document()
    document["files"].append(wheel.entry() | {"url": upstream.url + "/other/" + wheel.filename})
    upstream.fail(project.name, body=json.dumps(document).encode(), content_type=JSON)

    assert filenames(eager, project.name) in ([wheel.filename], [])


def test_served_metadata_that_is_not_the_advertised_is_not_passed_on(
    eager: Running, upstream: FakeUpstream, project: Project
) -> None:
    wheel = project.release("1.0")
    url = file_url(eager, wheel) + ".metadata"
    upstream.fail(wheel.filename + ".metadata", body=b"Metadata-Version: 2.1\nName: evil\nVersion: 6\n")

    assert download(url).status_code in GATEWAY_ERRORS
    upstream.heal()
    assert download(url).content == wheel.metadata


def test_response_headers_of_the_upstream_stay_there(
    eager: Running, upstream: FakeUpstream, project: Project
) -> None:
    wheel = project.release("1.0")
    hostile = {
        "Set-Cookie": "session=stolen",
        "X-Accel-Redirect": "/_blobs/other",
        "Location": "http://evil.example/",
        "Content-Disposition": 'attachment; filename="evil.whl"',
        "X-Evil": "1",
    }
    for target in (project.name, wheel.filename, wheel.filename + ".metadata"):
        upstream.fail(target, headers=hostile)
    url = file_url(eager, wheel)

    for answer in (ask_page(eager, project.name), download(url), download(url + ".metadata")):
        assert answer.status_code == 200
        for name in ("Set-Cookie", "X-Accel-Redirect", "Location", "X-Evil"):
            assert name not in answer.headers
        assert "evil" not in answer.headers.get("Content-Disposition", "")


def test_a_slow_file_ends_at_its_deadline(eager: Running, upstream: FakeUpstream, project: Project) -> None:
    wheel = project.release("1.0", payload=b"s" * 10_000)
    url = file_url(eager, wheel)
    upstream.fail(wheel.filename, bytes_per_second=20.0)
    began = time.monotonic()

    assert whole(url) is None
    assert time.monotonic() - began < 10


def test_an_unknown_path_reaches_no_upstream(eager: Running, upstream: FakeUpstream) -> None:
    before = len(upstream.requests)

    answer = get(f"{eager.url}/packages/aa/bb/{'0' * 60}/never_seen-1.0-py3-none-any.whl")

    assert answer.status_code == 404
    assert len(upstream.requests) == before
