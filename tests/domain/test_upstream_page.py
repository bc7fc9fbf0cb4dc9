"""Upstream pages, good and hostile, in JSON and in HTML."""

import contextlib
import json
import time
import tracemalloc
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from koschey.domain.names import normalize
from koschey.domain.negotiation import Representation
from koschey.domain.page import ListedFile, ProjectPage, Refusal, UpstreamPage
from koschey.domain.simple_api import render_project
from koschey.domain.upstream_page import PageInvalid, parse_html, parse_json

PAGE_URL = "https://upstream.example/simple/foo/"
FOO = normalize("foo")
WHEEL = "foo-1.0-py3-none-any.whl"
SHA256 = "ab" * 32


def entry(filename: str = WHEEL, **fields: Any) -> dict[str, Any]:
    return {
        "filename": filename,
        "url": f"https://files.upstream.example/{filename}",
        "hashes": {"sha256": SHA256},
    } | {key.replace("_", "-"): value for key, value in fields.items()}


def page(*files: Any, **fields: Any) -> bytes:
    whole = {"meta": {"api-version": "1.1"}, "name": "Foo", "files": files}
    return json.dumps(whole | {key.replace("_", "-"): value for key, value in fields.items()}).encode()


def from_json(*files: Any, **fields: Any) -> UpstreamPage:
    return parse_json(page(*files, **fields), PAGE_URL, FOO)


def from_html(*chunks: str | bytes, charset: str | None = None, page_url: str = PAGE_URL) -> UpstreamPage:
    body = (chunk.encode() if isinstance(chunk, str) else chunk for chunk in chunks)
    return parse_html(body, page_url, FOO, charset=charset, expired=lambda: False)


def field_of(parsed: UpstreamPage, field: str) -> Any:
    (file,) = parsed.files
    return getattr(file, field)


def problem_of(parsed: UpstreamPage) -> str:
    assert parsed.files == ()
    (refusal,) = parsed.refused
    return refusal.problem


# --- fields of a file, in JSON


@pytest.mark.parametrize(
    ("given", "field", "parsed"),
    [
        ({"hashes": {"sha256": SHA256.upper()}}, "sha256", SHA256),
        ({"hashes": {"md5": "0" * 32, "sha512": "F" * 128}}, "digest", "sha512:" + "f" * 128),
        ({"hashes": {"md5": "0" * 32, "blake2b": "0" * 64}}, "digest", "md5:" + "0" * 32),
        ({"hashes": {"md5": "0"}}, "digest", None),
        ({"hashes": {}}, "sha256", None),
        ({"size": 0}, "size", 0),
        ({"size": -1}, "size", None),
        ({"size": 2**70}, "size", None),
        ({"upload_time": "2026-01-02T03:04:05.123456Z"}, "upload_time", 1_767_323_045_123_456),
        ({"upload_time": "2026-01-02T03:04:05.123456789Z"}, "upload_time", 1_767_323_045_123_456),
        ({"upload_time": "2026-01-02T03:04:05.5"}, "upload_time", 1_767_323_045_500_000),
        ({"upload_time": "2026-01-02T05:04:05+02:00"}, "upload_time", 1_767_323_045_000_000),
        ({"upload_time": "yesterday"}, "upload_time", None),
        ({"upload_time": "0001-01-01T00:00:00+14:00"}, "upload_time", None),
        ({"upload_time": "9999-12-31T23:59:59-14:00"}, "upload_time", None),
        ({"requires_python": ">=3.9, <whatever"}, "requires_python", ">=3.9, <whatever"),
        ({"requires_python": ""}, "requires_python", None),
        ({"requires_python": ">=3\r\nX-Evil: 1"}, "requires_python", ">=3  X-Evil: 1"),
        ({"requires_python": ">=3," * 2000}, "requires_python", None),
        ({"yanked": "x" * 5000}, "yanked", "x" * 4096),
        ({"yanked": False}, "yanked", False),
        ({"yanked": None}, "yanked", False),
        ({"yanked": ""}, "yanked", False),
        ({"yanked": True}, "yanked", True),
        ({"yanked": "broken"}, "yanked", "broken"),
        ({"yanked": "\x00"}, "yanked", True),
        ({"core_metadata": {"sha256": SHA256.upper()}}, "core_metadata", SHA256),
        ({"core_metadata": True}, "core_metadata", True),
        ({"core_metadata": {}}, "core_metadata", True),
        ({"core_metadata": {"sha256": "x"}}, "core_metadata", False),
        ({"core_metadata": False, "dist_info_metadata": True}, "core_metadata", False),
        ({"dist_info_metadata": {"sha256": SHA256}}, "core_metadata", SHA256),
        ({"provenance": "https://upstream.example/p"}, "provenance", "https://upstream.example/p"),
        ({"provenance": "/p"}, "provenance", None),
        ({"provenance": "javascript:alert(1)"}, "provenance", None),
        ({"provenance": "https://user@upstream.example/p"}, "provenance", None),
        ({"url": "../../f.whl?a=1#sha256=00"}, "url", "https://upstream.example/f.whl?a=1"),
        ({"url": "//cdn.example/f.whl"}, "url", "https://cdn.example/f.whl"),
        ({"url": "/f%2B.whl"}, "url", "https://upstream.example/f%2B.whl"),
        ({"url": "http://[::1]:8080/f.whl"}, "url", "http://[::1]:8080/f.whl"),
    ],
)
def test_a_field_is_read_as_its_standard_says(given: dict[str, Any], field: str, parsed: Any) -> None:
    value = field_of(from_json(entry(**given)), field)
    assert (value, type(value)) == (parsed, type(parsed))


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "file:///etc/passwd", "ftp://upstream.example/f", "data:,x", "http:", "http:///f",
        "https://user:password@upstream.example/f", "https://upstream.example\\@evil.example/f",
        "https://upstream.example/f\r\nX: y", "java\tscript:alert(1)", " https://upstream.example/f", "https://[::1/f",
        "https://upstream.example:99999/f", "https://upstream.example:0/f",
    ],
)  # fmt: skip
def test_a_url_that_is_no_plain_web_address_refuses_its_file(url: str) -> None:
    assert "URL" in problem_of(from_json(entry(url=url)))


