"""Other upstreams than the usual one, and Koschey behind a reverse proxy."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
import requests

from tests import running
from tests.fake_upstream import FakeUpstream
from tests.protocol.asking import (
    JSON,
    ask_page,
    download,
    entry,
    file_url,
    filenames,
    get,
    page,
    path_of,
    whole,
)
from tests.running import Running, free_port, raw_request
from tests.upstream_pages import Project

FORWARDED = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "index.example", "X-Forwarded-Prefix": "/pypi"}

needs_nginx = pytest.mark.skipif(
    shutil.which("nginx") is None, reason="nginx is no pip package, and this machine has none"
)


def test_an_upstream_that_speaks_only_html(tmp_path: Path) -> None:
    with FakeUpstream(formats=("html",), serials=lambda _: None, public_paths=False) as upstream:
        project = upstream.project("Old.School")
        wheel = project.release("1.0", requires_python=">=3.9,<4", yanked='say "no"', sdist=True)
        bare = project.release("1.1", sidecar=False)
        # Files without a date are young, and stored behind the answer: what is measured then would be listed.
        for filename in project.files:
            upstream.fail(filename, status=500)
        settings = {"KOSCHEY_REFRESH_SECONDS": "0", "KOSCHEY_STALE_SECONDS": "0"}
        with running.koschey(tmp_path, upstream.simple_url, settings) as process:
            assert set(filenames(process, "old-school")) == set(project.files)
            listed = entry(process, wheel)
            assert listed["requires-python"] == ">=3.9,<4"
            assert listed["yanked"] == 'say "no"'
            assert listed["hashes"] == {"sha256": wheel.sha256}
            assert listed["core-metadata"] == wheel.entry()["core-metadata"]
            assert "upload-time" not in listed
            assert "size" not in listed
            assert not entry(process, bare).get("core-metadata")
            upstream.heal()
            assert running.eventually(lambda: whole(listed["url"])) == wheel.content
            assert running.eventually(lambda: entry(process, wheel).get("size")) == len(wheel.content)
            assert path_of(listed["url"]).startswith("/packages/")
            assert upstream.seen("old-school")[-1].headers.get("if-none-match")


@pytest.mark.parametrize("serials", [str, lambda _: None], ids=["string serials", "no serials"])
def test_an_upstream_without_html_and_etags(tmp_path: Path, serials: type[str]) -> None:
    with FakeUpstream(formats=("json",), serials=serials, etags=False) as upstream:
        project = upstream.project("modern")
        project.release("1.0")
        settings = {"KOSCHEY_REFRESH_SECONDS": "0", "KOSCHEY_STALE_SECONDS": "0"}
        with running.koschey(tmp_path, upstream.simple_url, settings) as process:
            first = ask_page(process, "modern")
            assert ask_page(process, "modern").content == first.content
            project.release("1.1")
            assert page(process, "modern")["versions"] == ["1.0", "1.1"]


def test_forwarded_headers_of_an_undeclared_proxy_are_ignored(koschey: Running, project: Project) -> None:
    project.release("1.0")

    answer = get(f"{koschey.simple}{project.name}/", **({"Accept": JSON} | FORWARDED))

    assert "index.example" not in answer.text
    assert "/pypi/" not in answer.text
    moved = get(f"{koschey.simple}{project.name}", **FORWARDED)
    assert urljoin(moved.url, moved.headers["Location"]) == f"{koschey.simple}{project.name}/"


@pytest.fixture(scope="module")
def proxied(upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A Koschey that was told of one proxy in front of it."""
    folder = tmp_path_factory.mktemp("proxied")
    with running.koschey(folder, upstream.simple_url, {"KOSCHEY_TRUSTED_PROXIES": "1"}) as process:
        yield process


def test_behind_a_declared_proxy_links_and_redirects_are_the_outer_ones(
    proxied: Running, project: Project
) -> None:
    wheel = project.release("1.0")
    outer = "https://index.example/pypi"

    listed = get(f"{proxied.simple}{project.name}/", **({"Accept": JSON} | FORWARDED)).json()["files"][0]

    assert listed["url"] == outer + wheel.path
    for spelling in ("simple", f"simple/{project.name}", f"simple/{project.name.upper()}/?format=text/html"):
        moved = get(f"{proxied.url}/{spelling}", **FORWARDED)
        target = urljoin(f"{outer}/{spelling}", moved.headers["Location"])
        query = spelling.partition("?")[1:]
        canonical = spelling.partition("?")[0].lower().rstrip("/")
        assert target == f"{outer}/{canonical}/" + "".join(query)
    # Without the proxy's word it is the direct address, on the same process and for the same page.
    assert file_url(proxied, wheel) == proxied.url + wheel.path


