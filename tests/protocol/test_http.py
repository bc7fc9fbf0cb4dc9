"""HTTP as installers, caches and proxies rely on it: conformance list B of the protocol."""

from __future__ import annotations

import gzip
import json
import socket
from urllib.parse import urljoin, urlsplit

import pytest
import requests
import zstandard

from tests.fake_upstream import FakeUpstream
from tests.protocol.asking import HTML, JSON, ask_page, download, file_url, get, logged, page, path_of
from tests.running import Running, eventually, raw_request
from tests.upstream_pages import Project, UpstreamFile


@pytest.fixture
def wheel(project: Project) -> UpstreamFile:
    return project.release("1.0", payload=bytes(range(256)) * 40)


@pytest.fixture
def url(koschey: Running, wheel: UpstreamFile) -> str:
    """A file that is stored already."""
    address = file_url(koschey, wheel)
    assert download(address).content == wheel.content
    # A client has its last byte a moment before the file is published and recorded.
    eventually(lambda: get(address + ".record.json").json()["fetched_at"])
    return address


def test_cache_control_is_everywhere(koschey: Running, wheel: UpstreamFile, url: str) -> None:
    for asked in (koschey.simple, f"{koschey.simple}{wheel.project}/"):
        control = get(asked).headers["Cache-Control"]
        assert "no-cache" in control or "max-age" in control
        assert "private" in control
    for asked in (url, url + ".metadata"):
        control = download(asked).headers.get("Cache-Control", "")
        # Behind a redirect it is the storage that answers, and Koschey's own answer must not be kept.
        redirected = bool(download(asked).history)
        assert "immutable" not in control
        assert redirected or "max-age" in control
    for method, asked in (("GET", koschey.simple + "nobody-has-this-either/"), ("OPTIONS", url)):
        assert raw_request(koschey.url, method, path_of(asked))[0].headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("accept", [JSON, HTML, "text/html"], ids=["json", "html", "text"])
@pytest.mark.parametrize("encoding", ["identity", "gzip", "zstd"])
def test_a_strong_etag_revalidates(koschey: Running, showcase: Project, accept: str, encoding: str) -> None:
    for url in (koschey.simple, koschey.simple + "show-case/"):
        headers = {"Accept": accept, "Accept-Encoding": encoding}
        first = get(url, **headers)
        etag = first.headers["ETag"]
        assert etag.startswith('"')

        again = get(url, **headers, If_None_Match=etag)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == etag
        assert "Cache-Control" in again.headers
        assert "Vary" in again.headers
        for several in (f'"other", {etag}', "*", f"W/{etag}"):
            assert get(url, **headers, If_None_Match=several).status_code == 304
        assert get(url, **headers, If_None_Match='"other"').status_code == 200


def test_the_etag_differs_by_form_and_by_encoding(koschey: Running, showcase: Project) -> None:
    etags = [
        ask_page(koschey, "show-case", Accept=accept, Accept_Encoding=encoding).headers["ETag"]
        for accept in (JSON, HTML, "text/html")
        for encoding in ("identity", "gzip", "zstd")
    ]

    assert len(set(etags)) == len(etags)


def test_an_old_etag_after_a_change_is_200(eager: Running, project: Project) -> None:
    project.release("1.0")
    etag = ask_page(eager, project.name).headers["ETag"]
    assert ask_page(eager, project.name, If_None_Match=etag).status_code == 304

    project.release("2.0")

    changed = ask_page(eager, project.name, If_None_Match=etag)
    assert changed.status_code == 200
    assert "2.0" in changed.json()["versions"]


def test_compressed_pages_decode_to_the_same(koschey: Running, showcase: Project) -> None:
    plain = raw_request(koschey.url, "GET", "/simple/show-case/", {"Accept": JSON})
    zipped = raw_request(
        koschey.url, "GET", "/simple/show-case/", {"Accept": JSON, "Accept-Encoding": "gzip, deflate"}
    )
    zstd = raw_request(
        koschey.url, "GET", "/simple/show-case/", {"Accept": JSON, "Accept-Encoding": "gzip, br, zstd"}
    )

    assert "Content-Encoding" not in plain[0].headers
    assert zipped[0].headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(zipped[1]) == plain[1]
    assert zstd[0].headers["Content-Encoding"] == "zstd"
    assert zstandard.ZstdDecompressor().decompressobj().decompress(zstd[1]) == plain[1]


def test_a_refused_encoding_is_not_used(koschey: Running, showcase: Project) -> None:
    response, _ = raw_request(
        koschey.url, "GET", "/simple/show-case/", {"Accept": JSON, "Accept-Encoding": "gzip;q=0, identity"}
    )
    assert "Content-Encoding" not in response.headers