@pytest.mark.parametrize(
    "filename",
    [
        "../foo-1.0.zip",
        "foo-1.0\x00.zip",
        ".foo-1.0.zip",
        "f\u043eo-1.0.zip",
        "foo-" + "1" * 300 + ".zip",
        "",
    ],
)
def test_an_unsafe_filename_refuses_its_file(filename: str) -> None:
    assert "characters" in problem_of(from_json(entry(filename, url="https://upstream.example/f")))


def test_a_file_of_another_project_is_refused() -> None:
    parsed = from_json(entry(), entry("foo_bar-1.0.tar.gz"))
    assert [file.filename for file in parsed.files] == [WHEEL]
    assert parsed.refused == (
        Refusal("foo_bar-1.0.tar.gz", "its name says that it is a file of another project"),
    )


def test_a_sha256_that_is_none_refuses_its_file() -> None:
    assert "sha256" in problem_of(from_json(entry(hashes={"sha256": "zz", "md5": "0" * 32})))


@pytest.mark.parametrize(
    "bad",
    [
        None, 7, [], {}, {"filename": WHEEL}, entry(size=True), entry(size="7"), entry(yanked=5),
        entry(hashes=[SHA256]), entry(hashes={"sha256": 1}), entry(core_metadata="yes"), entry(upload_time=1),
        entry(filename=None),
    ],
)  # fmt: skip
def test_one_malformed_entry_costs_one_file(bad: Any) -> None:
    parsed = from_json(entry(), bad, entry("foo-1.0.tar.gz"))
    assert [file.filename for file in parsed.files] == [WHEEL, "foo-1.0.tar.gz"]
    assert len(parsed.refused) == 1


@pytest.mark.parametrize(
    "value",
    [b"1e400", b"9" * 5000, b'"\xff"'],
    ids=["beyond-floats", "beyond-integers", "no-text"],
)
def test_an_entry_with_a_value_that_cannot_be_read_keeps_its_name(value: bytes) -> None:
    """A file that is known by that name would be taken for withdrawn."""
    body = page(entry(), entry("foo-2.zip", size="HERE")).replace(b'"HERE"', value)
    parsed = parse_json(body, PAGE_URL, FOO)
    assert [refusal.filename for refusal in parsed.refused] == ["foo-2.zip"]


def test_an_entry_nested_too_deep_refuses_the_page_and_does_no_harm() -> None:
    deep = b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(PageInvalid, match="deep"):
        parse_json(page("HERE").replace(b'"HERE"', deep), PAGE_URL, FOO)


def test_bytes_that_are_no_text_cost_one_file() -> None:
    body = page(entry(), entry("foo-2.zip", requires_python="HERE")).replace(b"HERE", b"\xff")
    parsed = parse_json(body, PAGE_URL, FOO)
    assert (len(parsed.files), len(parsed.refused)) == (1, 1)