@pytest.mark.parametrize("gunicorn", [False, True], ids=["serve", "gunicorn"])
def test_a_bad_host_is_refused_although_links_do_not_need_it(
    upstream: FakeUpstream, project: Project, tmp_path: Path, gunicorn: bool
) -> None:
    wheel = project.release("1.0")
    settings = {"KOSCHEY_PUBLIC_URL": "https://index.example/pypi/"}
    with running.koschey(tmp_path, upstream.simple_url, settings, gunicorn=gunicorn) as process:
        for _ in range(3):  # the second time at the latest, the page is ready
            assert file_url(process, wheel) == "https://index.example/pypi" + wheel.path
        refused = get(f"{process.simple}{project.name}/", Accept=JSON, Host="evil.example/x")
        assert refused.status_code == 400


@pytest.fixture(scope="module")
def nginx(upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A Koschey whose ``url`` is that of an nginx in front, which compresses and sends the files itself."""
    folder = tmp_path_factory.mktemp("nginx")
    settings = {"KOSCHEY_ACCEL_REDIRECT": "/_blobs/", "KOSCHEY_TRUSTED_PROXIES": "1"}
    with running.koschey(folder / "koschey", upstream.simple_url, settings) as process:
        port = free_port()
        configuration = folder / "nginx.conf"
        configuration.write_text(
            f"""
            daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
            events {{}}
            http {{
              access_log off; gzip on; gzip_min_length 1; gzip_proxied any;
              gzip_types application/vnd.pypi.simple.v1+json;
              client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
              fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
              scgi_temp_path {folder}/scgi;
              server {{
                listen 127.0.0.1:{port};
                location / {{
                  proxy_pass {process.url}; proxy_set_header Host $http_host;
                  proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host;
                }}
                location /_blobs/ {{
                  internal; gzip off; alias {process.data_dir}/files/;
                  etag off; add_header ETag $upstream_http_etag;
                }}
              }}
            }}
            """
        )
        # As root nginx would drop to a user who may not read the test's folders.
        user = ["-g", "user root;"] if Path(folder).owner() == "root" else []
        server = subprocess.Popen(["nginx", "-e", str(folder / "error.log"), "-c", str(configuration), *user])
        front = f"http://127.0.0.1:{port}"
        try:
            running.eventually(lambda: _answers(front))
            yield Running(
                front,
                process.data_dir,
                process.environment,
                process.log_path,
                process.process,
                process.command,
            )
        finally:
            server.terminate()
            server.wait(10)


def _answers(url: str) -> bool:
    try:
        return requests.get(url + "/healthz", timeout=5).status_code == 200
    except requests.RequestException:
        return False


@needs_nginx
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_the_etag_stays_strong_behind_nginx(nginx: Running, showcase: Project, encoding: str) -> None:
    first = ask_page(nginx, "show-case", Accept_Encoding=encoding)

    etag = first.headers["ETag"]
    assert etag.startswith('"')
    assert first.headers.get("Content-Encoding", "identity") == encoding
    again = ask_page(nginx, "show-case", Accept_Encoding=encoding, If_None_Match=etag)
    assert (again.status_code, again.headers["ETag"]) == (304, etag)


@needs_nginx
def test_a_file_that_nginx_sends_is_the_same(nginx: Running, project: Project) -> None:
    wheel = project.release("1.0+local.1", payload=b"n" * 100_000)
    large = project.release("2.0", payload=random.Random(2).randbytes(600_000))
    url = file_url(nginx, wheel)
    for _ in range(2):  # the first one streams while it arrives, the second is read at once: it is small
        answer = download(url, Accept_Encoding="gzip")
        assert answer.content == wheel.content
        assert "Content-Encoding" not in answer.headers
        assert "X-Accel-Redirect" not in answer.headers
        assert "max-age" in answer.headers["Cache-Control"]

    ranged = download(url, Range="bytes=-100")
    assert (ranged.status_code, ranged.content) == (206, wheel.content[-100:])
    assert ranged.headers["Content-Range"].endswith(f"/{len(wheel.content)}")
    # Last-Modified is what nginx adds.
    running.eventually(lambda: "Last-Modified" in download(url, Range="bytes=-100").headers)
    etag = f'"{wheel.sha256}"'
    assert download(url, Range="bytes=-100").headers["ETag"] == etag
    assert download(url, Range="bytes=-100", If_Range=etag).status_code == 206
    assert download(url, Range="bytes=-100", If_Range='"other"').status_code == 200
    head, _ = raw_request(nginx.url, "HEAD", path_of(url))
    assert head.headers["Content-Length"] == str(len(wheel.content))
    assert "Last-Modified" not in download(url).headers
    assert get(nginx.url + "/_blobs/").status_code == 404

    url = file_url(nginx, large)
    running.eventually(lambda: "Last-Modified" in download(url).headers)
    answer = download(url)
    assert (answer.content, answer.headers["ETag"]) == (large.content, f'"{large.sha256}"')
