"""The simple repository API as installers see it: conformance list A of the protocol."""

from __future__ import annotations

import hashlib
import html.parser
import re
import zipfile
from datetime import datetime
from io import BytesIO
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import pytest
import requests
from packaging.utils import parse_sdist_filename, parse_wheel_filename

from tests.fake_upstream import FakeUpstream
from tests.protocol.asking import (
    HTML,
    JSON,
    LATEST_HTML,
    LATEST_JSON,
    PROVENANCE,
    ask_page,
    download,
    entry,
    file_url,
    get,
    page,
)
from tests.protocol.conftest import NO_HOT_PATH, SQLITE
from tests.running import Running, eventually, raw_request
from tests.upstream_pages import ABSENT, Project

PIP = f"{JSON}, {HTML}; q=0.1, text/html; q=0.01"
UV = f"{JSON}, {HTML};q=0.2, text/html;q=0.01"
POETRY = f"{JSON}, {HTML};q=0.2, text/html;q=0.1"

NEGOTIATION = {
    "nothing": (None, "text/html"),
    "anything": ("*/*", "text/html"),
    "text/html": ("text/html", "text/html"),
    "json": (JSON, JSON),
    "html": (HTML, HTML),
    "latest json": (LATEST_JSON, JSON),
    "latest html": (LATEST_HTML, HTML),
    "pip": (PIP, JSON),
    "uv": (UV, JSON),
    "poetry": (POETRY, JSON),
    "json refused": (f"{JSON};q=0, text/html", "text/html"),
    "html preferred": (f"{JSON};q=0.2, {HTML};q=0.7, text/html;q=0.3", HTML),
    "json preferred": (f"text/html;q=0.2, {JSON};q=0.3", JSON),
    "json before an image": (f"image/png, {JSON};q=0.1", JSON),
}
PAGES = {"root": "/simple/", "detail": "/simple/show-case/"}
on_both_pages = pytest.mark.parametrize("target", PAGES.values(), ids=PAGES)