@pytest.mark.parametrize(
    ("second", "files", "refusals"),
    [
        pytest.param(entry(), 1, 0, id="the same again"),
        pytest.param(entry(url="https://mirror.example/x.whl"), 1, 0, id="the same bytes elsewhere"),
        pytest.param(entry(hashes={"sha256": "cd" * 32}), 1, 1, id="other bytes"),
        pytest.param(entry(hashes={}), 1, 1, id="unknown bytes"),
    ],
)
def test_of_two_entries_of_one_name_the_first_stays(second: Any, files: int, refusals: int) -> None:
    parsed = from_json(entry(), second)
    assert (len(parsed.files), len(parsed.refused)) == (files, refusals)
    assert field_of(parsed, "sha256") == SHA256


# --- the page around them


@pytest.mark.parametrize(
    ("serial", "parsed"),
    [
        (120, 120), ("120", 120), (0, 0), (None, None), ("None", None), ("", None), (-1, None), ("-1", None),
        (True, None), (1.5, None), (2**80, None), ("9" * 5000, None), ("\u0663", None), ([], None),
    ],
)  # fmt: skip
def test_a_serial_is_an_integer_or_unknown(serial: Any, parsed: int | None) -> None:
    assert from_json(meta={"api-version": "1.1", "_last-serial": serial}).serial == parsed


def test_a_page_without_a_serial_has_none() -> None:
    assert from_json().serial is None


@pytest.mark.parametrize(
    ("marker", "status", "reason"),
    [
        ({"status": "archived", "reason": "done\n"}, "archived", "done "),
        ({"status": "quarantined"}, "quarantined", None),
        ({"status": "on fire", "reason": 5}, "active", None),
        ("archived", "active", None),
        (None, "active", None),
    ],
)
def test_a_project_has_one_of_the_known_statuses(marker: Any, status: str, reason: str | None) -> None:
    parsed = from_json(entry(), project_status=marker)
    assert (parsed.status, parsed.status_reason, len(parsed.files)) == (status, reason, 1)


def test_the_upstreams_list_spells_the_versions() -> None:
    assert field_of(from_json(entry(), versions=["1", None]), "version") == "1"
    assert field_of(from_json(entry(), versions="1.0"), "version") == "1.0"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "not JSON"),
        (b"<!DOCTYPE html><html></html>", "HTML, labelled as JSON"),
        (page()[:-1], "not JSON"),
        (page() + b"x", "not JSON"),
        (b"[" * 500_000, "no page"),
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "deep"),
        (b"[]", "no page"),
        (b'{"message": "sign in"}', "no page"),
        (page(name="bar"), "another project"),
        (page(name=None), "no page"),
        (page(files={}), "no page"),
        (page(meta={}), "no page"),
        (page(meta={"api-version": "2.0"}), "version is not 1"),
        (page(meta={"api-version": "x"}), "version cannot be read"),
        (page(meta={"api-version": "1" * 5000 + ".0"}), "version is not 1"),
        (page(name="\xff").replace(b"\\u00ff", b"\xff"), "not JSON"),
        (page(*[1] * 20_000), "too much that cannot be believed"),
        (page(*[1] * 1_000_100), "longer than a page"),
    ],
)
def test_what_is_no_page_of_the_project_is_refused_as_a_whole(body: bytes, problem: str) -> None:
    with pytest.raises(PageInvalid, match=problem):
        parse_json(body, PAGE_URL, FOO)


