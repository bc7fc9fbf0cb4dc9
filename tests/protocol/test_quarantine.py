"""What is held, rejected or withdrawn is nowhere: in no listing, behind no route, by no verb and no old ETag.

``holding`` holds for 30 days and asks the upstream before every answer; its index ``open`` holds nothing.
``brief`` holds for some seconds and trusts a page for ten minutes.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from koschey import plugins
from tests import running
from tests.fake_upstream import FakeUpstream
from tests.protocol import asking
from tests.protocol.asking import HTML, JSON, PROVENANCE
from tests.protocol.conftest import _EAGER, NO_HOT_PATH, POSTGRES_S3, SQLITE, Settings
from tests.running import Running, eventually, raw_request
from tests.services import Services
from tests.upstream_pages import Project, UpstreamFile

BRIEF_SECONDS = 5.0
#: The machine may be slow, and a file is stored and checked before its hold can end.
PATIENCE = 90.0
ATTESTED = {"version": 1, "attestation_bundles": []}


def ago(**span: float) -> str:
    """A time so long ago, as upstreams write it."""
    return (datetime.now(UTC) - timedelta(**span)).isoformat().replace("+00:00", "Z")


@pytest.fixture(scope="session")
def holding(
    backend: Settings, upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    settings = _EAGER | dict(backend()) | {"KOSCHEY_QUARANTINE_DAYS": "30"}
    folder = tmp_path_factory.mktemp("holding")
    with running.koschey(folder, upstream.simple_url, settings, workers=2) as process:
        process.cli("index", "add", "open", "--source", "upstream", "--hold-days", "0")
        yield process


@pytest.fixture(scope="session")
def brief(
    backend: Settings, upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    settings = dict(backend()) | {"KOSCHEY_QUARANTINE_DAYS": str(BRIEF_SECONDS / 86_400)}
    folder = tmp_path_factory.mktemp("brief")
    with running.koschey(folder, upstream.simple_url, settings, workers=2) as process:
        yield process


@pytest.fixture
def unattended(
    upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory, services: Services
) -> Iterator[Running]:
    """Holds for some seconds, for time alone. Nobody does a job: they wait in a Redis for workers."""
    settings = {
        "KOSCHEY_QUARANTINE_DAYS": str(BRIEF_SECONDS / 86_400),
        "KOSCHEY_REDIS_URL": services.redis_database(os.environ.get("PYTEST_XDIST_WORKER", "master")),
    }
    with running.koschey(tmp_path_factory.mktemp("unattended"), upstream.simple_url, settings) as process:
        checks = [check.name for check in plugins.all_checks(plugins.load_plugins([]))]
        reported = [option for check in checks for option in ("--check", f"{check}=reported")]
        process.cli("policy", "set", "*", *reported, "--yes")
        yield process


@pytest.fixture
def fresh(project: Project) -> UpstreamFile:
    """A release of an hour ago, with every document that may stand beside a file."""
    return project.release("2.0", upload_time=ago(hours=1), provenance=ATTESTED)


def old(project: Project, version: str = "1.0") -> UpstreamFile:
    return project.release(version, provenance=ATTESTED)


def paths(file: UpstreamFile, prefix: str = "") -> dict[str, str]:
    """Every path that could show something of a file."""
    packages = prefix + quote(file.path)
    return {
        "file": packages,
        "metadata": f"{packages}.metadata",
        "url record": f"{packages}.provenance_url.json",
        "own record": f"{packages}.record.json",
        "provenance": f"{prefix}/integrity/{file.project}/{file.version}/{file.filename}/provenance",
    }


def conditions(file: UpstreamFile) -> list[tuple[str, Mapping[str, str]]]:
    """Verbs and headers by which one could try to get at it all the same."""
    etag = f'"{file.sha256}"'
    return [
        ("GET", {}),
        ("HEAD", {}),
        ("GET", {"Range": "bytes=0-9"}),
        ("GET", {"Range": "bytes=0-9", "If-Range": etag}),
        ("GET", {"If-None-Match": etag}),
        ("GET", {"If-None-Match": "*"}),
        ("HEAD", {"If-None-Match": etag}),
        ("GET", {"Accept": PROVENANCE}),
    ]


def assert_hidden(koschey: Running, file: UpstreamFile, reason: str, prefix: str = "") -> None:
    """Whatever is asked for it: 403 with that beginning of a reason, and nothing of the file."""
    for what, path in paths(file, prefix).items():
        for verb, headers in conditions(file):
            response, body = raw_request(koschey.url, verb, path, headers)
            asked = f"{verb} {what} {dict(headers)}"
            assert response.status == 403, asked
            assert response.reason.startswith(reason), asked
            assert response.headers["Cache-Control"] == "no-store", asked
            for revealing in ("ETag", "Location", "X-Accel-Redirect", "Content-Range", "Last-Modified"):
                assert revealing not in response.headers, asked
            if verb == "HEAD":
                assert body == b"", asked
            else:
                assert json.loads(body)["status"] == 403, asked
                assert file.content[:10] not in body and file.sha256.encode() not in body, asked


def assert_shown(koschey: Running, file: UpstreamFile, prefix: str = "") -> None:
    answer = asking.download(koschey.url + paths(file, prefix)["file"])
    assert (answer.status_code, answer.content) == (200, file.content)


def etag(koschey: Running, name: str) -> str:
    answer = asking.ask_page(koschey, name)
    assert answer.status_code == 200
    return answer.headers["ETag"]


def test_old_files_are_visible_on_the_first_pull(holding: Running, project: Project) -> None:
    wheel = old(project)

    assert asking.filenames(holding, project.name) == [wheel.filename]
    assert_shown(holding, wheel)
    assert asking.get(holding.url + paths(wheel)["metadata"]).content == wheel.metadata


def test_a_fresh_file_is_in_no_listing(holding: Running, project: Project, fresh: UpstreamFile) -> None:
    wheel = old(project)

    page = asking.page(holding, project.name)
    html = asking.ask_page(holding, project.name, Accept=HTML).text

    assert [file["filename"] for file in page["files"]] == [wheel.filename]
    assert page["versions"] == ["1.0"]
    assert wheel.filename in html and fresh.filename not in html and fresh.sha256 not in html
    assert fresh.sha256 not in json.dumps(page)
    assert page["_koschey"]["hidden"] == 1


def test_no_route_verb_or_condition_gives_a_byte_of_a_held_file(
    holding: Running, project: Project, fresh: UpstreamFile
) -> None:
    asking.page(holding, project.name)

    assert_hidden(holding, fresh, "held until ")


def test_a_project_with_nothing_visible_has_an_empty_page_and_is_not_in_the_list(
    holding: Running, upstream: FakeUpstream, project: Project, fresh: UpstreamFile
) -> None:
    shown = upstream.project(f"{project.name}-shown")
    old(shown)
    for name in (project.name, shown.name):
        assert asking.ask_page(holding, name).status_code == 200

    page = asking.page(holding, project.name)
    html = asking.ask_page(holding, project.name, Accept=HTML)
    names = {entry["name"] for entry in asking.get(holding.simple, Accept=JSON).json()["projects"]}
    list_in_html = asking.get(holding.simple, Accept=HTML).text

    assert (page["files"], page["versions"]) == ([], [])
    assert html.status_code == 200 and "<a " not in html.text
    assert shown.name in names and project.name not in names
    assert f">{shown.name}<" in list_in_html and f">{project.name}<" not in list_in_html


def test_back_dated_undated_and_future_dated_files_are_held(holding: Running, project: Project) -> None:
    wheel = old(project)
    assert asking.filenames(holding, project.name) == [wheel.filename]

    back_dated = project.release("1.1", upload_time="2020-01-01T00:00:00Z")
    undated = project.release("1.2", upload_time=None)
    future = project.release("1.3", upload_time=ago(days=-3))
    listed = asking.filenames(holding, project.name)

    assert listed == [wheel.filename]
    for file, words in ((back_dated, "back-dated"), (undated, "gives no date"), (future, "in the future")):
        response, _ = raw_request(holding.url, "GET", file.path)
        assert response.status == 403
        assert words in response.reason


def test_an_undated_file_is_held_on_the_first_pull_as_well(holding: Running, project: Project) -> None:
    project.release("1.0", upload_time=None)

    assert asking.filenames(holding, project.name) == []


def test_a_late_wheel_of_an_old_release_is_held_alone(holding: Running, project: Project) -> None:
    sdist = project.release("1.0", wheel=False, sdist=True)
    assert asking.filenames(holding, project.name) == [sdist.filename]

    late = project.release("1.0", upload_time=ago(minutes=1))

    assert asking.filenames(holding, project.name) == [sdist.filename]
    assert asking.page(holding, project.name)["versions"] == ["1.0"]
    assert_shown(holding, sdist)
    assert_hidden(holding, late, "held until ")


def test_what_the_upstream_withdraws_is_hidden_from_the_next_request_on(
    holding: Running, project: Project
) -> None:
    kept, withdrawn = old(project, "1.0"), old(project, "1.1")
    before = etag(holding, project.name)
    assert_shown(holding, withdrawn)  # and so stored
    assert asking.get(holding.url + paths(withdrawn)["metadata"]).status_code == 200

    project.vanish(withdrawn.filename)
    again = asking.ask_page(holding, project.name, If_None_Match=before)

    assert again.status_code == 200
    assert [file["filename"] for file in again.json()["files"]] == [kept.filename]
    assert_hidden(holding, withdrawn, "the file was withdrawn upstream")
    assert_shown(holding, kept)


def test_a_stored_file_that_is_rejected_is_hidden_and_nothing_else_changes(
    holding: Running, upstream: FakeUpstream, project: Project
) -> None:
    """Also where it would go out by a link to the store."""
    wheel, other = old(project), upstream.project(f"{project.name}-other")
    old(other)
    assert asking.filenames(holding, project.name) == [wheel.filename]
    assert_shown(holding, wheel)
    assert_shown(holding, wheel)
    asking.page(holding, other.name)
    untouched, before = etag(holding, other.name), etag(holding, project.name)

    holding.cli("quarantine", "reject", project.name, "--reason", "stolen account", "--yes")

    assert_hidden(holding, wheel, "rejected by cli:")
    assert asking.page(holding, project.name)["files"] == []
    assert etag(holding, project.name) != before
    assert etag(holding, other.name) == untouched
    assert asking.ask_page(holding, other.name, If_None_Match=untouched).status_code == 304


def test_another_index_over_the_same_source_has_its_own_policy(
    holding: Running, project: Project, fresh: UpstreamFile
) -> None:
    assert asking.filenames(holding, project.name) == []
    listed = asking.get(f"{holding.url}/open/simple/{project.name}/", Accept=JSON).json()["files"]

    assert [file["filename"] for file in listed] == [fresh.filename]
    assert_shown(holding, fresh, "/open")
    assert_hidden(holding, fresh, "held until ")


def test_a_file_of_a_held_project_that_nobody_knows_is_not_found(
    holding: Running, project: Project, fresh: UpstreamFile
) -> None:
    asking.page(holding, project.name)
    unknown = fresh.path.replace("2.0", "9.9")

    assert asking.get(holding.url + unknown).status_code == 404


@pytest.mark.backends(SQLITE, POSTGRES_S3)
def test_a_file_is_there_when_its_hold_ends_and_the_page_is_another_one(
    brief: Running, project: Project
) -> None:
    wheel = project.release("1.0", upload_time=ago(days=20))
    # Counted from when it is seen, which leaves time to see it held.
    held = project.release("2.0", upload_time=ago(seconds=-60))
    asked_first = time.time()
    assert asking.filenames(brief, project.name) == [wheel.filename]
    before = etag(brief, project.name)
    assert asking.get(brief.url + held.path).status_code == 403
    upstream_asked = len(asking.logged(brief, "upstream.look", project=project.name))

    eventually(lambda: held.filename in asking.filenames(brief, project.name), PATIENCE)
    seen = time.time()

    assert seen - asked_first >= BRIEF_SECONDS
    again = asking.ask_page(brief, project.name, If_None_Match=before)
    assert again.status_code == 200
    assert again.json()["versions"] == ["1.0", "2.0"]
    assert_shown(brief, held)
    assert len(asking.logged(brief, "upstream.look", project=project.name)) == upstream_asked
    released = eventually(lambda: events(brief, project, "file.released"), PATIENCE)
    assert [event["subject"] for event in released] == [held.filename]


def events(koschey: Running, project: Project, action: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(
        koschey.cli("audit", "--project", project.name, "--action", action, "--json")
    )
    return found


def test_a_hold_ends_at_its_moment_with_nobody_there_who_sweeps(
    unattended: Running, project: Project
) -> None:
    held = project.release("2.0", upload_time=ago(seconds=-60))
    assert asking.filenames(unattended, project.name) == []
    seen_by = time.time()
    html = asking.ask_page(unattended, project.name, Accept=HTML)
    assert held.filename not in html.text

    time.sleep(max(0.0, seen_by + BRIEF_SECONDS - time.time()))

    assert asking.filenames(unattended, project.name) == [held.filename]
    assert held.filename in asking.ask_page(unattended, project.name, Accept=HTML).text
    assert_shown(unattended, held)
    assert events(unattended, project, "file.released") == [], "nobody has recorded it, and that is no matter"


@pytest.mark.backends(NO_HOT_PATH)
def test_a_web_server_in_front_is_not_told_where_a_hidden_file_lies(
    backend: Settings, upstream: FakeUpstream, project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    wheel = old(project)
    settings = dict(backend()) | {"KOSCHEY_ACCEL_REDIRECT": "/_blobs/", "KOSCHEY_QUARANTINE_DAYS": "30"}
    with running.koschey(
        tmp_path_factory.mktemp("accel"), upstream.simple_url, settings, workers=1
    ) as koschey:
        asking.page(koschey, project.name)
        eventually(lambda: "X-Accel-Redirect" in asking.get(koschey.url + wheel.path).headers)

        koschey.cli("quarantine", "reject", project.name, "--reason", "no", "--yes")

        assert_hidden(koschey, wheel, "rejected by cli:")


@pytest.mark.backends(POSTGRES_S3)
def test_a_link_to_the_store_is_given_for_what_is_visible_only(
    holding: Running, project: Project, fresh: UpstreamFile
) -> None:
    wheel = old(project)
    asking.page(holding, project.name)

    eventually(lambda: asking.get(holding.url + wheel.path).status_code == 302)
    assert_hidden(holding, fresh, "held until ")
