"""Whether a zip archive is sound: one reading of it, nothing that leads elsewhere, every byte as promised."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from typing import BinaryIO

from koschey.checks.archive_kinds import (
    MAX_TEXT_BYTES,
    ArchiveUnsound,
    Kind,
    check_amount,
    name_problem,
    plain_path,
    shown,
)
from koschey.checks.entry_point_text import entry_points_in
from koschey.checks.tar_members import is_header
from koschey.checks.zip_directory import Directory, ZipEntry, read_directory
from koschey.checks.zip_members import check_layout, unpacked


def sound_entries(file: BinaryIO, size: int, kind: Kind) -> Sequence[ZipEntry]:
    """The entries of a zip archive of ``size`` bytes, every one read through.

    Raises:
        ArchiveUnsound: what is wrong.
    """
    file.seek(0)
    if is_header(file.read(512)):
        raise ArchiveUnsound("it is a tar archive too")
    directory = read_directory(file, size)
    if not directory.entries:
        raise ArchiveUnsound("it is empty")
    _check_names(directory.entries)
    check_amount(sum(entry.unpacked for entry in directory.entries), size)
    # Eggs could be run as a shell script; setuptools' own were.
    check_layout(file, directory, script_before=kind is Kind.EGG)
    _read_through(file, directory)
    return directory.entries


def _check_names(entries: Sequence[ZipEntry]) -> None:
    seen: set[str] = set()
    for entry in entries:
        path = plain_path(entry.name)
        if problem := name_problem(entry.name):
            raise ArchiveUnsound(f"entry {shown(entry.name)} {problem}")
        if "\\" in entry.name:
            raise ArchiveUnsound(
                f"entry {shown(entry.name)} has a backslash, which some systems take for a slash"
            )
        if stat.S_IFMT(entry.mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            what = "a symbolic link" if stat.S_ISLNK(entry.mode) else "neither file nor folder"
            raise ArchiveUnsound(f"entry {shown(entry.name)} is {what}")
        if path in seen:
            raise ArchiveUnsound(f"entry {shown(path)} is there twice")
        if entry.name.endswith("/") and entry.unpacked:
            raise ArchiveUnsound(
                f"entry {shown(entry.name)} is a folder and has {entry.unpacked} bytes of data"
            )
        seen.add(path)


def _read_through(file: BinaryIO, directory: Directory) -> None:
    for entry in directory.entries:
        for _ in unpacked(file, entry):
            pass


def check_wheel(file: BinaryIO, entries: Sequence[ZipEntry]) -> None:
    """What only wheels must have: one dist-info folder, and entry points that are names.

    Raises:
        ArchiveUnsound: what is wrong.
    """
    tops = sorted({entry.name.partition("/")[0] for entry in entries})
    folders = [top for top in tops if top.endswith(".dist-info")]
    if len(folders) != 1:
        what = " and ".join(map(shown, folders[:3])) or "none"
        raise ArchiveUnsound(f"it has {len(folders)} dist-info folders, not one: {what}")
    names = {entry.name: entry for entry in entries}
    if f"{folders[0]}/WHEEL" not in names:
        raise ArchiveUnsound("it has no WHEEL file")
    points = names.get(f"{folders[0]}/entry_points.txt")
    if points is not None:
        if points.unpacked > MAX_TEXT_BYTES:
            raise ArchiveUnsound(f"its entry_points.txt is over {MAX_TEXT_BYTES} bytes")
        for group, name in entry_points_in(b"".join(unpacked(file, points))):
            # Scripts are files of that name in a folder of programs.
            if group in ("console_scripts", "gui_scripts") and (
                "/" in name or "\\" in name or name in (".", "..")
            ):
                raise ArchiveUnsound(f"its entry point {shown(name)} leads out of the folder of scripts")