@pytest.mark.parametrize("values", [b"1", b"{}", b'{"filename": "", "url": ""}'], ids=["1", "{}", "entry"])
def test_many_small_values_do_not_fill_the_memory(values: bytes) -> None:
    body = page(None).replace(b"null", b",".join([values] * (2**22 // len(values))))
    tracemalloc.start()
    try:
        with contextlib.suppress(PageInvalid):
            parse_json(body, PAGE_URL, FOO)
        assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    finally:
        tracemalloc.stop()


def test_attributes_without_a_meaning_do_not_fill_the_memory() -> None:
    tag = "<a href=x " + " ".join(f"x{number}" for number in range(4000)) + ">"
    tracemalloc.start()
    try:
        with contextlib.suppress(PageInvalid):
            from_html(tag * 50)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


def test_a_version_that_no_filename_can_hold_is_not_remembered() -> None:
    parsed = from_json(entry("foo-1.0.tar.gz"), versions=["1." + "0" * 1000, "1.0.0"])
    assert field_of(parsed, "version") == "1.0.0"


# --- HTML


def anchor(attributes: str = "", filename: str = WHEEL) -> str:
    return f'<!DOCTYPE html><a href="../../files/{filename}#sha256={SHA256}" {attributes}>{filename}</a>'


@pytest.mark.parametrize(
    ("attributes", "field", "parsed"),
    [
        ("", "url", f"https://upstream.example/files/{WHEEL}"),
        ("", "sha256", SHA256),
        ("", "version", "1.0"),
        ("data-requires-python='&gt;=3.9'", "requires_python", ">=3.9"),
        ("", "yanked", False),
        ("data-yanked", "yanked", True),
        ("data-yanked=''", "yanked", True),
        ("data-yanked='a &amp; b'", "yanked", "a & b"),
        (f"data-core-metadata=sha256={SHA256} data-dist-info-metadata=true", "core_metadata", SHA256),
        (f"data-dist-info-metadata=sha256={SHA256}", "core_metadata", SHA256),
        ("data-core-metadata=true", "core_metadata", True),
        ("data-core-metadata=sha256=x", "core_metadata", False),
        ("data-provenance=https://upstream.example/p", "provenance", "https://upstream.example/p"),
        ("data-provenance=p", "provenance", None),
        ("data-yanked=first data-yanked=second", "yanked", "first"),
    ],
)
def test_an_attribute_is_read_as_its_standard_says(attributes: str, field: str, parsed: Any) -> None:
    assert field_of(from_html(anchor(attributes)), field) == parsed


@pytest.mark.parametrize(
    "link",
    [
        f"<a href='{WHEEL}'>Download</a>",
        f"<a href='x?id=1'> {WHEEL}\n</a>",
        f"<a href='{WHEEL}?token=x#md5=0'>a <b>link</b></a>",
        f"<A HREF={WHEEL}>{WHEEL}",
        f"<a href='{WHEEL}'>{WHEEL}<a href='#top'>top</a>",
        f"<a href='{WHEEL.replace('-', '%2D')}'></a>",
        f"<p><li><table><a href='{WHEEL}'>{WHEEL}</b></a>",
        f"\ufeff\n<a href='{WHEEL}'>{WHEEL}</a>",
    ],
)
def test_the_filename_is_the_text_or_the_urls_last_segment(link: str) -> None:
    assert field_of(from_html("<html>" + link if link[0] == "<" else link), "filename") == WHEEL


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("/mirror/", f"https://upstream.example/mirror/{WHEEL}"),
        ("https://files.example/d/", f"https://files.example/d/{WHEEL}"),
        ("javascript:alert(1)//", None),
        ("file:///", None),
        ("https://u:p@files.example/", None),
        ("https://[", None),
    ],
)
def test_a_base_moves_relative_links_only_to_the_web(base: str, url: str | None) -> None:
    absolute = "<a href='https://upstream.example/foo-1.0.zip'>foo-1.0.zip</a>"
    parsed = from_html(f"<base href='{base}'><a href='{WHEEL}'>{WHEEL}</a>{absolute}")
    urls = [file.url for file in parsed.files]
    assert urls == [*([url] if url else []), "https://upstream.example/foo-1.0.zip"]
    assert len(parsed.refused) == (0 if url else 1)


def test_a_malformed_link_costs_one_file() -> None:
    parsed = from_html(f"<a href='https://[bad/foo-1.0.zip'>foo-1.0.zip</a><a href='{WHEEL}'>{WHEEL}</a>")
    assert [refusal.filename for refusal in parsed.refused] == ["foo-1.0.zip"]
    assert [file.filename for file in parsed.files] == [WHEEL]


def test_a_script_in_an_attribute_stays_text() -> None:
    parsed = from_html(anchor("data-requires-python='\"><script>alert(1)</script>'"))
    assert field_of(parsed, "requires_python") == '"><script>alert(1)</script>'


def test_meta_tags_give_version_and_status() -> None:
    parsed = from_html(
        "<meta name='pypi:repository-version' content='1.4'>"
        "<meta name='pypi:project-status' content=archived>"
        "<meta name='pypi:project-status-reason' content='old &amp; done'>"
    )
    assert (parsed.status, parsed.status_reason) == ("archived", "old & done")


def test_a_folder_listing_without_files_is_an_empty_page() -> None:
    assert from_html("<h1>Index</h1><a href='../'>..</a><a href='?C=N'>Name</a>").files == ()


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ('{"meta": {}}', "not HTML"),
        ("<html><form><a href='/login'>Sign in</a></form>", "no link to a file"),
        ("<html><body><h1>Sorry, down for maintenance</h1></body></html>", "no link to a file"),
        ("<meta name='pypi:repository-version' content='2.0'>", "version is not 1"),
        ("<meta name='pypi:repository-version' content='new'>", "version cannot be read"),
        ("<!--" + "x" * 100_000, "without an end"),
        ("<script>" + "x" * 100_000, "without an end"),
        ("<a href='" + "x" * 100_000, "without an end"),
        ("<a href>" * 200_100, "more links"),
        ("<a href='x'>&#" + "9" * 5000 + ";</a>", "cannot be read|no link to a file"),
    ],
)
def test_html_that_is_no_page_is_refused_as_a_whole(body: str, problem: str) -> None:
    with pytest.raises(PageInvalid, match=problem):
        from_html(body)


