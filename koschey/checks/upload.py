"""What an upload has in it: whether it is sound, and what its own metadata says. Strict, as nobody has to
live with a file that is not there yet."""

from __future__ import annotations

from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from koschey.checks.archive import sound
from koschey.checks.archive_kinds import ArchiveUnsound, Kind, kind_of, shown
from koschey.checks.core_metadata import read_core_metadata
from koschey.checks.embedded import Embedded
from koschey.checks.record import compare_with_record
from koschey.checks.zip_directory import read_directory
from koschey.domain.core_metadata import embedded_problem


def examine(path: Path, filename: str) -> tuple[Embedded, bytes]:
    """What a wheel or sdist says of itself, and its METADATA or PKG-INFO.

    Raises:
        ArchiveUnsound: what is wrong with it.
    """
    kind = kind_of(filename)
    sound(path, filename, kind)
    if kind is Kind.WHEEL:
        _check_wheel(path, filename)
    body = read_core_metadata(path, filename)
    assert body is not None, "wheels and sdists have metadata"
    fields, problem = embedded_problem(body)
    if problem is not None:
        where = "METADATA" if kind is Kind.WHEEL else "PKG-INFO"
        raise ArchiveUnsound(f"its {where} is not valid: {problem}")
    return Embedded(fields["name"], fields["version"], fields.get("requires_python")), body


def _check_wheel(path: Path, filename: str) -> None:
    with path.open("rb") as file:
        size = path.stat().st_size
        compare_with_record(file, size)
        names = (entry.name for entry in read_directory(file, size).entries)
        folder = next(name.partition("/")[0] for name in names if ".dist-info/" in name)
    name, version = filename.split("-")[:2]
    stated, _, stated_version = folder.removesuffix(".dist-info").rpartition("-")
    if canonicalize_name(stated) != canonicalize_name(name) or not _same(stated_version, version):
        raise ArchiveUnsound(f"its dist-info folder is {shown(folder)}, and the file is {name} {version}")


def _same(one: str, other: str) -> bool:
    try:
        return Version(one) == Version(other)
    except (InvalidVersion, ValueError):
        return False