def test_files_are_never_compressed(url: str) -> None:
    for asked in (url, url + ".metadata"):
        answer = requests.get(asked, headers={"Accept-Encoding": "gzip, zstd"}, timeout=30)
        assert answer.status_code == 200
        assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize("accept", [JSON, "text/html"], ids=["json", "text"])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_head_of_a_page_is_get_without_the_body(
    koschey: Running, showcase: Project, accept: str, encoding: str
) -> None:
    for target in ("/simple/", "/simple/show-case/"):
        headers = {"Accept": accept, "Accept-Encoding": encoding}
        got, body = raw_request(koschey.url, "GET", target, headers)
        head, nothing = raw_request(koschey.url, "HEAD", target, headers)

        assert (head.status, nothing) == (200, b"")
        for name in ("Content-Type", "Content-Length", "ETag", "Cache-Control", "Vary", "X-PyPI-Last-Serial"):
            assert head.headers[name] == got.headers[name], name
        assert head.headers["Content-Length"] == str(len(body))


def test_head_of_a_file_is_answered_locally(koschey: Running, wheel: UpstreamFile, url: str) -> None:
    for target, size in ((path_of(url), len(wheel.content)), (path_of(url) + ".metadata", None)):
        response, body = raw_request(koschey.url, "HEAD", target)

        assert (response.status, body) == (200, b"")
        assert size is None or response.headers["Content-Length"] == str(size)
        assert response.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=0-9", 0, 9),
        ("bytes=5-5", 5, 5),
        ("bytes=100-", 100, None),
        ("bytes=-100", -100, None),
        ("bytes=-99999999", 0, None),
        ("bytes=10-99999999", 10, None),
    ],
    ids=["first ten", "one", "open", "last hundred", "longer than the file", "beyond the end"],
)
def test_ranges(wheel: UpstreamFile, url: str, header: str, first: int, last: int | None) -> None:
    size = len(wheel.content)
    start = first if first >= 0 else size + first
    end = size - 1 if last is None else last

    answer = download(url, Range=header)

    assert answer.status_code == 206
    assert answer.content == wheel.content[start : end + 1]
    assert answer.headers["Content-Range"] == f"bytes {start}-{end}/{size}"
    assert answer.headers["Content-Length"] == str(end - start + 1)


def test_a_range_beyond_the_end_is_416(wheel: UpstreamFile, url: str) -> None:
    answer = download(url, Range=f"bytes={len(wheel.content)}-")

    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(wheel.content)}"


def test_a_range_counts_only_for_the_file_it_was_meant_for(wheel: UpstreamFile, url: str) -> None:
    etag = requests.head(url, timeout=30).headers["ETag"]

    assert download(url, Range="bytes=0-9", If_Range=etag).status_code == 206
    other = download(url, Range="bytes=0-9", If_Range='"another"')
    assert (other.status_code, other.content) == (200, wheel.content)


def test_a_thousand_ranges_do_not_multiply_the_answer(wheel: UpstreamFile, url: str) -> None:
    answer = download(url, Range="bytes=" + ",".join("0-" for _ in range(1000)))

    assert answer.status_code in (200, 416)
    assert answer.content == (wheel.content if answer.status_code == 200 else b"")


def test_a_known_etag_of_a_file_is_304(url: str) -> None:
    etag = download(url).headers["ETag"]

    answer = download(url, If_None_Match=etag)
    assert (answer.status_code, answer.content) == (304, b"")


def test_a_redirect_to_storage_is_temporary_elsewhere_and_only_for_get(
    koschey: Running, wheel: UpstreamFile, url: str, request: pytest.FixtureRequest
) -> None:
    answer = get(url)

    if "s3" not in request.node.callspec.id:
        assert (answer.status_code, answer.content) == (200, wheel.content)
        return
    assert answer.status_code in (302, 307)
    assert "no-store" in answer.headers["Cache-Control"]
    assert urlsplit(answer.headers["Location"]).hostname != urlsplit(koschey.url).hostname
    head = requests.head(url, allow_redirects=False, timeout=30)
    assert head.status_code == 200
    assert head.headers["Content-Length"] == str(len(wheel.content))


def test_nobody_is_ever_sent_to_the_upstream(
    koschey: Running, upstream: FakeUpstream, project: Project
) -> None:
    wheel = project.release("1.0")

    for address in (koschey.simple + project.name + "/", file_url(koschey, wheel)):
        for method in ("GET", "HEAD"):
            answer = requests.request(method, address, allow_redirects=False, timeout=30)
            assert upstream.url not in answer.headers.get("Location", "")
            assert upstream.url not in answer.text


@pytest.mark.parametrize(
    ("version", "spellings"),
    [("1.0+acme.1", ["+", "%2B", "%2b"]), ("1!2.0", ["!", "%21"])],
    ids=["plus", "exclamation mark"],
)
def test_encoded_and_plain_characters_reach_the_same_bytes(
    koschey: Running, project: Project, version: str, spellings: list[str]
) -> None:
    wheel = project.release(version)
    target = path_of(file_url(koschey, wheel))
    special = spellings[0]
    for written in spellings:
        target = target.replace(written, special)

    for written in spellings:
        for suffix in ("", ".metadata"):
            asked = target.replace(special, written) + suffix
            response, _ = raw_request(koschey.url, "HEAD", asked)
            assert response.status == 200, asked
        assert download(koschey.url + target.replace(special, written)).content == wheel.content
    response, _ = raw_request(koschey.url, "GET", target.replace(special, "%20"))
    assert response.status == 404


