"""Pages of the Simple API 1.4 as bytes: JSON (PEP 691, 700) and HTML (PEP 503, frozen by PEP 833).

Both forms come from one frozen page, so they list the same files. A quarantined project (PEP 792)
lists none in either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from html import escape
from typing import NamedTuple
from urllib.parse import quote

import msgspec
from msgspec import UNSET, UnsetType, field
from packaging.utils import canonicalize_name
from packaging.version import Version

from koschey.domain.negotiation import Representation
from koschey.domain.page import ListedFile, ProjectPage, RootEntry, RootPage

API_VERSION = "1.4"

#: Also left literal in a path, because lock files and the clients' caches know these URLs so.
_LITERAL = "+!"
_NOTHING_TO_QUOTE = re.compile(r"[A-Za-z0-9/._~+!-]*").fullmatch
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Meta(msgspec.Struct, frozen=True):
    serial: int = field(name="_last-serial")
    api_version: str = field(name="api-version", default=API_VERSION)


class _Sha256(msgspec.Struct, frozen=True, gc=False):
    sha256: str | UnsetType = UNSET


class _File(msgspec.Struct, frozen=True, gc=False, rename="kebab"):
    """One entry of ``files``; UNSET is left out."""

    filename: str
    url: str
    hashes: _Sha256  # PEP 691: {} while no digest is known
    requires_python: str | UnsetType
    size: int | UnsetType  # PEP 700
    upload_time: datetime | UnsetType  # PEP 700
    yanked: bool | str  # PEP 592
    core_metadata: bool | _Sha256  # PEP 714; its older name in JSON breaks pip 22.3 to 23.1
    provenance: str | None  # PEP 740


class _Status(msgspec.Struct, frozen=True):
    status: str
    reason: str | UnsetType = UNSET


class _Own(msgspec.Struct, frozen=True):
    """What Koschey adds under a key of its own (PEP 691: they begin with an underscore)."""

    hidden: int
    why: str
    """URL of the page that explains the hidden ones."""
    record: str


class _Project(msgspec.Struct, frozen=True):
    meta: _Meta
    name: str
    project_status: _Status = field(name="project-status")  # PEP 792
    versions: list[str]  # PEP 700
    files: list[_File]
    own: _Own = field(name="_koschey")


class _RootEntry(msgspec.Struct, frozen=True, gc=False):
    name: str
    serial: int = field(name="_last-serial")


class _Root(msgspec.Struct, frozen=True):
    meta: _Meta
    projects: list[_RootEntry]


_ENTRIES = msgspec.json.Decoder(list[_RootEntry])


def render_project(page: ProjectPage, representation: Representation, base_url: str) -> bytes:
    """A project's page.

    Arguments:
        base_url: scheme, host, mount prefix and index of the public URLs, without a slash at its end.
    """
    files = () if page.status == "quarantined" else page.files
    if representation is Representation.JSON:
        return _project_json(page, files, base_url)
    return _project_html(page, files, base_url)


def render_root(page: RootPage, representation: Representation) -> bytes:
    """The list of projects. Names are shown as the projects spell them; links are relative and normalised."""
    frame = root_frame(page.serial, representation)
    return frame.head + render_entries(page.projects, representation) + frame.tail


class RootFrame(NamedTuple):
    """What stands before, between and after pieces of a root list that are rendered apart."""

    head: bytes
    between: bytes
    tail: bytes


def root_frame(serial: int, representation: Representation) -> RootFrame:
    """The frame of a root list of that serial."""
    if representation is Representation.JSON:
        head, _, tail = msgspec.json.encode(_Root(_Meta(serial), [])).partition(b"[")
        return RootFrame(head + b"[", b",", tail)
    head, end, tail = _document("Simple index", [], ()).partition(b"</body>")
    return RootFrame(head, b"", end + tail)


def render_entries(entries: Iterable[RootEntry], representation: Representation) -> bytes:
    """A piece of a root list."""
    if representation is Representation.JSON:
        return msgspec.json.encode([_RootEntry(entry.name, entry.serial) for entry in entries])[1:-1]
    # Poetry takes the href as the name.
    return "".join(
        f'<a href="{quote(canonicalize_name(entry.name))}/">{escape(entry.name)}</a><br>\n'
        for entry in entries
    ).encode()


def read_entries(piece: bytes) -> list[RootEntry]:
    """The entries of a piece of the JSON form."""
    return [RootEntry(entry.name, entry.serial) for entry in _ENTRIES.decode(b"[%b]" % piece)]


def _project_json(page: ProjectPage, listed: tuple[ListedFile, ...], base_url: str) -> bytes:
    name = canonicalize_name(page.name)
    files = [
        _File(
            file.filename,
            base_url + _quoted(file.path),
            _Sha256(file.sha256 or UNSET),
            file.requires_python or UNSET,
            UNSET if file.size is None else file.size,
            UNSET if file.upload_time is None else _time(file.upload_time),
            file.yanked or False,
            _Sha256(file.core_metadata) if isinstance(file.core_metadata, str) else file.core_metadata,
            _provenance_url(base_url, name, file),
        )
        for file in listed
    ]
    return msgspec.json.encode(
        _Project(
            meta=_Meta(page.serial),
            name=name,
            project_status=_Status(page.status, page.status_reason or UNSET),
            versions=_versions(listed),
            files=files,
            own=_Own(
                hidden=page.hidden + len(page.files) - len(listed),
                why=f"{base_url}/why/{name}",
                record="{url}.record.json",
            ),
        )
    )


def _project_html(page: ProjectPage, listed: tuple[ListedFile, ...], base_url: str) -> bytes:
    name = canonicalize_name(page.name)
    meta = [("pypi:project-status", page.status)]
    if page.status_reason:
        meta.append(("pypi:project-status-reason", page.status_reason))
    start = f'<a href="{escape(base_url)}'
    links = (
        f"{start}{_quoted(file.path)}{_attributes(file, base_url, name)}>{escape(file.filename)}</a><br>"
        for file in listed
    )
    return _document(f"Links for {name}", meta, links)


def _document(title: str, meta: Iterable[tuple[str, str]], links: Iterable[str]) -> bytes:
    def lines() -> Iterator[str]:
        yield '<!DOCTYPE html>\n<html lang="en">\n<head>'
        yield '<meta charset="utf-8">'
        yield f'<meta name="pypi:repository-version" content="{API_VERSION}">'  # PEP 629
        for key, content in meta:
            yield f'<meta name="{key}" content="{escape(content)}">'  # PEP 792
        yield f"<title>{escape(title)}</title>\n</head>\n<body>\n<h1>{escape(title)}</h1>"
        yield from links
        yield "</body>\n</html>\n"

    return "\n".join(lines()).encode()


def _attributes(file: ListedFile, base_url: str, name: str) -> str:
    """The end of the href, with the digest, and the attributes after it."""
    parts = [f'#sha256={file.sha256}"' if file.sha256 else '"']
    if file.requires_python:
        parts.append(f' data-requires-python="{_escaped(file.requires_python)}"')
    if file.core_metadata:
        digest = f"sha256={file.core_metadata}" if isinstance(file.core_metadata, str) else "true"
        # PEP 714: the second name is for clients that only know PEP 658.
        parts.append(f' data-core-metadata="{digest}" data-dist-info-metadata="{digest}"')
    if file.yanked:
        reason = file.yanked if isinstance(file.yanked, str) else ""
        parts.append(f' data-yanked="{_escaped(reason)}"')
    if url := _provenance_url(base_url, name, file):
        parts.append(f' data-provenance="{escape(url)}"')
    return "".join(parts)


def _provenance_url(base_url: str, name: str, file: ListedFile) -> str | None:
    if not file.provenance or file.version is None:
        return None
    return f"{base_url}/integrity/{name}/{_segment(file.version)}/{_segment(file.filename)}/provenance"


def _quoted(path: str) -> str:
    """``path`` percent-encoded, but for its slashes (RFC 3986)."""
    return path if _NOTHING_TO_QUOTE(path) else quote(path, safe="/" + _LITERAL)


def _segment(text: str) -> str:
    """``text`` percent-encoded as one segment of a path."""
    return _quoted(text).replace("/", "%2F")


def _time(microseconds: int) -> datetime:
    """What msgspec writes with ``Z`` and six digits, or none for a whole second, as PEP 700 has it."""
    return _EPOCH + timedelta(microseconds=microseconds)


def _versions(files: Iterable[ListedFile]) -> list[str]:
    """One spelling for each release among ``files``, oldest first; before them what PEP 440 cannot read."""
    unreadable: set[str] = set()
    releases: dict[Version, str] = {}
    for spelling in dict.fromkeys(file.version for file in files):
        if spelling is None:
            continue
        try:
            releases.setdefault(_parsed(spelling), spelling)
        except ValueError:
            unreadable.add(spelling)
    return sorted(unreadable) + [releases[version] for version in sorted(releases)]


#: Requirements and reasons repeat over the files of a project.
_escaped = lru_cache(maxsize=1024)(escape)


@lru_cache(maxsize=8192)
def _parsed(version: str) -> Version:
    return Version(version)