class Anchors(html.parser.HTMLParser):
    """Collects links with their text, meta tags and whether there is a base."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: list[tuple[dict[str, str | None], str]] = []
        self.meta: dict[str, str | None] = {}
        self.tags: list[str] = []
        self._open: dict[str, str | None] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "a":
            self._open = dict(attrs)
        if tag == "meta" and (name := dict(attrs).get("name")):
            self.meta[name] = dict(attrs).get("content")

    def handle_data(self, text: str) -> None:
        if self._open is not None:
            self.anchors.append((self._open, text))
            self._open = None


def html_page(koschey: Running, name: str) -> Anchors:
    return Anchors(ask_page(koschey, name, Accept="text/html").text)


def media_type(answer: requests.Response) -> str:
    return answer.headers["Content-Type"].partition(";")[0]


@pytest.mark.backends(SQLITE)
@on_both_pages
@pytest.mark.parametrize(("accept", "expected"), NEGOTIATION.values(), ids=NEGOTIATION)
def test_negotiation(
    koschey: Running, showcase: Project, target: str, accept: str | None, expected: str
) -> None:
    response, body = raw_request(koschey.url, "GET", target, {"Accept": accept} if accept else {})

    assert response.status == 200, body
    assert response.headers["Content-Type"].partition(";")[0] == expected
    assert (body.lstrip()[:1] == b"{") == (expected == JSON)


@on_both_pages
def test_nothing_acceptable_is_406(koschey: Running, showcase: Project, target: str) -> None:
    assert get(koschey.url + target, Accept="image/png").status_code == 406


@pytest.mark.backends(SQLITE, NO_HOT_PATH)
@on_both_pages
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"?format={JSON}", JSON),
        (f"?format={JSON.replace('+', '%2B')}", JSON),
        (f"?format={HTML}", HTML),
        (f"?format={LATEST_JSON}", JSON),
        ("?format=text/html", "text/html"),
    ],
    ids=["json with a plus", "json", "html", "latest", "text/html"],
)
def test_format_beats_accept(
    koschey: Running, showcase: Project, target: str, query: str, expected: str
) -> None:
    other = "text/html" if expected == JSON else JSON
    response, _ = raw_request(koschey.url, "GET", target + query, {"Accept": other})

    assert response.status == 200
    assert response.headers["Content-Type"].partition(";")[0] == expected


def test_an_unknown_format_is_406(koschey: Running, showcase: Project) -> None:
    assert get(koschey.simple + "show-case/?format=image/png", Accept=JSON).status_code == 406


def test_pages_vary_by_what_they_were_negotiated_on(koschey: Running, showcase: Project) -> None:
    for url in (koschey.simple, koschey.simple + "show-case/"):
        vary = {part.strip().lower() for part in get(url).headers["Vary"].split(",")}
        assert {"accept", "accept-encoding"} <= vary


@pytest.mark.parametrize(
    ("target", "canonical"),
    [
        ("/simple", "/simple/"),
        ("/simple/show-case", "/simple/show-case/"),
        ("/simple/Show.Case", "/simple/show-case/"),
        ("/simple/Show_.Case/", "/simple/show-case/"),
        ("/simple/SHOW-CASE/", "/simple/show-case/"),
        ("/simple/show--case/?format=text/html&x=1", "/simple/show-case/?format=text/html&x=1"),
        ("/simple?x=1", "/simple/?x=1"),
    ],
    ids=["root", "no slash", "no slash, capitals", "marks", "capitals", "query", "root with query"],
)
def test_other_spellings_redirect_on_the_same_origin(
    koschey: Running, showcase: Project, target: str, canonical: str
) -> None:
    response, _ = raw_request(koschey.url, "GET", target)

    assert response.status in (301, 302, 303, 307, 308)
    assert urljoin(koschey.url + target, response.headers["Location"]) == koschey.url + canonical
    assert "no-store" in response.headers["Cache-Control"]


def test_an_unknown_project_is_404(koschey: Running) -> None:
    assert ask_page(koschey, "nobody-has-this").status_code == 404


def test_both_forms_say_version_1_4(koschey: Running, showcase: Project) -> None:
    assert page(koschey, "show-case")["meta"]["api-version"] == "1.4"
    assert html_page(koschey, "show-case").meta["pypi:repository-version"] == "1.4"
    assert get(koschey.simple, Accept=JSON).json()["meta"]["api-version"] == "1.4"
    assert Anchors(get(koschey.simple, Accept=HTML).text).meta["pypi:repository-version"] == "1.4"


def test_serials_are_integers_and_equal_the_header(koschey: Running, showcase: Project) -> None:
    detail = ask_page(koschey, "show-case")
    root = get(koschey.simple, Accept=JSON)

    for answer in (detail, root):
        serial = answer.json()["meta"]["_last-serial"]
        assert type(serial) is int
        assert answer.headers["X-PyPI-Last-Serial"] == str(serial)
    listed = {p["name"]: p["_last-serial"] for p in root.json()["projects"]}
    assert all(type(serial) is int for serial in listed.values())
    assert listed["show-case"] == detail.json()["meta"]["_last-serial"]
    assert max(listed.values()) <= root.json()["meta"]["_last-serial"]


def test_the_root_lists_what_was_asked_for_with_relative_links(
    koschey: Running, showcase: Project, project: Project
) -> None:
    project.release("1.0")
    page(koschey, "show-case")
    page(koschey, project.name)

    def listed() -> bool:
        anchors = Anchors(get(koschey.simple, Accept="text/html").text).anchors
        hrefs = {attributes["href"] for attributes, _ in anchors}
        return {"show-case/", f"{project.name}/"} <= hrefs

    eventually(listed)
    assert "nobody-has-this" not in get(koschey.simple).text


def test_the_name_is_normalised_and_all_versions_are_there_once(koschey: Running, showcase: Project) -> None:
    document = page(koschey, "show-case")
    versions = document["versions"]

    assert document["name"] == "show-case"
    assert len(versions) == len(set(versions))
    assert {"1.0", "1.1", "1.2", "2.0b1", "1!1.0", "1.0+local.1"} <= set(versions)
    for listed in document["files"]:
        if (version := _version(listed["filename"])) is not None:
            assert version in versions, listed["filename"]


def _version(filename: str) -> str | None:
    """The version in a name that the specifications know; None for legacy names."""
    for parse in (parse_wheel_filename, parse_sdist_filename):
        try:
            name, version = parse(filename)[:2]
        except ValueError:
            continue
        # "Show.Case-0.1-1.tar.gz" parses too, as a project "show-case-0.1".
        return str(version) if name == "show-case" else None
    return None


def test_every_file_of_the_upstream_is_listed_as_it_is(koschey: Running, showcase: Project) -> None:
    listed = {e["filename"]: e for e in page(koschey, "show-case")["files"]}

    assert listed.keys() == showcase.files.keys()
    for filename, file in showcase.files.items():
        ours, theirs = listed[filename], file.entry()
        assert ours["hashes"] == theirs["hashes"]
        assert ours["size"] == theirs["size"]
        assert _instant(ours.get("upload-time")) == _instant(theirs.get("upload-time"))
        assert ours.get("requires-python") == theirs.get("requires-python")
        assert ours.get("yanked", False) == theirs["yanked"]
        assert ours.get("core-metadata", False) == theirs.get("core-metadata", False)
        assert bool(ours.get("provenance")) == ("provenance" in theirs)


def _instant(time: str | None) -> datetime | None:
    return None if time is None else datetime.fromisoformat(time)


def test_files_obey_the_forms_that_clients_insist_on(koschey: Running, showcase: Project) -> None:
    for listed in page(koschey, "show-case")["files"]:
        assert list(listed["hashes"]) == ["sha256"]
        assert re.fullmatch("[0-9a-f]{64}", listed["hashes"]["sha256"])
        if "upload-time" in listed:
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", listed["upload-time"])
        assert type(listed["size"]) is int
        yanked = listed.get("yanked", False)
        assert yanked in (True, False) or (isinstance(yanked, str) and yanked)
        assert "dist-info-metadata" not in listed
        assert "?" not in listed["url"]
        assert listed["url"].startswith(koschey.url + "/packages/")
        provenance = listed.get("provenance")
        assert provenance is None or urlsplit(provenance).netloc


def test_a_size_is_the_number_of_bytes(koschey: Running, showcase: Project) -> None:
    for listed in page(koschey, "show-case")["files"]:
        content = download(listed["url"]).content
        assert len(content) == listed["size"]
        assert hashlib.sha256(content).hexdigest() == listed["hashes"]["sha256"]


def test_what_the_upstream_does_not_say_is_left_out(
    eager: Running, upstream: FakeUpstream, project: Project
) -> None:
    wheel = project.release("1.0", upload_time=None)
    upstream.fail(wheel.filename, status=500)  # without a date it is stored behind the answer, and measured
    wheel.listed = {"size": ABSENT, "hashes": {}}
    listed = entry(eager, wheel)

    assert "size" not in listed
    assert "upload-time" not in listed
    assert listed["hashes"] == {}


def test_no_keys_of_standards_that_were_not_adopted(koschey: Running, showcase: Project) -> None:
    document = page(koschey, "show-case")

    assert not {"tracks", "alternate-locations", "namespaces"} & (document.keys() | document["meta"].keys())
    assert "pypi:tracks" not in html_page(koschey, "show-case").meta


def test_html_marks_yanks_and_escapes(koschey: Running, showcase: Project) -> None:
    text = ask_page(koschey, "show-case", Accept="text/html").text
    anchors = {name: attributes for attributes, name in Anchors(text).anchors}

    assert anchors["show_case-1.1-py3-none-any.whl"]["data-yanked"] in ("", None)
    assert anchors["show_case-1.2-py3-none-any.whl"]["data-yanked"] == 'broken & "bad" <really>'
    assert "data-yanked" not in anchors["show_case-1.3-py3-none-any.whl"]
    assert anchors["show_case-1.3-py3-none-any.whl"]["data-requires-python"] == ">=3.9,<4"
    assert "&gt;=3.9,&lt;4" in text
    assert anchors["show_case-1.4-py3-none-any.whl"]["data-requires-python"] == '>=3.9; "not valid" & odd'


def test_html_and_json_say_the_same(koschey: Running, showcase: Project) -> None:
    document = page(koschey, "show-case")
    anchors = html_page(koschey, "show-case")

    assert "base" not in anchors.tags
    assert [text for _, text in anchors.anchors] == [e["filename"] for e in document["files"]]
    for (attributes, text), listed in zip(anchors.anchors, document["files"], strict=True):
        href = urljoin(f"{koschey.simple}show-case/", attributes["href"])
        url, _, fragment = href.partition("#")
        assert url == listed["url"]
        assert fragment == f"sha256={listed['hashes']['sha256']}"
        assert unquote(urlsplit(url).path.rpartition("/")[2]) == text
        assert attributes.get("data-requires-python") == listed.get("requires-python")
        assert ("data-yanked" in attributes) == bool(listed.get("yanked"))
        assert attributes.get("data-core-metadata") == attributes.get("data-dist-info-metadata")
        assert attributes.get("data-core-metadata") == _html_metadata(listed.get("core-metadata"))
        assert attributes.get("data-provenance") == listed.get("provenance")


def _html_metadata(value: Any) -> str | None:
    if isinstance(value, dict):
        return f"sha256={value['sha256']}"
    return "true" if value else None


def test_metadata_is_the_wheels_own_and_hash_matches(koschey: Running, project: Project) -> None:
    wheel = project.release("1.0", requires=["other>=1"], sdist=True)
    listed = entry(koschey, wheel)

    answer = download(listed["url"] + ".metadata")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert hashlib.sha256(answer.content).hexdigest() == listed["core-metadata"]["sha256"]
    with zipfile.ZipFile(BytesIO(download(listed["url"]).content)) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        assert archive.read(member) == answer.content


def test_metadata_that_is_not_advertised_is_404(koschey: Running, project: Project) -> None:
    sdist = project.release("1.0", wheel=False, sdist=True)

    assert "core-metadata" not in {k for k, v in entry(koschey, sdist).items() if v}
    assert download(file_url(koschey, sdist) + ".metadata").status_code == 404


def test_metadata_is_extracted_from_the_stored_wheel_where_the_upstream_has_none(
    koschey: Running, project: Project
) -> None:
    wheel = project.release("1.0", requires=["other"], sidecar=False)
    url = file_url(koschey, wheel)
    assert not entry(koschey, wheel).get("core-metadata")

    download(url)
    listed = eventually(lambda: entry(koschey, wheel).get("core-metadata"))

    content = download(url + ".metadata").content
    assert b"Requires-Dist: other" in content
    assert listed == {"sha256": hashlib.sha256(content).hexdigest()}


def test_provenance_is_passed_through(koschey: Running, upstream: Any, project: Project) -> None:
    document = {"version": 1, "attestation_bundles": [{"publisher": {"kind": "x"}, "attestations": []}]}
    wheel = project.release("1.0", provenance=document)
    plain = project.release("2.0")
    listed = entry(koschey, wheel)

    assert listed["provenance"].startswith(koschey.url + "/integrity/")
    answer = get(listed["provenance"], Accept=PROVENANCE)
    assert answer.status_code == 200
    assert media_type(answer) == PROVENANCE
    assert answer.json() == document
    assert get(listed["provenance"], Accept="*/*").status_code == 200
    assert get(listed["provenance"], Accept="image/png").status_code == 406
    without = f"{koschey.url}/integrity/{project.name}/2.0/{plain.filename}/provenance"
    assert get(without, Accept=PROVENANCE).status_code == 404
    assert upstream.count(wheel.filename + ".provenance") == 1


def test_the_provenance_record_of_a_file_has_its_two_keys(koschey: Running, project: Project) -> None:
    wheel = project.release("1.0")
    url = file_url(koschey, wheel)

    answer = get(url + ".provenance_url.json")

    assert answer.status_code == 200
    assert answer.json() == {"url": url, "archive_info": {"hashes": {"sha256": wheel.sha256}}}


def test_the_audit_record_says_where_the_bytes_came_from(koschey: Running, project: Project) -> None:
    wheel = project.release("1.0")
    url = file_url(koschey, wheel)
    download(url)

    answer = get(url + ".record.json")

    assert answer.status_code == 200
    assert wheel.url in answer.text
    assert wheel.sha256 in answer.text


@pytest.mark.parametrize("status", ["active", "archived", "deprecated"])
def test_a_status_is_shown_and_downloads_work(koschey: Running, project: Project, status: str) -> None:
    wheel = project.release("1.0")
    project.set_status(status, "because & so")

    document = page(koschey, project.name)

    assert document["project-status"]["status"] == status
    assert document["project-status"]["reason"] == "because & so"
    meta = html_page(koschey, project.name).meta
    assert meta["pypi:project-status"] == status
    assert meta["pypi:project-status-reason"] == "because & so"
    assert download(file_url(koschey, wheel)).content == wheel.content


def test_a_quarantined_project_is_a_page_without_files_and_refuses_them(
    eager: Running, project: Project
) -> None:
    wheel = project.release("1.0")
    stored = project.release("1.1")
    urls = [file_url(eager, wheel), file_url(eager, stored)]
    assert download(urls[1]).status_code == 200
    etag = ask_page(eager, project.name).headers["ETag"]

    project.set_status("quarantined", "malware")

    answer = ask_page(eager, project.name, If_None_Match=etag)
    assert answer.status_code == 200
    document = answer.json()
    assert document["project-status"]["status"] == "quarantined"
    assert document["files"] == []
    assert document["versions"] == []
    assert html_page(eager, project.name).anchors == []
    for url in urls:
        for refused in (url, url + ".metadata"):
            assert download(refused).status_code == 403

    project.set_status("active")
    assert download(file_url(eager, stored)).content == stored.content


def test_a_quarantined_project_hides_its_files_even_where_the_upstream_lists_them(
    eager: Running, project: Project
) -> None:
    wheel = project.release("1.0")
    url = file_url(eager, wheel)
    project.set_status("quarantined")
    project.extra["files"] = [wheel.entry()]

    assert page(eager, project.name)["files"] == []
    assert download(url).status_code == 403
