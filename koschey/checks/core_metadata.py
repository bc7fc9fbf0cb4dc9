"""The METADATA of a wheel or the PKG-INFO of an sdist: where it is, and what it says."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.metadata import RawMetadata, parse_email
from packaging.utils import canonicalize_name

from koschey.checks.archive_kinds import ArchiveUnsound, Kind, kind_of, plain_path
from koschey.checks.walking import Item, walk

_WHEEL = re.compile(r"[^/]+\.dist-info/METADATA")
_SDIST = re.compile(r"(?!\._)[^/]+/PKG-INFO")


def read_core_metadata(path: Path, filename: str) -> bytes | None:
    """The metadata file's bytes; None for files of a kind that is not looked into.

    Raises:
        ArchiveUnsound: it has none, several, a wheel's of another project, or one over 16 MiB.
    """
    kind = kind_of(filename)
    if kind is Kind.OTHER:
        return None
    found: list[tuple[str, bytes]] = []
    for item in walk(path, filename):
        if is_core_metadata(item, kind):
            found.append((item.name, item.text()))
        if len(found) > 1:
            break
    what = "METADATA" if kind is Kind.WHEEL else "PKG-INFO"
    if len(found) != 1:
        raise ArchiveUnsound(f"it has {'no' if not found else 'more than one'} {what}")
    name, body = found[0]
    if kind is Kind.WHEEL:
        _check_folder(name.removesuffix(".dist-info/METADATA"), filename)
    return body


def is_core_metadata(item: Item, kind: Kind) -> bool:
    """Whether an archive's file is the one that says what the archive is."""
    if kind is Kind.WHEEL:
        return _WHEEL.fullmatch(item.name) is not None
    if kind is Kind.EGG:
        return item.name == "EGG-INFO/PKG-INFO"
    return _SDIST.fullmatch(plain_path(item.name)) is not None


def _check_folder(stem: str, filename: str) -> None:
    name, _, version = "-".join(filename.split("-")[:2]).partition("-")
    if canonicalize_name(stem.partition("-")[0]) != canonicalize_name(name):
        raise ArchiveUnsound(f"its dist-info folder is {stem}'s, the file is {name}-{version}'s")


def parsed(body: bytes) -> tuple[RawMetadata, frozenset[str]]:
    """What metadata says, read leniently, and the lower-case names of fields that make no sense.

    A field that may be there once and is there twice makes none.
    """
    fields, leftover = parse_email(body)
    return fields, frozenset(leftover)
