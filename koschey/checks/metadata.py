"""The check ``metadata``: whether a file says of itself what its name, its page and its sidecar say."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from packaging.metadata import RawMetadata
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from koschey.checks.archive_kinds import ArchiveUnsound, Kind, kind_of
from koschey.checks.core_metadata import parsed, read_core_metadata
from koschey.checks.subject import Subject
from koschey.domain.checks import Finding, Outcome
from koschey.domain.names import belongs_to, version_of


def check(subject: Subject) -> Finding:
    """Compare names, versions, requires-python and the sidecar's digest."""
    try:
        body = read_core_metadata(Path(subject.path), subject.filename)
    except ArchiveUnsound as error:
        return Finding("metadata", Outcome.FAIL, str(error))
    if body is None:
        return Finding("metadata", Outcome.WARN, "files of this kind are not looked into")
    fields, senseless = parsed(body)
    problem = next(_problems(subject, fields, senseless), None) or _sidecar_problem(subject, body)
    if problem is not None:
        return Finding("metadata", Outcome.FAIL, problem)
    said = f"{fields.get('name')} {fields.get('version')}, as its name and its page say"
    return Finding("metadata", Outcome.PASS, said)


def _problems(subject: Subject, fields: RawMetadata, senseless: frozenset[str]) -> Iterator[str]:
    name, version = fields.get("name", ""), fields.get("version", "")
    for field in ("name", "version"):
        if field in senseless:
            yield f"its metadata has more than one {field}"
    if not name or not version:
        yield f"its metadata has no {'version' if name else 'name'}"
        return
    if canonicalize_name(name) != subject.project:
        yield f"its metadata is {_cut(name)}'s, its page is {subject.project}'s"
    if not belongs_to(canonicalize_name(name), subject.filename):
        yield f"its metadata is {_cut(name)}'s, and its file name is not"
    stated = version_of(canonicalize_name(name), subject.filename)
    for other, whose in ((stated, "file name"), (subject.version, "page")):
        if other is not None and not same_version(version, other):
            yield f"its metadata says version {_cut(version)}, its {whose} {_cut(other)}"
    said, listed = fields.get("requires_python"), subject.requires_python
    if said and listed and not same_specifier(said, listed):
        yield f"its metadata requires Python {_cut(said)!r}, its page says {_cut(listed)!r}"


def _sidecar_problem(subject: Subject, body: bytes) -> str | None:
    """A resolver would decide by the sidecar, and the wheel's own would be installed (PEP 658)."""
    if subject.metadata_sha256 is None or kind_of(subject.filename) is not Kind.WHEEL:
        return None
    if hashlib.sha256(body).hexdigest() == subject.metadata_sha256.lower():
        return None
    return "the metadata that its upstream offers beside it is not the wheel's own"


def same_version(one: str, other: str) -> bool:
    """Whether two spellings are of one release (PEP 440), or, if either is no version, of one text."""
    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return _loose(one) == _loose(other)


def same_specifier(one: str, other: str) -> bool:
    """Whether two requirements of Python are the same, order and spacing aside."""
    try:
        return SpecifierSet(one) == SpecifierSet(other)
    except InvalidSpecifier:
        return re.sub(r"\s", "", one) == re.sub(r"\s", "", other)


def _loose(version: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", version.lower())


def _cut(text: str) -> str:
    return text if len(text) <= 100 else text[:97] + "..."
