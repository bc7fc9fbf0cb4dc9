"""Names of projects and files, and the versions in filenames."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koschey.domain.names import (
    NormalizedName,
    Spellings,
    belongs_to,
    content_type,
    is_valid_name,
    normalize,
    safe_filename,
    version_of,
)
from koschey.errors import RequestInvalid


@pytest.mark.parametrize("name", ["foo", "Foo_.Bar", "f", "zope.interface", "a" * 200, "3to2"])
def test_a_projects_name_is_accepted(name: str) -> None:
    assert is_valid_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "-foo", "foo-", "foo bar", "f\u043e\u043e", "foo\n", "../foo", "a" * 201, "foo\x00", "%66oo", "f/o"],
)
def test_what_is_no_name_is_refused(name: str) -> None:
    assert not is_valid_name(name)
    with pytest.raises(RequestInvalid):
        normalize(name)


def test_spellings_of_one_name_are_one_project() -> None:
    assert {normalize(name) for name in ("Foo_Bar", "foo.bar", "FOO-bar", "foo-_.bar")} == {"foo-bar"}


@pytest.mark.parametrize(
    "filename",
    [
        "foo-1.0-py3-none-any.whl", "Foo.Bar-1.0-1.tar.gz", "foo-1.0-py2.7.egg", "foo-1.0.win32-py2.7.exe",
        "foo-1.0-1.noarch.rpm", "python-foo_1.0-1_all.deb", "foo-1.0.tgz", "foo-1.0.tar.bz2",
        "foo-1.0+local.1.tar.gz", "foo-1!2.0.tar.gz", "foo 1.0.zip", "%2e%2e%2fx.whl", "f", "f" * 255,
    ],
)  # fmt: skip
def test_a_filename_of_any_age_is_safe(filename: str) -> None:
    assert safe_filename(filename)


@pytest.mark.parametrize(
    "filename",
    [
        "", ".", "..", "../x.whl", "a\\b.whl", "a/b.whl", "x\x00.whl", "x\r\n.whl", "x\x7f.whl", "x\x85.whl",
        ".x.whl", "-x.whl", " x.whl", "x.whl ", "f\u043eo-1.0.tar.gz", "x\u202e.whl", "f" * 256,
    ],
)  # fmt: skip
def test_a_filename_that_could_do_harm_is_not_safe(filename: str) -> None:
    assert not safe_filename(filename)


@pytest.mark.parametrize(
    ("project", "filename"),
    [
        ("foo-bar", "foo_bar-1.0-py3-none-any.whl"),
        ("foo-bar", "Foo.Bar-1.0-py3-none-any.whl"),
        ("foo-bar", "foo-bar-1.0-py3-none-any.whl"),
        ("foo", "foo-v1.0-py3-none-any.whl"),
        ("foo-bar", "Foo.Bar-1.0-1.tar.gz"),
        ("foo-bar", "foo__bar-1.0.zip"),
        ("foo", "foo-bar-1.0.tar.gz"),
        ("foo", "foo_1.0.tar.gz"),
        ("foo", "whatever-1.0.win32.exe"),
    ],
)
def test_a_file_belongs_to_the_project_in_its_name(project: NormalizedName, filename: str) -> None:
    assert belongs_to(project, filename)


@pytest.mark.parametrize(
    ("project", "filename"),
    [
        ("foo", "foo_bar-1.0-py3-none-any.whl"),
        ("foo", "bar-1.0-py3-none-any.whl"),
        ("foo", "foo_bar-1.0.tar.gz"),
        ("foo", "foo.bar-1.0.zip"),
        ("foo", "foobar-1.0.tar.gz"),
        ("foo", "bar-foo-1.0.tar.gz"),
        ("foo", "foo.tar.gz"),
        ("foo-bar", "foo-1.0.tar.gz"),
    ],
)
def test_a_file_of_another_project_is_recognised(project: NormalizedName, filename: str) -> None:
    assert not belongs_to(project, filename)


@pytest.mark.parametrize(
    ("filename", "known", "version"),
    [
        ("foo_bar-1.0-py3-none-any.whl", [], "1.0"),
        ("foo_bar-1.0-2-py3-none-any.whl", [], "1.0"),
        ("foo-bar-1.0-py3-none-any.whl", [], "1.0"),
        ("Foo.Bar-1.0-1.tar.gz", [], "1.0-1"),
        ("Foo.Bar-1.0-1.tar.gz", ["1.0.post1"], "1.0.post1"),
        ("foo_bar-1.0+acme.1.tar.gz", [], "1.0+acme.1"),
        ("foo_bar-1!2.0.zip", [], "1!2.0"),
        ("foo_bar-1.0.0.tar.gz", ["1.0"], "1.0"),
        ("foo_bar-1.0.0.tar.gz", ["1.0", "1.0.0"], "1.0.0"),
        ("foo_bar-1.0_beta-py3-none-any.whl", ["1.0-beta"], "1.0-beta"),
        ("foo_bar-2004b_x-py2.7.egg", ["2004b-x"], "2004b-x"),
        ("foo_bar-1.0-py2.7-linux-x86_64.egg", [], "1.0"),
        ("foo-bar-1.0.win-amd64-py3.4.exe", [], "1.0"),
        ("foo-bar-1.0.win32.msi", [], "1.0"),
        ("foo-bar-1.0.linux-x86_64.tar.gz", [], "1.0"),
        ("foo-bar-1.0-1.noarch.rpm", [], "1.0"),
        ("python-foo-bar_1.0-1_all.deb", [], "1.0"),
        ("foo-bar-1.0-with-docs.tgz", ["1", "1.0", "1.0.1"], "1.0"),
        ("foo-bar-dev-2010.tar.bz2", [], "dev-2010"),
        ("foo-bar-1.1.tar.gz", ["1.0"], "1.1"),
        ("foo-bar-1.1.tar.gz", ["1"], "1.1"),
        ("foo-bar-1.1-with-docs.tgz", ["1.0"], "1.1-with-docs"),
        ("other.exe", ["1.0"], None),
        ("foo-bar-.zip", ["1.0"], None),
        ("foo_bar.whl", [], None),
    ],
)
def test_the_version_of_a_file_is_spelled_as_its_upstream_does(
    filename: str, known: list[str], version: str | None
) -> None:
    assert version_of(normalize("foo-bar"), filename, Spellings(known)) == version


def test_a_plain_mapping_of_canonical_versions_will_do() -> None:
    assert version_of(normalize("foo"), "foo-1.0.0.tar.gz", {"1": "1.0"}) == "1.0"


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(max_size=300), st.lists(st.text(max_size=20), max_size=3))
def test_no_filename_and_no_version_raises(filename: str, known: list[str]) -> None:
    project = normalize("foo")
    safe_filename(filename), belongs_to(project, filename), content_type(filename)
    for name in (filename, f"foo-{filename}", f"foo-{filename}.whl", f"foo-{filename}.tar.gz"):
        version_of(project, name, Spellings(known))


def test_a_number_longer_than_python_converts_is_no_error() -> None:
    assert version_of(normalize("foo"), "foo-1.tar.gz", Spellings(["9" * 5000])) == "1"


@pytest.mark.parametrize(
    ("filename", "media_type"),
    [
        ("foo-1.0-py3-none-any.whl", "application/zip"),
        ("foo-1.0.tar.gz", "application/gzip"),
        ("foo-1.0-py3-none-any.whl.metadata", "text/plain; charset=utf-8"),
        ("foo.html", "application/octet-stream"),
        ("foo", "application/octet-stream"),
    ],
)
def test_no_file_is_served_as_something_that_a_browser_runs(filename: str, media_type: str) -> None:
    assert content_type(filename) == media_type
