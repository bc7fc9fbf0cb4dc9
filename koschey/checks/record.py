"""The check ``record``: whether a wheel is what its RECORD says.

Source: binary distribution format, "The .dist-info directory" and "Signed wheel files".
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from koschey.checks.archive_kinds import MAX_TEXT_BYTES, ArchiveUnsound, Kind, kind_of, shown
from koschey.checks.subject import Subject
from koschey.checks.zip_directory import ZipEntry, read_directory
from koschey.checks.zip_members import unpacked
from koschey.domain.checks import Finding, Outcome

#: RECORD cannot have its own hash; signatures are made after it.
_EXEMPT = ("RECORD", "RECORD.jws", "RECORD.p7s")
_ALGORITHMS = frozenset({"sha256", "sha384", "sha512"})


def check(subject: Subject) -> Finding:
    """Compare each entry's hash and size with its line, and the lines with the entries."""
    if kind_of(subject.filename) is not Kind.WHEEL:
        return Finding("record", Outcome.PASS, "only wheels have a RECORD")
    path = Path(subject.path)
    try:
        with path.open("rb") as file:
            count = compare_with_record(file, path.stat().st_size)
    except ArchiveUnsound as error:
        return Finding("record", Outcome.FAIL, str(error))
    return Finding("record", Outcome.PASS, f"{count} files as RECORD lists them")


def compare_with_record(file: BinaryIO, size: int) -> int:
    """How many files a wheel's RECORD lists. Raises: ArchiveUnsound: the first thing that is wrong."""
    entries = [e for e in read_directory(file, size).entries if not e.name.endswith("/")]
    records = [e for e in entries if e.name.count("/") == 1 and e.name.endswith(".dist-info/RECORD")]
    if len(records) != 1:
        raise ArchiveUnsound("it has no RECORD" if not records else f"it has {len(records)} RECORDs")
    record = records[0]
    if record.unpacked > MAX_TEXT_BYTES:
        raise ArchiveUnsound(f"its RECORD is over {MAX_TEXT_BYTES} bytes")
    listed: dict[str, tuple[str, str]] = {}
    for name, digest, length in _lines(b"".join(unpacked(file, record))):
        if listed.setdefault(name, (digest, length)) != (digest, length):
            raise ArchiveUnsound(f"its RECORD lists {shown(name)} twice, and not the same")
    folder = record.name.removesuffix("RECORD")
    exempt = {folder + name for name in _EXEMPT}
    for entry in entries:
        if entry.name not in exempt:
            _compare_entry(file, entry, listed)
    present = {entry.name for entry in entries}
    for name in listed:
        # A RECORD that was taken from an installation lists what was compiled there; nothing hides in that.
        if name not in present and name not in exempt and not name.endswith(".pyc"):
            raise ArchiveUnsound(f"its RECORD lists {shown(name)}, which is not there")
    return len(listed)


def _lines(text: bytes) -> Iterator[tuple[str, str, str]]:
    try:
        for row in csv.reader(io.StringIO(text.decode("utf-8"), newline="")):
            if row:
                yield row[0], row[1] if len(row) > 1 else "", row[2] if len(row) > 2 else ""
    except (UnicodeDecodeError, csv.Error) as error:
        raise ArchiveUnsound(f"its RECORD cannot be read: {error}") from None


def _compare_entry(file: BinaryIO, entry: ZipEntry, listed: dict[str, tuple[str, str]]) -> None:
    if entry.name not in listed:
        raise ArchiveUnsound(f"file {shown(entry.name)} is not in its RECORD")
    said, length = listed[entry.name]
    algorithm, _, expected = said.partition("=")
    if algorithm not in _ALGORITHMS:
        raise ArchiveUnsound(f"its RECORD has no good hash of {shown(entry.name)}, but {shown(said)}")
    if length and length != str(entry.unpacked):
        raise ArchiveUnsound(
            f"file {shown(entry.name)} has {entry.unpacked} bytes, and RECORD says {length[:40]}"
        )
    digest = hashlib.new(algorithm)
    for piece in unpacked(file, entry):
        digest.update(piece)
    encoded = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
    # Some projects' own tools write hex where the specification has base64 (gmsh's); it says the same.
    if expected.rstrip("=") != encoded and expected.lower() != digest.hexdigest():
        raise ArchiveUnsound(f"file {shown(entry.name)} is not the one whose {algorithm} is in RECORD")
