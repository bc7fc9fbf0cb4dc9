"""The JSON API's document."""

from __future__ import annotations

import json
from typing import Any

import pytest

from koschey.domain.page import ListedFile, ProjectPage
from koschey.domain.project_json import render_project_json

BASE = "https://index.example/team"
SHA = "ab" * 32
METADATA = b"""Metadata-Version: 2.1
Name: sample
Version: 2.0
Summary: A sample
Author-email: Ana <ana@acme.example>
Classifier: Topic :: Utilities
Classifier: Typing :: Typed
Project-URL: Docs, https://acme.example/docs
Project-URL: broken
Requires-Dist: other>=1

The description.
"""


def _file(version: str | None, filename: str | None = None, **values: Any) -> ListedFile:
    given: dict[str, Any] = {"sha256": SHA, "size": 3, "upload_time": 1_700_000_000_000_000}
    name = filename or f"sample-{version}-py3-none-any.whl"
    return ListedFile(filename=name, path=f"/packages/{name}", version=version, **(given | values))


def _document(
    *files: ListedFile, version: str | None = None, metadata: bytes | None = None, **page: Any
) -> Any:
    rendered = render_project_json(
        ProjectPage(name="sample", serial=7, files=files, **page), version, BASE, metadata
    )
    return json.loads(rendered)


def test_it_lists_every_release_in_order_and_describes_the_newest() -> None:
    document = _document(_file("2.0"), _file("10.0"), _file("1.0"), _file("10.0", "sample-10.0.tar.gz"))

    assert list(document["releases"]) == ["1.0", "2.0", "10.0"]
    assert document["info"]["version"] == "10.0"
    assert [file["filename"] for file in document["urls"]] == [
        "sample-10.0-py3-none-any.whl",
        "sample-10.0.tar.gz",
    ]
    assert document["last_serial"] == 7 and isinstance(document["last_serial"], int)


def test_a_file_has_what_a_mirror_asks_for() -> None:
    [wheel] = _document(_file("1.0", core_metadata=SHA, yanked="broken", requires_python=">=3.9"))["urls"]

    assert wheel["digests"] == {"sha256": SHA}
    assert wheel["core-metadata"] == {"sha256": SHA}
    assert wheel["url"] == f"{BASE}/packages/sample-1.0-py3-none-any.whl"
    assert wheel["upload_time_iso_8601"] == "2023-11-14T22:13:20.000000Z"
    assert (wheel["packagetype"], wheel["python_version"]) == ("bdist_wheel", "py3")
    assert (wheel["yanked"], wheel["yanked_reason"], wheel["size"]) == (True, "broken", 3)
    [sdist] = _document(_file("1.0", "sample-1.0.tar.gz"))["urls"]
    assert (sdist["packagetype"], sdist["python_version"]) == ("sdist", "source")


@pytest.mark.parametrize(
    ("files", "version"),
    [
        (["1.0", "2.0b1"], "1.0"),
        (["2.0b1", "1.0.dev1"], "2.0b1"),
        (["1.0", "nonsense"], "1.0"),
        (["1!0.1", "9.0"], "1!0.1"),
    ],
)
def test_the_newest_is_a_final_release_where_there_is_one(files: list[str], version: str) -> None:
    assert _document(*map(_file, files))["info"]["version"] == version


def test_a_yanked_release_is_the_newest_only_when_all_are() -> None:
    assert _document(_file("1.0"), _file("2.0", yanked=True))["info"]["version"] == "1.0"
    info = _document(_file("2.0", yanked="bad"))["info"]
    assert (info["version"], info["yanked"], info["yanked_reason"]) == ("2.0", True, "bad")


def test_one_version_in_any_spelling_has_no_releases() -> None:
    document = _document(_file("1.0"), _file("2.0"), version="1")
    assert [file["filename"] for file in document["urls"]] == ["sample-1.0-py3-none-any.whl"]
    assert "releases" not in document


@pytest.mark.parametrize("missing", ["sha256", "size", "upload_time"])
def test_files_that_lack_what_every_reader_takes_for_granted_are_left_out(missing: str) -> None:
    document = _document(_file("1.0"), _file("2.0", **{missing: None}))
    assert list(document["releases"]) == ["1.0"]


def test_a_project_without_a_visible_file_is_there_and_empty() -> None:
    for page in ({}, {"status": "quarantined"}):
        files = [_file("1.0")] if page else []
        document = _document(*files, **page)
        assert (document["releases"], document["urls"], document["info"]["version"]) == ({}, [], "")


def test_core_metadata_fill_the_description() -> None:
    info = _document(_file("2.0"), metadata=METADATA)["info"]
    assert (info["summary"], info["author_email"]) == ("A sample", "Ana <ana@acme.example>")
    assert info["classifiers"] == ["Topic :: Utilities", "Typing :: Typed"]
    assert info["requires_dist"] == ["other>=1"]
    assert info["project_urls"] == {"Docs": "https://acme.example/docs"}
    assert info["description"].strip() == "The description."
    assert info["name"] == "sample"


def test_broken_metadata_break_nothing() -> None:
    for metadata in (b"\xff\xfe\x00", b"Summary", b"Name: \xe4\n\n\xff", b""):
        assert _document(_file("2.0"), metadata=metadata)["info"]["name"] == "sample"
