"""Why: the same verdict in the same words for an installer, a person, a program and a terminal."""

from __future__ import annotations

import html
import itertools
import json
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
import requests

from koschey.settings import Settings
from tests import commands, running
from tests.fake_upstream import FakeUpstream
from tests.protocol.asking import HTML, JSON, PROVENANCE, get, page
from tests.running import Running, eventually, raw_request
from tests.upstream_pages import Project, UpstreamFile

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
MACHINE = "application/json"
CONTACT = "https://wiki.example/quarantine?a=1&b=2"
HOLD = 7
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def holding(upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Holds for seven days, looks before every answer, and has a second index that holds for 30."""
    folder = tmp_path_factory.mktemp("holding")
    settings = {
        "KOSCHEY_QUARANTINE_DAYS": str(HOLD),
        "KOSCHEY_REFRESH_SECONDS": "0",
        "KOSCHEY_STALE_SECONDS": "0",
        "KOSCHEY_NEGATIVE_SECONDS": "0",
        "KOSCHEY_CONTACT": CONTACT,
    }
    with running.koschey(folder, upstream.simple_url, settings) as process:
        process.cli("index", "add", "team", "--source", "upstream", "--hold-days", "30")
        yield process


@pytest.fixture
def held(upstream: FakeUpstream) -> Project:
    """A project with an old release, and one of two days ago with everything that a file can have."""
    project = upstream.project(f"held-{next(_numbers)}")
    project.release("1.0", upload_time=ago(400))
    project.release("2.0", upload_time=ago(2), provenance={"version": 1, "attestation_bundles": []})
    return project


def ago(days: float) -> str:
    return f"{datetime.now(UTC) - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"


def of_version(project: Project, version: str) -> UpstreamFile:
    return next(file for file in project.files.values() if file.version == version)


def sentence(project: Project) -> str:
    """About version 2.0, which was released two days ago and is held for seven."""
    until = datetime.fromisoformat(str(of_version(project, "2.0").upload_time)) + timedelta(days=HOLD)
    return f"held until {until:%Y-%m-%d}: released 2 days ago, hold is 7 days"


def why(koschey: Running, path: str) -> dict[str, Any]:
    answer = get(f"{koschey.url}/why/{path}", Accept=MACHINE)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def explained(koschey: Running, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = dict(koschey.environment) | {"KOSCHEY_LOG_LEVEL": "error"}
    return commands.koschey("why", *arguments, environment=environment)


class Elements(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, body: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(body)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def links(self) -> list[str]:
        return [attributes["href"] or "" for tag, attributes in self.tags if tag == "a"]

    def loaded(self) -> set[str]:
        """Addresses of what a browser loads of itself: scripts, sheets, pictures, frames."""
        kinds = {
            "script": "src",
            "img": "src",
            "iframe": "src",
            "embed": "src",
            "object": "data",
            "link": "href",
        }
        return {attributes.get(kinds[tag]) or "inline" for tag, attributes in self.tags if tag in kinds}


def test_every_way_to_ask_gives_the_same_sentence(holding: Running, held: Project) -> None:
    page(holding, held.name)
    refused, _ = raw_request(holding.url, "GET", of_version(held, "2.0").path)
    person = get(f"{holding.url}/why/{held.name}/2.0", Accept=BROWSER)
    terminal = explained(holding, f"{held.name}==2.0")

    assert refused.reason == sentence(held)
    assert why(holding, f"{held.name}/2.0")["sentence"] == sentence(held)
    assert sentence(held) in html.unescape(person.text)
    assert terminal.stdout.splitlines()[0] == f"{held.name} 2.0 in index main: {sentence(held)}"


def test_a_page_for_people_begins_with_the_verdict_and_needs_nothing_from_elsewhere(
    holding: Running, held: Project
) -> None:
    answer = get(f"{holding.url}/why/{held.name}/2.0", Accept=BROWSER)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    seen = Elements(answer.text)
    text = " ".join(seen.text.split())
    assert text.index(sentence(held)) < text.index("Ends by itself on") < text.index("Files")
    for words in ("time", "First seen here", "Look before that", "Clock began", "Hold ends"):
        assert words in text
    assert CONTACT in seen.links()
    loaded = seen.loaded() - {Settings().htmx_url}
    assert {Path(file).suffix for file in loaded} == {".css", ".js", ".svg"}
    for file in loaded:
        assert urlsplit(file).netloc == ""
        assert requests.get(urljoin(answer.url, file), timeout=60).status_code == 200
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_nobody_keeps_an_explanation(holding: Running, held: Project) -> None:
    for path in (held.name, f"{held.name}/2.0", f"{held.name}/3.0"):
        for accept in (BROWSER, MACHINE):
            answer = get(f"{holding.url}/why/{path}", Accept=accept)
            assert answer.headers["Cache-Control"] == "no-store"
            assert "Accept" in answer.headers["Vary"]


def test_a_machine_gets_everything_that_a_verdict_rests_on(holding: Running, held: Project) -> None:
    def checked() -> dict[str, Any] | None:
        document = why(holding, f"{held.name}/2.0")
        return document if not document["versions"][0]["files"][0]["waits_for"] else None

    document = eventually(checked, 60)
    [version] = document["versions"]
    [file] = version["files"]
    assert (document["project"], document["index"], document["version"]) == (held.name, "main", "2.0")
    assert (document["source"], document["status"], document["contact"]) == ("upstream", "active", CONTACT)
    assert document["policy"]["words"].startswith("a file is held for 7 days from the upstream's upload time")
    assert document["policy"]["patterns"] == ["*"]
    assert (version["state"], version["held"], version["visible"]) == ("held", 1, 0)
    assert (file["state"], file["rule"], file["mark"]) == ("held", "time", "")
    uploaded = datetime.fromisoformat(file["upload_time"])
    assert uploaded == datetime.fromisoformat(str(of_version(held, "2.0").upload_time))
    ends = uploaded + timedelta(days=HOLD)
    assert file["clock_start"] == file["upload_time"]
    assert datetime.fromisoformat(file["clears_at"]) == ends
    assert datetime.fromisoformat(file["hold_ends"]) == ends
    assert version["clears_at"] == file["clears_at"]
    assert file["first_seen"] > file["upload_time"]
    assert file["previous_look"] is None
    assert set(document["policy"]["required"]) <= {check["check"] for check in file["checks"]}
    assert {check["outcome"] for check in file["checks"]} <= {"pass", "warn"}
    assert all(check["at"] and check["reason"] for check in file["checks"])


def test_a_file_that_is_back_dated_says_so_and_counts_from_when_it_was_seen(
    holding: Running, held: Project
) -> None:
    page(holding, held.name)
    held.release("1.1", upload_time=ago(300))
    page(holding, held.name)
    [version] = why(holding, f"{held.name}/1.1")["versions"]
    [file] = version["files"]
    assert file["mark"] == "back-dated"
    assert "back-dated" in file["sentence"]
    assert file["clock_start"] == file["first_seen"] > file["previous_look"] > file["upload_time"]


def test_a_late_wheel_is_held_alone(holding: Running, held: Project) -> None:
    page(holding, held.name)
    held.add(f"{held.name.replace('-', '_')}-1.0-cp312-cp312-win_amd64.whl", b"late", version="1.0")
    page(holding, held.name)
    [version] = why(holding, f"{held.name}/1.0")["versions"]
    assert (version["state"], version["visible"], version["held"]) == ("visible", 1, 1)
    assert version["sentence"].startswith("1 of 2 files visible; another is held")
    assert [file["state"] for file in version["files"]] == ["held", "visible"]


def test_a_project_is_a_summary_by_version_with_the_newest_first(holding: Running, held: Project) -> None:
    held.release("1.10", upload_time=ago(100))
    held.release("1.9", upload_time=ago(100))
    document = why(holding, held.name)
    assert document["sentence"] == "3 of 4 versions visible, 1 held; the newest visible is 1.10"
    assert [version["version"] for version in document["versions"]] == ["2.0", "1.10", "1.9", "1.0"]
    assert [len(version["files"]) for version in document["versions"]] == [1, 0, 0, 0]
    seen = Elements(get(f"{holding.url}/why/{held.name}", Accept=BROWSER).text)
    links = [urljoin(f"{holding.url}/why/{held.name}", link) for link in seen.links()]
    assert f"{holding.url}/why/{held.name}/1.10" in links


def test_other_spellings_of_a_version_are_the_same_release(holding: Running, held: Project) -> None:
    assert why(holding, f"{held.name}/2.0.0")["version"] == "2.0"
    assert why(holding, f"{held.name}/v2")["version"] == "2.0"


@pytest.mark.parametrize("accept", [BROWSER, MACHINE], ids=["person", "machine"])
def test_a_version_that_is_not_known_is_explained(holding: Running, held: Project, accept: str) -> None:
    answer = get(f"{holding.url}/why/{held.name}/1.5", Accept=accept)
    assert answer.status_code == 404
    words = f"upstream listed no version 1.5 of {held.name} as of 20"
    assert words in answer.text
    assert answer.reason.startswith(words)
    if accept == MACHINE:
        document = answer.json()
        assert (document["known"], document["near"], document["versions"]) == (False, ["2.0", "1.0"], [])


@pytest.mark.parametrize("path", ["nobody-has-it", "nobody-has-it/1.0"])
def test_an_unknown_project_is_refused_in_the_words_of_its_page(holding: Running, path: str) -> None:
    listing = get(f"{holding.simple}nobody-has-it/", Accept=JSON)
    for accept in (MACHINE, BROWSER):
        answer = get(f"{holding.url}/why/{path}", Accept=accept)
        assert (answer.status_code, answer.reason) == (404, listing.reason)
    assert get(f"{holding.url}/why/{path}", Accept=MACHINE).json()["detail"] == listing.json()["detail"]


@pytest.mark.parametrize(
    "path", ["/why/-foo", "/why/%00", "/why/a%2F..%2Fb/c/d", "/nowhere/why/foo", "/why/foo/%0d%0aX-Evil:%201"]
)
def test_a_bad_name_is_404(holding: Running, path: str) -> None:
    response, _ = raw_request(holding.url, "GET", path, {"Accept": MACHINE})
    assert response.status == 404
    assert "X-Evil" not in response.headers


@pytest.mark.parametrize(
    ("asked", "location"),
    [
        ("/why/Foo_Bar", "foo-bar"),
        ("/why/Foo_Bar/", "../foo-bar"),
        ("/why/Foo.Bar/1.0?format=json", "../foo-bar/1.0?format=json"),
        ("/why/Foo.Bar/1.0%2Ba%20b/", "../../foo-bar/1.0+a%20b"),
        ("/team/why/FOO?after=1", "foo?after=1"),
    ],
)
def test_other_spellings_of_a_name_are_sent_on_relatively(
    holding: Running, asked: str, location: str
) -> None:
    response, _ = raw_request(holding.url, "GET", asked, {"Accept": MACHINE})
    assert (response.status, response.headers["Location"]) == (301, location)
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("accept", "query", "form"),
    [
        ("*/*", "", "text/html"),
        (BROWSER, "", "text/html"),
        (MACHINE, "", "application/json"),
        ("application/json;q=0.5, text/html;q=0.4", "", "application/json"),
        (BROWSER, "?format=json", "application/json"),
        (BROWSER, "?format=application/json", "application/json"),
        (MACHINE, "?format=html", "text/html"),
        ("nonsense;;;", "", "text/html"),
        (HTML, "", "text/html"),
    ],
)
def test_the_form_is_the_one_that_was_asked_for(
    holding: Running, held: Project, accept: str, query: str, form: str
) -> None:
    answer = get(f"{holding.url}/why/{held.name}{query}", Accept=accept)
    assert answer.headers["Content-Type"].partition(";")[0] == form


def test_the_json_page_says_where_to_read_more(holding: Running, held: Project) -> None:
    own = page(holding, held.name)["_koschey"]
    assert own["hidden"] == 1
    assert own["why"] == f"{holding.url}/why/{held.name}"
    assert get(own["why"], Accept=MACHINE).json()["held"] == 1
    team = get(f"{holding.url}/team/simple/{held.name}/", Accept=JSON).json()["_koschey"]
    assert team["why"] == f"{holding.url}/team/why/{held.name}"


ROUTES = {
    "get": ("GET", "{path}", {}),
    "head": ("HEAD", "{path}", {}),
    "range": ("GET", "{path}", {"Range": "bytes=0-9"}),
    "conditional": ("GET", "{path}", {"If-None-Match": '"{sha256}"'}),
    "metadata": ("GET", "{path}.metadata", {}),
    "provenance url": ("GET", "{path}.provenance_url.json", {}),
    "record": ("GET", "{path}.record.json", {}),
    "provenance": ("GET", "/integrity/{project}/2.0/{filename}/provenance", {"Accept": PROVENANCE}),
}


@pytest.mark.parametrize(("method", "route", "headers"), ROUTES.values(), ids=ROUTES)
@pytest.mark.parametrize("index", ["", "/team"], ids=["main", "team"])
def test_a_hidden_file_says_why_and_where_to_read_more_on_every_route(
    holding: Running, held: Project, method: str, route: str, headers: dict[str, str], index: str
) -> None:
    get(f"{holding.url}{index}/simple/{held.name}/")
    file = of_version(held, "2.0")
    words = {
        "path": file.path,
        "sha256": file.sha256,
        "project": held.name,
        "filename": file.filename,
    }
    sent = {name: value.format(**words) for name, value in headers.items()}
    response, body = raw_request(holding.url, method, index + route.format(**words), sent)

    assert response.status == 403
    assert response.reason.startswith("held until ")
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Content-Type"] == "application/problem+json"
    if method == "HEAD":
        assert body == b""
        return
    problem = json.loads(body)
    assert problem["title"] == "Forbidden"
    assert problem["status"] == 403
    assert problem["detail"] == f"{file.filename}: {response.reason}"
    assert problem["help_url"] == f"{holding.url}{index}/why/{held.name}/2.0"
    assert (problem["state"], problem["rule"]) == ("held", "time")
    explanation = get(problem["help_url"], Accept=MACHINE).json()
    assert explanation["sentence"] == response.reason
    assert explanation["versions"][0]["clears_at"] == problem["clears_at"]


def test_a_browser_gets_a_link_to_the_explanation(holding: Running, held: Project) -> None:
    page(holding, held.name)
    answer = get(holding.url + of_version(held, "2.0").path, Accept=BROWSER)
    assert (answer.status_code, answer.reason) == (403, sentence(held))
    assert answer.headers["Cache-Control"] == "no-store"
    assert f"{holding.url}/why/{held.name}/2.0" in Elements(answer.text).links()


@pytest.mark.parametrize(
    ("settings", "headers", "base"),
    [
        ({"KOSCHEY_PUBLIC_URL": "https://index.example/pypi"}, {}, "https://index.example/pypi"),
        (
            {"KOSCHEY_TRUSTED_PROXIES": "1"},
            {
                "X-Forwarded-Proto": "https",
                "X-Forwarded-Host": "front.example",
                "X-Forwarded-Prefix": "/below",
            },
            "https://front.example/below",
        ),
    ],
    ids=["public url", "mounted behind a proxy"],
)
def test_links_are_those_that_clients_can_use(
    upstream: FakeUpstream,
    held: Project,
    tmp_path: Any,
    settings: dict[str, str],
    headers: dict[str, str],
    base: str,
) -> None:
    settings = {"KOSCHEY_QUARANTINE_DAYS": str(HOLD)} | settings
    with running.koschey(tmp_path, upstream.simple_url, settings, workers=1) as process:
        listing = requests.get(
            f"{process.simple}{held.name}/", headers=headers | {"Accept": JSON}, timeout=60
        )
        refused = requests.get(process.url + of_version(held, "2.0").path, headers=headers, timeout=60)
        assert listing.json()["_koschey"]["why"] == f"{base}/why/{held.name}"
        assert refused.json()["help_url"] == f"{base}/why/{held.name}/2.0"
        # Links inside are relative, and so hold below any prefix.
        person = requests.get(
            f"{process.url}/why/{held.name}/2.0", headers=headers | {"Accept": BROWSER}, timeout=60
        )
        there = [urljoin(f"{base}/why/{held.name}/2.0", link) for link in Elements(person.text).links()]
        assert f"{base}/why/{held.name}" in there
        assert f"{base}/" in there


HOSTILE = (
    '<script>document.title = "caught"</script> "><img src=x onerror=alert(1)> {{ 713*713 }} '
    "\N{RIGHT-TO-LEFT OVERRIDE}gnp"
)


def test_hostile_text_from_an_upstream_is_inert(holding: Running, upstream: FakeUpstream) -> None:
    project = upstream.project(f"hostile-{next(_numbers)}")
    project.release("1.0", upload_time=ago(1), yanked=HOSTILE, requires_python=f">=3{HOSTILE}")
    project.set_status("archived", HOSTILE)
    frame = {Path(file).name for file in Elements(get(holding.url, Accept=BROWSER).text).loaded()}
    for path in (project.name, f"{project.name}/1.0", f"{project.name}/%3Cscript%3Ealert(1)"):
        answer = get(f"{holding.url}/why/{path}", Accept=BROWSER)
        seen = Elements(answer.text)
        assert {Path(file).name for file in seen.loaded()} == frame
        assert not any(name.startswith("on") for _, attributes in seen.tags for name in attributes)
        assert "508369" not in seen.text
    assert re.sub(r"\s+", " ", HOSTILE) in re.sub(
        r"\s+", " ", Elements(get(f"{holding.url}/why/{project.name}/1.0", Accept=BROWSER).text).text
    )


def test_a_withdrawn_file_and_a_deleted_project_say_what_the_upstream_took_back(
    holding: Running, held: Project
) -> None:
    page(holding, held.name)
    held.vanish(of_version(held, "1.0").filename)
    page(holding, held.name)
    [version] = why(holding, f"{held.name}/1.0")["versions"]
    assert (version["state"], version["sentence"]) == ("rejected", "the file was withdrawn upstream")
    assert version["files"][0]["withdrawn_at"]
    assert version["files"][0]["ends"] == "when the upstream lists it again"
    held.set_status("quarantined", "malware")
    page(holding, held.name)
    document = why(holding, held.name)
    assert (document["status"], document["status_reason"]) == ("quarantined", "malware")
    assert document["withdrawal"] == "the project is quarantined upstream"
    assert document["visible"] == 0


def test_another_index_has_its_own_verdict(holding: Running, held: Project) -> None:
    held.release("1.5", upload_time=ago(20))
    assert why(holding, f"{held.name}/1.5")["versions"][0]["state"] == "visible"
    team = get(f"{holding.url}/team/why/{held.name}/1.5", Accept=MACHINE).json()
    assert (team["index"], team["versions"][0]["state"]) == ("team", "held")
    assert "hold is 30 days" in team["sentence"]


def test_the_command_says_by_its_exit_status_whether_something_visible_matches(
    holding: Running, held: Project
) -> None:
    name = held.name.replace("-", "_").upper()
    for requirement, status, words in (
        (name, 0, "1 of 2 versions visible, 1 held; the newest visible is 1.0"),
        (f"{name}[extra]==1.0; python_version>'2'", 0, "visible: its hold is over"),
        (f"{name}==2.0", 3, sentence(held)),
        (f"{name}>=2", 3, "0 of 1 version visible, 1 held"),
    ):
        said = explained(holding, requirement)
        assert said.returncode == status, said
        assert words in said.stdout.splitlines()[0]
        assert ("whom to ask" in said.stdout) == ("==1.0" not in requirement)
    for requirement, problem in (
        (f"{name}==9", f"upstream listed no version 9 of {held.name} as of "),
        (f"{name}>9", f"no known version of {held.name} matches; there is 2.0, 1.0"),
        ("no requirement", "is no requirement"),
    ):
        said = explained(holding, requirement)
        assert (said.returncode, said.stdout) == (1, ""), said
        assert said.stderr.startswith("koschey: ")
        assert problem in said.stderr
        assert "Traceback" not in said.stderr


def test_the_command_prints_what_the_page_says(holding: Running, held: Project) -> None:
    said = explained(holding, f"{held.name}==2.0", "--index", "team", "--json")
    assert said.returncode == 3
    document = json.loads(said.stdout)
    page_says = get(f"{holding.url}/team/why/{held.name}/2.0", Accept=MACHINE).json()
    for changing in ("looked_at", "versions"):
        document.pop(changing), page_says.pop(changing)
    assert document == page_says
    unknown = explained(holding, f"{held.name}==9", "--json")
    assert (unknown.returncode, json.loads(unknown.stdout)["known"]) == (1, False)
