"""The check ``archive``: whether a distribution file is a sound archive of its kind."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from koschey.checks.archive_kinds import ArchiveUnsound, Kind, kind_of, plain_path, shown
from koschey.checks.subject import Subject
from koschey.checks.tar_soundness import sound_members
from koschey.checks.zip_soundness import check_wheel, sound_entries
from koschey.domain.checks import Finding, Outcome


def check(subject: Subject) -> Finding:
    """Read the whole archive; fail it for what no honest tool writes."""
    kind = kind_of(subject.filename)
    if kind is Kind.OTHER:
        return Finding("archive", Outcome.WARN, "files of this kind are not looked into")
    path = Path(subject.path)
    try:
        count, amount = sound(path, subject.filename, kind)
    except ArchiveUnsound as error:
        return Finding("archive", Outcome.FAIL, str(error))
    return Finding("archive", Outcome.PASS, f"sound: {count} entries, {amount} bytes unpacked")


def sound(path: Path, filename: str, kind: Kind) -> tuple[int, int]:
    """Number of entries of a sound archive, and their bytes. Raises: ArchiveUnsound: what is wrong."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if kind is Kind.TAR_SDIST:
            members = sound_members(file, filename, size)
            check_sdist(member.name for member in members)
            return len(members), sum(member.size for member in members)
        entries = sound_entries(file, size, kind)
        if kind is Kind.WHEEL:
            check_wheel(file, entries)
        elif kind is Kind.ZIP_SDIST:
            check_sdist(entry.name for entry in entries)
        return len(entries), sum(entry.unpacked for entry in entries)


def check_sdist(names: Iterable[str]) -> None:
    """What source archives must have: one top folder, and PKG-INFO in it.

    Raises:
        ArchiveUnsound: what is wrong.
    """
    paths = [plain_path(name) for name in names]
    # What macOS adds to an archive for each file with attributes of its own: "._name" beside "name".
    tops = sorted({path.partition("/")[0] for path in paths if not path.startswith("._")} - {""})
    if len(tops) != 1:
        raise ArchiveUnsound(f"it has {len(tops)} top folders, not one: {', '.join(map(shown, tops[:3]))}")
    if f"{tops[0]}/PKG-INFO" not in paths:
        raise ArchiveUnsound(f"it has no PKG-INFO in {shown(tops[0])}")
