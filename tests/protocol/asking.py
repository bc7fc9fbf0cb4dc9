"""Short ways to ask a Koschey for things, and the media types that clients name."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import requests
from packaging.utils import canonicalize_name

from tests.running import Running
from tests.upstream_pages import UpstreamFile

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"
LATEST_JSON = "application/vnd.pypi.simple.latest+json"
LATEST_HTML = "application/vnd.pypi.simple.latest+html"
PROVENANCE = "application/vnd.pypi.integrity.v1+json"


def get(url: str, **headers: str) -> requests.Response:
    """GET without following redirects; ``_`` in a header's name stands for ``-``."""
    wanted = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.get(url, headers=wanted, allow_redirects=False, timeout=60)


def ask_page(koschey: Running, name: str, **headers: str) -> requests.Response:
    return get(f"{koschey.simple}{name}/", **({"Accept": JSON} | headers))


def page(koschey: Running, name: str) -> dict[str, Any]:
    """The JSON page, which must be there."""
    answer = ask_page(koschey, name)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def filenames(koschey: Running, name: str) -> list[str]:
    return [entry["filename"] for entry in page(koschey, name)["files"]]


def entry(koschey: Running, file: UpstreamFile) -> dict[str, Any]:
    """The file as Koschey lists it."""
    listed: dict[str, Any] = next(
        e for e in page(koschey, canonicalize_name(file.project))["files"] if e["filename"] == file.filename
    )
    return listed


def file_url(koschey: Running, file: UpstreamFile) -> str:
    """Where Koschey serves the file; its page is pulled for that."""
    url: str = entry(koschey, file)["url"]
    return url


def path_of(url: str) -> str:
    """The request target of an absolute URL."""
    parts = urlsplit(url)
    return parts.path + (f"?{parts.query}" if parts.query else "")


def download(url: str, **headers: str) -> requests.Response:
    """GET as an installer does: redirects to a store's links are followed, nothing is unpacked."""
    wanted = {"Accept-Encoding": "identity"} | {k.replace("_", "-"): v for k, v in headers.items()}
    return requests.get(url, headers=wanted, timeout=60)


def whole(url: str) -> bytes | None:
    """What a client would take for the file; None for an error or a broken transfer."""
    try:
        answer = download(url)
    except requests.RequestException:
        return None
    return answer.content if answer.status_code == 200 else None


def logged(koschey: Running, event: str, **fields: Any) -> list[dict[str, Any]]:
    """The log's lines about an event of that name with these fields."""
    lines = (json.loads(line) for line in koschey.log.splitlines() if event in line and line.startswith("{"))
    return [line for line in lines if line["event"] == event and fields.items() <= line.items()]
