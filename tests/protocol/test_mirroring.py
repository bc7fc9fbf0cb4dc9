"""Staying in step with an upstream, and without one: conformance list D of the protocol."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import pytest

from tests import running
from tests.fake_upstream import FakeUpstream
from tests.protocol.asking import JSON, ask_page, download, entry, file_url, filenames, get, page, whole
from tests.protocol.conftest import POSTGRES_S3, SQLITE, Settings
from tests.running import Running, eventually
from tests.upstream_pages import Project


def test_a_new_release_appears(eager: Running, project: Project) -> None:
    project.release("1.0")
    before = page(eager, project.name)["meta"]["_last-serial"]

    project.release("1.1")

    after = page(eager, project.name)
    assert after["versions"] == ["1.0", "1.1"]
    assert after["meta"]["_last-serial"] > before


def test_a_page_with_an_older_serial_is_refused(eager: Running, project: Project) -> None:
    project.release("1.0")
    project.release("1.1")
    page(eager, project.name)
    listed = filenames(eager, project.name)

    del project.files[listed[-1]]
    project.serial -= 5

    assert filenames(eager, project.name) == listed
    project.serial += 6
    # Who has a stored page does not ask for a few seconds after a look that failed.
    eventually(lambda: filenames(eager, project.name) == listed[:-1])


def test_an_upstream_304_keeps_the_listing(eager: Running, upstream: FakeUpstream, project: Project) -> None:
    wheel = project.release("1.0")
    first = ask_page(eager, project.name)

    again = ask_page(eager, project.name)

    assert again.content == first.content
    conditional = upstream.seen(project.name)[-1]
    assert "if-none-match" in conditional.headers
    assert download(file_url(eager, wheel)).content == wheel.content


def test_conditional_requests_are_constant_in_what_they_accept(
    eager: Running, upstream: FakeUpstream, project: Project
) -> None:
    project.release("1.0")
    for _ in range(2):
        page(eager, project.name)

    asked = {(s.headers["accept"], s.headers["accept-encoding"]) for s in upstream.seen(project.name)}
    assert len(asked) == 1


FAILURES: dict[str, dict[str, Any]] = {
    "down": {"down": True},
    "500": {"status": 500},
    "503": {"status": 503},
    "silent": {"delay": 6.0},
    "cut": {"cut": 20},
    "403": {"status": 403},
    "captive portal": {"body": b"<html>captive portal</html>", "content_type": "text/plain"},
    "half a page": {"body": b"{", "content_type": JSON},
}


@pytest.mark.parametrize("fault", FAILURES.values(), ids=FAILURES)
def test_a_failing_upstream_leaves_everything_that_was_stored(
    unlucky: Running, upstream: FakeUpstream, project: Project, fault: dict[str, Any]
) -> None:
    _keeps_what_was_stored(unlucky, upstream, project, fault)


@pytest.mark.parametrize("status", [429, 503])
def test_an_upstream_that_asks_to_be_left_alone_leaves_everything_that_was_stored(
    alone: Running, upstream: FakeUpstream, project: Project, status: int
) -> None:
    _keeps_what_was_stored(alone, upstream, project, {"status": status, "retry_after": 3600})


def _keeps_what_was_stored(
    koschey: Running, upstream: FakeUpstream, project: Project, fault: dict[str, Any]
) -> None:
    wheel = project.release("1.0")
    url = file_url(koschey, wheel)
    for stored in (url, url + ".metadata"):
        download(stored)
    listed = filenames(koschey, project.name)
    for target in (project.name, wheel.filename, wheel.filename + ".metadata"):
        upstream.fail(target, **fault)

    assert filenames(koschey, project.name) == listed
    assert download(url).content == wheel.content
    assert download(url + ".metadata").content == wheel.metadata


@pytest.mark.parametrize(
    ("fault", "statuses"),
    [({"down": True}, {502, 503}), ({"status": 500}, {502, 503}), ({"delay": 6.0}, {504})],
    ids=["down", "500", "silent"],
)
def test_a_failing_upstream_with_nothing_stored_is_a_clear_gateway_error_and_never_404(
    unlucky: Running, upstream: FakeUpstream, project: Project, fault: dict[str, Any], statuses: set[int]
) -> None:
    project.release("1.0")
    upstream.fail(project.name, **fault)

    answer = ask_page(unlucky, project.name)

    assert answer.status_code in statuses
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert "upstream" in answer.json()["detail"]
    upstream.heal()
    assert filenames(unlucky, project.name)


def test_a_404_that_ran_out_is_not_repeated_while_the_upstream_fails(
    unlucky: Running, upstream: FakeUpstream, project: Project
) -> None:
    upstream.fail(project.name, status=404)
    assert ask_page(unlucky, project.name).status_code == 404
    upstream.fail(project.name, down=True)

    # An installer with a second index would take the name from there.
    assert ask_page(unlucky, project.name).status_code == 502


def test_one_slow_project_does_not_hold_up_the_others(
    unlucky: Running, upstream: FakeUpstream, project: Project
) -> None:
    project.release("1.0")
    other = upstream.project(project.name + "-other")
    other.release("1.0")
    upstream.fail(project.name, delay=2.5)
    began = time.monotonic()

    assert filenames(unlucky, other.name)
    assert time.monotonic() - began < 2


def test_bytes_with_a_wrong_hash_are_never_published(
    eager: Running, upstream: FakeUpstream, project: Project
) -> None:
    wheel = project.release("1.0", payload=b"x" * 200_000)
    url = file_url(eager, wheel)
    wrong = wheel.content[:-1] + bytes([wheel.content[-1] ^ 1])
    upstream.fail(wheel.filename, body=wrong)

    assert (whole(url), whole(url)) == (None, None)
    upstream.heal()
    assert running.eventually(lambda: whole(url)) == wheel.content


def test_yanks_are_copied_both_ways(eager: Running, project: Project) -> None:
    wheel = project.release("1.0")
    assert not entry(eager, wheel).get("yanked")

    for yanked in (True, "a reason", "another", False):
        project.set_yanked("1.0", yanked)
        assert entry(eager, wheel).get("yanked", False) == yanked


def test_what_the_upstream_deletes_is_hidden_and_its_bytes_are_kept(
    eager: Running, upstream: FakeUpstream, project: Project
) -> None:
    project.release("1.0")
    wheel = project.release("1.1")
    url = file_url(eager, wheel)
    download(url)

    project.vanish(wheel.filename)

    assert wheel.filename not in filenames(eager, project.name)
    assert page(eager, project.name)["versions"] == ["1.0"]
    assert download(url).status_code == 403
    project.files[wheel.filename] = wheel
    project.touch()
    upstream.fail(wheel.filename, status=500)
    assert wheel.filename in filenames(eager, project.name)
    assert download(url).content == wheel.content
    assert upstream.count(wheel.filename) == 1


def test_one_404_for_a_known_project_does_not_make_it_disappear(
    eager: Running, upstream: FakeUpstream, project: Project
) -> None:
    project.release("1.0")
    listed = filenames(eager, project.name)
    upstream.fail(project.name, status=404)

    assert filenames(eager, project.name) == listed


@pytest.mark.backends(SQLITE, POSTGRES_S3)
def test_a_deleted_project_ends_as_an_empty_page_and_never_as_404(
    eager: Running, upstream: FakeUpstream, project: Project
) -> None:
    wheel = project.release("1.0")
    url = file_url(eager, wheel)
    download(url)
    upstream.forget(project.name)

    def hidden() -> bool:
        return filenames(eager, project.name) == []

    eventually(hidden, 30)
    assert download(url).status_code == 403


def test_a_page_that_is_suddenly_empty_is_not_believed(eager: Running, project: Project) -> None:
    for number in range(8):
        project.release(f"1.{number}")
    listed = filenames(eager, project.name)

    project.files.clear()
    project.touch()

    assert filenames(eager, project.name) == listed


def test_the_upload_time_is_the_upstreams_and_stays(eager: Running, project: Project) -> None:
    wheel = project.release("1.0", upload_time="2024-02-03T04:05:06.000007Z")
    assert entry(eager, wheel)["upload-time"] == "2024-02-03T04:05:06.000007Z"

    wheel.upload_time = "2020-01-01T00:00:00.000000Z"
    project.touch()

    assert entry(eager, wheel)["upload-time"] == "2024-02-03T04:05:06.000007Z"


@pytest.mark.backends(SQLITE)
@pytest.mark.parametrize("serial", ["12345", None, "None", -7, "-7", 0, 1.5, True, "9" * 40], ids=repr)
def test_serials_of_any_form_parse(eager: Running, project: Project, serial: Any) -> None:
    project.release("1.0")
    project.serial = serial

    assert type(page(eager, project.name)["meta"]["_last-serial"]) is int
    project.set_yanked("1.0", True)
    project.serial = serial
    assert page(eager, project.name)["files"][0]["yanked"] is True


def test_the_same_bytes_of_a_known_file_at_another_url_keep_their_public_path(
    eager: Running, project: Project
) -> None:
    wheel = project.release("1.0")
    url = file_url(eager, wheel)

    wheel.path = f"/elsewhere/{wheel.filename}"
    project.touch()

    assert file_url(eager, wheel) == url
    assert download(url).content == wheel.content


def test_the_public_path_is_the_upstreams_own_where_it_has_that_form(
    koschey: Running, project: Project
) -> None:
    wheel = project.release("1.0")

    assert file_url(koschey, wheel) == koschey.url + wheel.path


def test_a_fresh_page_is_not_asked_for_again(
    koschey: Running, upstream: FakeUpstream, project: Project
) -> None:
    project.release("1.0")
    for _ in range(10):
        page(koschey, project.name)

    assert upstream.count(project.name) == 1


def test_unknown_names_are_remembered_for_a_while(koschey: Running, upstream: FakeUpstream) -> None:
    name = f"unknown-{time.time_ns()}"
    for _ in range(5):
        assert ask_page(koschey, name).status_code == 404

    assert upstream.count(name) == 1


@pytest.mark.backends(SQLITE, POSTGRES_S3)
def test_an_old_page_is_served_and_refreshed_behind_the_answer(
    backend: Settings, upstream: FakeUpstream, project: Project, tmp_path: Path
) -> None:
    project.release("1.0")
    settings = {"KOSCHEY_REFRESH_SECONDS": "0.5", "KOSCHEY_STALE_SECONDS": "3600", **backend()}
    with running.koschey(tmp_path, upstream.simple_url, settings) as process:
        page(process, project.name)
        project.release("1.1")
        upstream.fail(project.name, delay=1.0)
        time.sleep(0.7)
        began = time.monotonic()

        assert page(process, project.name)["versions"] == ["1.0"]
        assert time.monotonic() - began < 0.9
        eventually(lambda: page(process, project.name)["versions"] == ["1.0", "1.1"])


@pytest.mark.backends(SQLITE, POSTGRES_S3)
def test_a_page_beyond_the_stale_limit_is_refreshed_first(
    backend: Settings, upstream: FakeUpstream, project: Project, tmp_path: Path
) -> None:
    wheel = project.release("1.0")
    project.release("1.1")
    settings = {"KOSCHEY_REFRESH_SECONDS": "0.1", "KOSCHEY_STALE_SECONDS": "0.5", **backend()}
    with running.koschey(tmp_path, upstream.simple_url, settings) as process:
        page(process, project.name)
        project.vanish(wheel.filename)
        time.sleep(0.8)

        assert page(process, project.name)["versions"] == ["1.1"]


def test_remembered_unknown_names_are_bounded(upstream: FakeUpstream, tmp_path: Path) -> None:
    settings = {"KOSCHEY_NEGATIVE_NAMES": "20", "KOSCHEY_NEGATIVE_SECONDS": "3600"}
    with running.koschey(tmp_path, upstream.simple_url, settings, workers=1) as process:
        flood = (f"flood-{number}" for number in itertools.count())
        oldest = next(flood)
        ask_page(process, oldest)

        def forgotten() -> bool:
            for name in itertools.islice(flood, 50):
                assert ask_page(process, name).status_code == 404
            ask_page(process, oldest)
            return upstream.count(oldest) > 1

        eventually(forgotten, 60)


@pytest.mark.backends(SQLITE, POSTGRES_S3)
def test_everything_seen_is_served_after_the_upstream_is_gone(backend: Settings, tmp_path: Path) -> None:
    with FakeUpstream() as upstream:
        project = upstream.project("immortal")
        wheel = project.release("1.0", sdist=True, provenance={"version": 1, "attestation_bundles": []})
        sdist = project.files["immortal-1.0.tar.gz"]
        settings = {"KOSCHEY_STALE_SECONDS": "0", "KOSCHEY_REFRESH_SECONDS": "0", **backend()}
        process = running.start_koschey(tmp_path, upstream.simple_url, settings, workers=2)
        try:
            before = page(process, "immortal")
            root = get(process.simple, Accept=JSON).json()
            urls = [file_url(process, file) for file in (wheel, sdist)]
            provenance = entry(process, wheel)["provenance"]
            for url in [*urls, urls[0] + ".metadata", provenance]:
                assert download(url).status_code == 200
            upstream.stop()
            process.stop()
            process.start_again()

            after = page(process, "immortal")
            assert after["files"] == before["files"]
            assert get(process.simple, Accept=JSON).json()["projects"] == root["projects"] != []
            for file, url in zip((wheel, sdist), urls, strict=True):
                assert download(url).content == file.content
            assert download(urls[0] + ".metadata").content == wheel.metadata
            assert get(provenance).json() == wheel.provenance
            assert ask_page(process, "never-seen").status_code in (502, 503, 504)
        finally:
            process.stop()


@pytest.mark.backends(SQLITE, POSTGRES_S3)
def test_kill_minus_nine_loses_nothing_that_was_served(backend: Settings, tmp_path: Path) -> None:
    with FakeUpstream() as upstream:
        wheel = upstream.project("tough").release("1.0")
        process = running.start_koschey(tmp_path, upstream.simple_url, dict(backend()))
        try:
            url = file_url(process, wheel)
            download(url)
            # The client has its last byte a moment before the file is published and recorded.
            eventually(lambda: get(url + ".record.json").json()["fetched_at"])
            process.kill()
            upstream.stop()
            process.start_again()
            assert download(url).content == wheel.content
        finally:
            process.stop()
