"""Rendered pages against the conformance list A, 22 to 50, as far as it is a question of rendering."""

import re
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest

from koschey.domain.negotiation import Representation
from koschey.domain.page import ListedFile, ProjectPage, RootEntry, RootPage
from koschey.domain.simple_api import render_project, render_root

BASE = "https://packages.example/prefix/team"
HTML_FORMS = [Representation.HTML, Representation.HTML_V1]
TIME = 1_767_323_045_123_456  # 2026-01-02T03:04:05.123456Z


class Seen(HTMLParser):
    """Anchors as (attributes, text), meta tags, and the names of all tags."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.anchors: list[tuple[dict[str, str | None], str]] = []
        self.meta: dict[str | None, str | None] = {}
        self.tags: list[str] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "a":
            self.anchors.append((dict(attrs), ""))
        if tag == "meta" and dict(attrs).get("name"):
            self.meta[dict(attrs)["name"]] = dict(attrs).get("content")

    def handle_data(self, data: str) -> None:
        if self.anchors and data.strip():
            attributes, text = self.anchors[-1]
            self.anchors[-1] = (attributes, text + data)


def a_file(filename: str = "foo_bar-1.0-py3-none-any.whl", **fields: Any) -> ListedFile:
    fields = {"version": "1.0", "sha256": "a" * 64, "size": 7, "upload_time": TIME} | fields
    return ListedFile(filename=filename, path=f"/packages/ab/cd/{'e' * 60}/{filename}", **fields)


def a_page(*files: ListedFile, **fields: Any) -> ProjectPage:
    return ProjectPage(name="Foo.Bar", serial=120, files=files, **fields)


def as_json(page: ProjectPage) -> Any:
    return msgspec.json.decode(render_project(page, Representation.JSON, BASE))


def as_html(page: ProjectPage) -> Seen:
    return Seen(render_project(page, Representation.HTML, BASE))


def test_a_json_page_says_what_it_is() -> None:  # A22, A23, A26, A45, A49
    page = as_json(a_page(a_file(), hidden=3))
    assert page["meta"] == {"api-version": "1.4", "_last-serial": 120}
    assert page["name"] == "foo-bar"
    assert page["project-status"] == {"status": "active"}
    assert page["_koschey"] == {"hidden": 3, "why": f"{BASE}/why/foo-bar", "record": "{url}.record.json"}
    assert set(page) == {"meta", "name", "project-status", "versions", "files", "_koschey"}


def test_a_json_file_has_every_field() -> None:  # A29 to A33, A39, A43
    file = a_file(
        requires_python='>=3.9,<4,!="x"', yanked="broken & <bad>", core_metadata="b" * 64, provenance=True
    )
    url = f"{BASE}/packages/ab/cd/{'e' * 60}/foo_bar-1.0-py3-none-any.whl"
    assert as_json(a_page(file))["files"] == [
        {
            "filename": "foo_bar-1.0-py3-none-any.whl",
            "url": url,
            "hashes": {"sha256": "a" * 64},
            "requires-python": '>=3.9,<4,!="x"',
            "size": 7,
            "upload-time": "2026-01-02T03:04:05.123456Z",
            "yanked": "broken & <bad>",
            "core-metadata": {"sha256": "b" * 64},
            "provenance": f"{BASE}/integrity/foo-bar/1.0/foo_bar-1.0-py3-none-any.whl/provenance",
        }
    ]


def test_a_json_file_leaves_out_what_is_not_known() -> None:  # A31 to A33
    unknown = a_file(sha256=None, size=None, upload_time=None, yanked="", core_metadata=True)
    (file,) = as_json(a_page(unknown))["files"]
    assert {key: file[key] for key in set(file) - {"filename", "url"}} == {
        "hashes": {}, "yanked": False, "core-metadata": True, "provenance": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [
        (TIME, "2026-01-02T03:04:05.123456Z"),
        (TIME // 10**6 * 10**6, "2026-01-02T03:04:05Z"),
        (TIME // 10**6 * 10**6 + 1, "2026-01-02T03:04:05.000001Z"),
        (TIME // 10**6 * 10**6 + 500_000, "2026-01-02T03:04:05.500000Z"),
        (0, "1970-01-01T00:00:00Z"),
    ],
)
def test_an_upload_time_always_has_six_digits(microseconds: int, text: str) -> None:  # A30
    assert as_json(a_page(a_file(upload_time=microseconds)))["files"][0]["upload-time"] == text


def test_versions_are_those_listed_once_each_in_order() -> None:  # A27, A28
    spelled = ["1.10", "1.9", "1.0", "1.0.0", "2004x", "beta", "1!0.1", "1.10", "2.0rc1", "1.9.post1", None]
    page = a_page(*(a_file(f"foo-bar-{n}.zip", version=version) for n, version in enumerate(spelled)))
    assert as_json(page)["versions"] == [
        "2004x",
        "beta",
        "1.0",
        "1.9",
        "1.9.post1",
        "1.10",
        "2.0rc1",
        "1!0.1",
    ]


@pytest.mark.parametrize(
    ("filename", "quoted"),
    [
        ("foo_bar-1.0+acme.1.tar.gz", "foo_bar-1.0+acme.1.tar.gz"),
        ("foo_bar-1!1.0.tar.gz", "foo_bar-1!1.0.tar.gz"),
        ("foo bar#1?.zip", "foo%20bar%231%3F.zip"),
        ("%2e%2e%2fx.whl", "%252e%252e%252fx.whl"),
        ('a"b&c<d>.zip', "a%22b%26c%3Cd%3E.zip"),
    ],
)
def test_a_filename_is_one_segment_of_its_url(filename: str, quoted: str) -> None:
    page = a_page(a_file(filename, provenance=True))
    (file,) = as_json(page)["files"]
    assert file["url"].endswith(f"/{quoted}")
    assert file["provenance"] == f"{BASE}/integrity/foo-bar/1.0/{quoted}/provenance"
    ((attributes, text),) = as_html(page).anchors
    assert attributes["href"] == file["url"] + "#sha256=" + "a" * 64
    assert text.strip() == filename  # A36


def test_a_version_with_a_slash_stays_one_segment() -> None:
    (file,) = as_json(a_page(a_file(version="../1", provenance=True)))["files"]
    assert "/integrity/foo-bar/..%2F1/" in file["provenance"]


@pytest.mark.parametrize("representation", HTML_FORMS)
def test_an_html_page_says_what_it_is(representation: Representation) -> None:  # A22, A37, A45
    reason = 'no "more" <work> & care'
    body = render_project(a_page(status="archived", status_reason=reason), representation, BASE)
    seen = Seen(body)
    assert body.startswith(b"<!DOCTYPE html>")
    assert seen.meta == {
        "pypi:repository-version": "1.4",
        "pypi:project-status": "archived",
        "pypi:project-status-reason": reason,
    }
    assert "base" not in seen.tags


def test_an_html_file_has_every_attribute() -> None:  # A34, A35, A38
    file = a_file(requires_python='>=3.9,<4,!="x"&', yanked=True, core_metadata="b" * 64, provenance=True)
    body = render_project(a_page(file), Representation.HTML, BASE)
    assert b'data-requires-python="&gt;=3.9,&lt;4,!=&quot;x&quot;&amp;"' in body
    assert b'data-yanked=""' in body
    ((attributes, _),) = Seen(body).anchors
    assert attributes["data-core-metadata"] == attributes["data-dist-info-metadata"] == "sha256=" + "b" * 64
    assert attributes["data-provenance"] == as_json(a_page(file))["files"][0]["provenance"]


def test_an_html_file_leaves_out_what_is_not_known() -> None:
    ((attributes, _),) = as_html(a_page(a_file(sha256=None))).anchors
    assert attributes == {"href": f"{BASE}/packages/ab/cd/{'e' * 60}/foo_bar-1.0-py3-none-any.whl"}


def test_a_sidecar_of_unknown_digest_is_true_in_html() -> None:
    ((attributes, _),) = as_html(a_page(a_file(core_metadata=True))).anchors
    assert attributes["data-core-metadata"] == attributes["data-dist-info-metadata"] == "true"


def test_a_quarantined_project_lists_nothing() -> None:  # A46
    page = a_page(a_file(), status="quarantined", status_reason="malware", hidden=1)
    in_json = as_json(page)
    assert (in_json["files"], in_json["versions"]) == ([], [])
    assert in_json["project-status"] == {"status": "quarantined", "reason": "malware"}
    assert in_json["_koschey"]["hidden"] == 2
    assert as_html(page).anchors == []


def test_a_page_of_hidden_files_is_an_empty_page() -> None:
    assert as_json(a_page(hidden=5))["files"] == []


def test_the_root_in_json() -> None:  # A24, A25
    root = RootPage(serial=123, projects=(RootEntry("Foo.Bar", 120), RootEntry("zope", 3)))
    assert msgspec.json.decode(render_root(root, Representation.JSON)) == {
        "meta": {"api-version": "1.4", "_last-serial": 123},
        "projects": [{"name": "Foo.Bar", "_last-serial": 120}, {"name": "zope", "_last-serial": 3}],
    }


@pytest.mark.parametrize("representation", HTML_FORMS)
def test_the_root_in_html_links_relatively(representation: Representation) -> None:
    root = RootPage(serial=123, projects=(RootEntry("Foo.Bar", 120), RootEntry('x"<y', 3)))
    seen = Seen(render_root(root, representation))
    assert [(attributes["href"], text.strip()) for attributes, text in seen.anchors] == [
        ("foo-bar/", "Foo.Bar"), ("x%22%3Cy/", 'x"<y'),
    ]  # fmt: skip
    assert seen.meta["pypi:repository-version"] == "1.4"


def test_neither_form_speaks_of_what_is_not_in_the_standard() -> None:  # A49
    body = render_project(a_page(a_file(core_metadata=True)), Representation.JSON, BASE)
    assert not re.search(rb"tracks|alternate-locations|namespaces|dist-info-metadata", body)
