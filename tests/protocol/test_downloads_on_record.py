"""What counts as a download: a GET that delivers the beginning of a file, by whoever asked."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
import requests

from tests import running
from tests.fake_upstream import FakeUpstream
from tests.protocol.asking import download, file_url, path_of
from tests.protocol.conftest import NO_HOT_PATH, SQLITE, Settings
from tests.running import Running, eventually, raw_request
from tests.upstream_pages import Project, UpstreamFile

QUERY = (
    "SELECT d.actor, d.count FROM download d JOIN file f ON f.id = d.file_id "
    "JOIN \"index\" i ON i.id = d.index_id WHERE f.filename = '{}' AND i.name = '{}' ORDER BY d.actor"
)
LOCAL = "127.0.0.1"


def recorded(koschey: Running, filename: str, index: str = "main") -> list[tuple[str, int]]:
    """Who got a file how often."""
    query = QUERY.format(filename, index)
    if url := koschey.environment.get("KOSCHEY_DATABASE_URL"):
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return [(row[0], row[1]) for row in cursor.fetchall()]
    with closing(sqlite3.connect(koschey.data_dir / "koschey.sqlite")) as connection:
        return connection.execute(query).fetchall()


def comes_to(koschey: Running, file: UpstreamFile, expected: list[tuple[str, int]]) -> None:
    """Wait until so many downloads are on record."""
    eventually(lambda: recorded(koschey, file.filename) == expected, 60)


def test_each_download_of_a_file_is_on_record_with_the_clients_address(
    koschey: Running, project: Project
) -> None:
    wheel = project.release("1.0", payload=b"x" * 100)
    large = project.release("2.0", payload=bytes(range(256)) * 4096)
    for file in (wheel, large):
        url = file_url(koschey, file)
        for _ in range(3):  # streamed while it arrives, then from the store
            assert download(url).content == file.content
    for file in (wheel, large):
        comes_to(koschey, file, [(LOCAL, 3)])


REQUESTS: dict[str, tuple[str, dict[str, str], int]] = {
    "head": ("HEAD", {}, 0),
    "not modified": ("GET", {"If-None-Match": '"{sha256}"'}, 0),
    "the middle": ("GET", {"Range": "bytes=10-"}, 0),
    "the end": ("GET", {"Range": "bytes=-10"}, 0),
    "behind the end": ("GET", {"Range": "bytes=99999999-"}, 0),
    "the beginning": ("GET", {"Range": "bytes=0-9"}, 1),
    "all as a range": ("GET", {"Range": "bytes=0-"}, 1),
    "a range that is not understood": ("GET", {"Range": "lines=1-2"}, 1),
    "a range of other bytes": ("GET", {"Range": "bytes=10-", "If-Range": '"other"'}, 1),
    "a stale copy": ("GET", {"If-None-Match": '"other"'}, 1),
}


def test_only_what_delivers_the_beginning_counts(koschey: Running, upstream: FakeUpstream) -> None:
    project = upstream.project("counted-by-kind")
    files = {kind: project.release(f"1.{number}", payload=b"x" * 100) for number, kind in enumerate(REQUESTS)}
    last = project.release("2.0")
    for kind, (method, headers, _) in REQUESTS.items():
        url = file_url(koschey, files[kind])
        download(url)
        sent = {name: value.format(sha256=files[kind].sha256) for name, value in headers.items()}
        response, _body = raw_request(koschey.url, method, path_of(url), sent)
        assert response.status in (200, 206, 302, 304, 416)
        for suffix in (".metadata", ".provenance_url.json", ".record.json"):
            assert raw_request(koschey.url, "GET", path_of(url) + suffix)[0].status in (200, 404)
    eventually(lambda: download(file_url(koschey, last)) and recorded(koschey, last.filename), 60)
    for kind, (_, _, count) in REQUESTS.items():
        comes_to(koschey, files[kind], [(LOCAL, 1 + count)])


@pytest.mark.backends(SQLITE)
def test_a_hidden_file_and_a_missing_one_leave_no_record(
    upstream: FakeUpstream, project: Project, tmp_path: Path
) -> None:
    hidden = project.release("1.0", upload_time=None)
    shown = project.release("2.0", upload_time="2015-01-01T00:00:00Z")
    settings = {"KOSCHEY_QUARANTINE_DAYS": "30"}
    with running.koschey(tmp_path, upstream.simple_url, settings, workers=1) as process:
        url = file_url(process, shown)
        assert requests.get(process.url + hidden.path, timeout=60).status_code == 403
        assert download(url).status_code == 200
        process.stop()
        assert recorded(process, shown.filename) == [(LOCAL, 1)]
        assert recorded(process, hidden.filename) == []


@pytest.mark.backends(SQLITE, NO_HOT_PATH)
def test_behind_a_proxy_it_is_the_address_that_the_proxy_says_and_no_other(
    backend: Settings, upstream: FakeUpstream, project: Project, tmp_path: Path
) -> None:
    wheel = project.release("1.0")
    with running.koschey(
        tmp_path, upstream.simple_url, {"KOSCHEY_TRUSTED_PROXIES": "1"} | dict(backend()), workers=1
    ) as process:
        url = file_url(process, wheel)
        download(url)  # it is stored now, and answered by the hot path where there is one
        for said in ("10.1.2.3", "6.6.6.6, 10.1.2.3", "10.9.9.9"):
            download(url, X_Forwarded_For=said)
        process.stop()
        assert recorded(process, wheel.filename) == [("10.1.2.3", 2), ("10.9.9.9", 1), (LOCAL, 1)]


def test_without_a_trusted_proxy_nobody_else_is_believed(koschey: Running, project: Project) -> None:
    wheel = project.release("1.0")
    url = file_url(koschey, wheel)
    for _ in range(2):
        download(url, X_Forwarded_For="10.1.2.3")
    comes_to(koschey, wheel, [(LOCAL, 2)])


@pytest.mark.backends(SQLITE)
@pytest.mark.parametrize("hot_path", ["on", "off"])
def test_a_clean_stop_writes_down_what_was_counted_and_nginx_s_part_counts_as_well(
    upstream: FakeUpstream, project: Project, tmp_path: Path, hot_path: str
) -> None:
    wheel = project.release("1.0", payload=b"n" * 600_000)
    settings = {"KOSCHEY_ACCEL_REDIRECT": "/_blobs/", "KOSCHEY_HOT_PATH": hot_path}
    with running.koschey(tmp_path, upstream.simple_url, settings) as process:
        url = file_url(process, wheel)
        asked = 1
        while "X-Accel-Redirect" not in requests.get(url, timeout=60).headers:  # it is not stored yet
            asked += 1
        raw_request(process.url, "GET", path_of(url), {"Range": "bytes=5-"})
        process.stop()
        assert recorded(process, wheel.filename) == [(LOCAL, asked)]


@pytest.mark.backends(SQLITE)
def test_an_index_counts_its_own(upstream: FakeUpstream, project: Project, tmp_path: Path) -> None:
    wheel = project.release("1.0")
    with running.koschey(tmp_path, upstream.simple_url, {}, workers=1) as process:
        process.cli("index", "add", "team", "--source", "upstream")
        url = file_url(process, wheel)
        download(url)
        for _ in range(2):
            download(url.replace(process.url, f"{process.url}/team"))
        process.stop()
        assert recorded(process, wheel.filename, "team") == [(LOCAL, 2)]
        assert recorded(process, wheel.filename) == [(LOCAL, 1)]
