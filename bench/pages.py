"""The synthetic upstream's pages, Simple API 1.4, and reading such pages back from any server."""

from __future__ import annotations

import gzip
import html
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urldefrag, urljoin

import msgspec

from bench.archives import REQUIRES_PYTHON

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "text/html"
_META = {"api-version": "1.4"}


@dataclass(frozen=True)
class Listed:
    """A file of a page; ``upload_time`` in microseconds since 1970, digests are SHA-256 in hex."""

    filename: str
    path: str
    version: str
    sha256: str
    size: int
    upload_time: int
    core_metadata: str | None


class Link(NamedTuple):
    """What a client needs of a listed file: its name, its digest, where it is."""

    filename: str
    sha256: str
    url: str


def write_project(root: Path, name: str, serial: int, files: list[Listed]) -> None:
    """Write the page of project ``name`` in both forms, plain and gzip."""
    document = {
        "meta": _META | {"_last-serial": serial},
        "name": name,
        "project-status": {"status": "active"},
        "versions": list(dict.fromkeys(file.version for file in files)),
        "files": [_json_file(file) for file in files],
    }
    anchors = "\n".join(_anchor(file) for file in files)
    _write(root / "simple" / name, msgspec.json.encode(document), _html(f"Links for {name}", anchors))


def write_root(root: Path, names: list[str]) -> None:
    """Write the root list in both forms."""
    document = {"meta": _META | {"_last-serial": 9999}, "projects": [{"name": name} for name in names]}
    anchors = "\n".join(f'<a href="{name}/">{name}</a><br>' for name in names)
    _write(root / "simple", msgspec.json.encode(document), _html("Simple index", anchors))


def read(content_type: str, body: bytes, base: str) -> list[Link]:
    """The files that a page lists, in either form; ``base`` is the page's URL.

    Raises:
        ValueError: the body is not of that type.
    """
    if content_type.partition(";")[0] == JSON:
        try:
            files = msgspec.json.decode(body, type=_JsonPage).files
        except msgspec.MsgspecError as error:
            raise ValueError(str(error)) from error
        return [Link(file.filename, file.hashes.sha256, urljoin(base, file.url)) for file in files]
    if content_type.partition(";")[0] != HTML:
        raise ValueError(f"a page came as {content_type!r}")
    reader = _Anchors()
    reader.feed(body.decode())
    return [_link(urljoin(base, href)) for href in reader.hrefs]


class _JsonHashes(msgspec.Struct):
    sha256: str


class _JsonFile(msgspec.Struct):
    filename: str
    url: str
    hashes: _JsonHashes


class _JsonPage(msgspec.Struct):
    files: list[_JsonFile]


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.hrefs: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.hrefs.append(dict(attrs)["href"] or "")


def _link(url: str) -> Link:
    plain, fragment = urldefrag(url)
    return Link(plain.rpartition("/")[2], fragment.removeprefix("sha256="), plain)


def _json_file(file: Listed) -> dict[str, Any]:
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=file.upload_time)
    return {
        "filename": file.filename,
        "url": file.path,
        "hashes": {"sha256": file.sha256},
        "requires-python": REQUIRES_PYTHON,
        "size": file.size,
        "upload-time": time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "yanked": False,
        "core-metadata": {"sha256": file.core_metadata} if file.core_metadata else False,
        "provenance": None,
    }


def _anchor(file: Listed) -> str:
    attributes = f'data-requires-python="{html.escape(REQUIRES_PYTHON)}"'
    if file.core_metadata:
        for attribute in ("data-dist-info-metadata", "data-core-metadata"):
            attributes += f' {attribute}="sha256={file.core_metadata}"'
    return f'<a href="{file.path}#sha256={file.sha256}" {attributes}>{file.filename}</a><br>'


def _html(title: str, anchors: str) -> bytes:
    head = f'<meta name="pypi:repository-version" content="1.4"><title>{title}</title>'
    return f"<!DOCTYPE html>\n<html><head>{head}</head>\n<body>\n{anchors}\n</body></html>\n".encode()


def _write(folder: Path, json_page: bytes, html_page: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in (("index.v1_json", json_page), ("index.html", html_page)):
        (folder / name).write_bytes(body)
        (folder / f"{name}.gz").write_bytes(gzip.compress(body, mtime=0))