def test_an_upstream_that_asks_for_patience_is_passed_on_as_such(
    alone: Running, upstream: FakeUpstream, project: Project
) -> None:
    project.release("1.0")
    upstream.fail(project.name, status=429, retry_after=120)

    answer = ask_page(alone, project.name)

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "120"
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert "no-store" in answer.headers["Cache-Control"]


def test_a_blocked_file_says_why_in_every_place_that_clients_read(eager: Running, project: Project) -> None:
    wheel = project.release("1.0")
    target = path_of(file_url(eager, wheel))
    project.set_status("quarantined", "malware")
    page(eager, project.name)

    response, body = raw_request(eager.url, "GET", target)

    assert response.status == 403
    assert "quarantine" in response.reason.lower()
    assert response.headers["Content-Type"].startswith("application/problem+json")
    assert "no-store" in response.headers["Cache-Control"]
    problem = json.loads(body)
    assert problem["status"] == 403
    assert problem["title"]
    assert "quarantine" in problem["detail"].lower()
    head, nothing = raw_request(eager.url, "HEAD", target)
    assert (head.status, nothing) == (403, b"")
    ranged, content = raw_request(eager.url, "GET", target, {"Range": "bytes=0-9"})
    assert ranged.status == 403
    assert wheel.content[:10] not in content


BAD_TARGETS: dict[str, tuple[str, int]] = {
    "not utf-8": ("/simple/%ff%fe/", 400),
    "file not utf-8": ("/packages/aa/bb/%ff/x.whl", 400),
    "line break": ("/simple/%0d%0aX-Evil:%201/", 404),
    "line break in a file": ("/packages/aa/bb/cc/x%0d%0aX-Evil:%201.whl", 404),
    "encoded way up": ("/simple/foo%2F..%2Fbar/", 404),
    "encoded way up to a file": ("/packages/%2F..%2F..%2Fetc/passwd", 404),
    "way up": ("/packages/../../../../etc/passwd", 404),
    "double encoding": ("/packages/%252e%252e%252fetc/passwd", 404),
    "nul": ("/simple/%00/", 404),
    "dash": ("/simple/-foo/", 404),
    "long": ("/simple/" + "a" * 5000 + "/", 404),
    "nonsense": ("/legacy-nonsense", 404),
    "audience": ("/_/oidc/audience", 404),
}


@pytest.mark.parametrize(("target", "status"), BAD_TARGETS.values(), ids=BAD_TARGETS)
def test_a_bad_target_is_refused_with_one_line_in_the_log(koschey: Running, target: str, status: int) -> None:
    response, _ = raw_request(koschey.url, "GET", target, {"Accept": JSON})

    assert response.status == status
    assert "X-Evil" not in response.headers
    assert "Location" not in response.headers
    assert response.headers["Content-Type"] == "application/problem+json"
    [line] = eventually(lambda: logged(koschey, "request", request_id=response.headers["X-Request-ID"]))
    assert line["status"] == status


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example/simple",
        "//evil.example/simple/Foo",
        "//evil.example/simple/Foo/",
        "/simple//evil.example",
        "/simple/Foo%0d%0aX-Evil:%201",
    ],
    ids=["root", "name", "page", "second slash", "line break"],
)
def test_no_redirect_leads_away_or_carries_a_header(koschey: Running, target: str) -> None:
    response, _ = raw_request(koschey.url, "GET", target, {"Accept": JSON})

    assert response.status in (301, 308, 404)
    assert "X-Evil" not in response.headers
    location = urljoin(koschey.simple, response.headers.get("Location", ""))
    assert urlsplit(location).netloc == urlsplit(koschey.url).netloc


@pytest.mark.parametrize(
    "host",
    ["evil.example/x", "a b", "evil.example:port", "<script>", "x@evil.example", ""],
    ids=["path", "blank", "port", "markup", "user", "nothing"],
)
def test_a_bad_host_is_refused(koschey: Running, showcase: Project, host: str) -> None:
    page(koschey, "show-case")
    parts = urlsplit(koschey.url)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=30) as connection:
        head = f"GET /simple/show-case/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"/packages/" not in answer


@pytest.mark.parametrize(
    "accept",
    [",,,;", "text/html;q=abc", "a" * 4000, ";q=1", "*/*;q=-1, \xff"],
    ids=["commas", "no number", "long", "no type", "not ascii"],
)
def test_a_nonsense_accept_is_no_error(koschey: Running, showcase: Project, accept: str) -> None:
    response, _ = raw_request(koschey.url, "GET", "/simple/show-case/", {"Accept": accept})

    assert response.status in (200, 406)


def test_post_to_the_simple_api_is_405(koschey: Running, showcase: Project) -> None:
    for url in (koschey.simple, koschey.simple + "show-case/"):
        assert requests.post(url, data={"x": "y"}, timeout=30).status_code == 405


def test_health_answers_without_anything(koschey: Running) -> None:
    assert get(koschey.url + "/healthz").status_code == 200
    assert get(koschey.url + "/readyz").status_code == 200