@pytest.mark.parametrize(
    ("charset", "body"),
    [
        (None, anchor("data-yanked='\u00fc'").encode()),
        ("ISO-8859-1", anchor("data-yanked='\u00fc'").encode("latin-1")),
        ("no-such-charset", anchor("data-yanked='\u00fc'").encode()),
        ("zlib", anchor("data-yanked='\u00fc'").encode()),
        ("punycode", anchor("data-yanked='\u00fc'").encode()),
        ("x\x00y", anchor("data-yanked='\u00fc'").encode()),
    ],
)
def test_the_charset_is_believed_when_it_is_an_ordinary_one(charset: str | None, body: bytes) -> None:
    parsed = from_html(*(body[at : at + 1] for at in range(len(body))), charset=charset)
    assert field_of(parsed, "yanked") == "\u00fc"


def test_the_time_limit_is_checked_while_the_page_arrives() -> None:
    arrived = 0

    def slow() -> Iterable[bytes]:
        nonlocal arrived
        while True:
            arrived += 1
            yield b"<p>"

    with pytest.raises(PageInvalid, match="in time"):
        parse_html(slow(), PAGE_URL, FOO, expired=lambda: arrived > 10)
    assert arrived == 11


@pytest.mark.parametrize(
    "hostile",
    ["<a href=x>", "<p>", "<p></b>", "<a href=x>y<b>", "<![", "<!x ", "&", "<a =", "</", "<!--><", "<a x='"],
)
def test_hostile_markup_costs_no_more_than_its_length(hostile: str) -> None:
    begin = time.monotonic()
    body = hostile.encode() * (2**18 // len(hostile))
    try:
        parse_html([b"<html>", body], PAGE_URL, FOO, expired=lambda: time.monotonic() - begin > 8)
    except PageInvalid as error:
        assert "in time" not in error.problem


# --- both


versions = st.from_regex(r"[0-9]{1,2}(\.[0-9]{1,2}){0,2}(rc1)?", fullmatch=True)
reasons = st.one_of(
    st.booleans(), st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)
)
listed = st.builds(
    lambda version, kind, **fields: ListedFile(
        filename=f"foo-{version}{kind}", path=f"/files/foo-{version}{kind}", version=version, **fields
    ),
    versions,
    st.sampled_from(["-py3-none-any.whl", ".tar.gz", "+l.1.zip", "-py2.7.egg", ".win32.exe"]),
    sha256=st.one_of(st.none(), st.just(SHA256)),
    requires_python=st.one_of(st.none(), st.sampled_from([">=3.9", '<"4"&', "==3.*,!=3.1"])),
    yanked=reasons,
    core_metadata=st.one_of(st.booleans(), st.just(SHA256)),
    provenance=st.booleans(),
)


@settings(deadline=None)
@given(st.lists(listed, max_size=8, unique_by=lambda file: file.filename))
def test_html_and_json_list_the_same_files(files: list[ListedFile]) -> None:  # A50
    rendered = ProjectPage(name="Foo", serial=1, files=tuple(files))
    base = "https://upstream.example/i"
    in_json = parse_json(render_project(rendered, Representation.JSON, base), PAGE_URL, FOO)
    in_html = parse_html(
        [render_project(rendered, Representation.HTML, base)], PAGE_URL, FOO, expired=lambda: False
    )
    # Of two spellings of one release JSON names one, and HTML has no size and no time.
    unversioned = [[replace(file, version=None) for file in form.files] for form in (in_json, in_html)]
    assert unversioned[0] == unversioned[1]
    assert in_json.refused == in_html.refused == ()
    assert [file.filename for file in in_json.files] == [file.filename for file in files]


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    for parse in (lambda: parse_json(body, PAGE_URL, FOO), lambda: from_html(body)):
        with contextlib.suppress(PageInvalid):
            parse()
