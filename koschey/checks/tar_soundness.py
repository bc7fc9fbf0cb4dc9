"""Whether a tar archive is sound: one reading of it, and nothing in it that would leave its own folder."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from koschey.checks.archive_kinds import ArchiveUnsound, check_entry_count, name_problem, plain_path, shown
from koschey.checks.streams import Unpacked
from koschey.checks.tar_members import TarMember, TarType, members

_MAX_HOPS = 40  # as Linux follows symbolic links


def sound_members(file: BinaryIO, filename: str, size: int) -> Sequence[TarMember]:
    """The members of a tar archive of ``size`` bytes, every one read through.

    Raises:
        ArchiveUnsound: what is wrong.
    """
    file.seek(0)
    found: list[TarMember] = []
    seen: dict[str, tuple[TarType, int, int]] = {}
    for member, pieces in members(Unpacked(file, filename, size)):
        found.append(member)
        check_entry_count(len(found))
        _check_member(member)
        crc = 0
        for piece in pieces:
            crc = zlib.crc32(piece, crc)
        path, what = plain_path(member.name), (member.type, member.size, crc)
        # What is archived twice by mistake is the same twice; readers differ on which of two to believe.
        if seen.setdefault(path, what) != what:
            raise ArchiveUnsound(f"member {shown(path)} is there twice, and not the same")
    if not found:
        raise ArchiveUnsound("it is empty")
    _check_links(found)
    return found


def _check_member(member: TarMember) -> None:
    if problem := name_problem(member.name):
        raise ArchiveUnsound(f"member {shown(member.name)} {problem}")
    if member.type in (TarType.DEVICE, TarType.FIFO):
        raise ArchiveUnsound(f"member {shown(member.name)} is a {member.type}")
    if member.type in (TarType.SYMLINK, TarType.HARD_LINK) and not member.link:
        raise ArchiveUnsound(f"member {shown(member.name)} is a {member.type} to nothing")
    # A symbolic link's target counts from its own folder, so ".." may be right there; a hard link's does not.
    if member.type is TarType.HARD_LINK and (problem := name_problem(member.link)):
        raise ArchiveUnsound(
            f"member {shown(member.name)} is a hard link to what {problem}: {shown(member.link)}"
        )


def _check_links(found: Sequence[TarMember]) -> None:
    symlinks = {plain_path(m.name): m.link for m in found if m.type is TarType.SYMLINK}
    for member in found:
        path = plain_path(member.name)
        folder = path.rpartition("/")[0]
        through = _through(folder, symlinks)
        if through is not None:
            raise ArchiveUnsound(
                f"member {shown(path)} would be written through the symbolic link {shown(through)}"
            )
        if member.type is TarType.SYMLINK and not _stays_inside(folder, member.link, symlinks):
            raise ArchiveUnsound(
                f"member {shown(path)} is a symbolic link to the outside: {shown(member.link)}"
            )
        if member.type is TarType.HARD_LINK and plain_path(member.link) in symlinks:
            raise ArchiveUnsound(f"member {shown(path)} is a hard link to a symbolic link")


def _through(folder: str, symlinks: Mapping[str, str]) -> str | None:
    """The first folder on the way that is a symbolic link."""
    parts = folder.split("/")
    ways = ("/".join(parts[: n + 1]) for n in range(len(parts)))
    return next((way for way in ways if way in symlinks), None)


def _stays_inside(folder: str, target: str, symlinks: Mapping[str, str]) -> bool:
    """Whether a link in ``folder`` ends in the archive's top folder, other links on its way followed."""
    at = [part for part in folder.split("/") if part]
    top, left, hops = at[:1], _steps(target), 0
    if target.startswith(("/", "\\")) or target[1:2] == ":" or not top:
        return False
    while left:
        step = left.pop()
        if step != "..":
            at.append(step)
        elif not at:
            return False
        else:
            at.pop()
        link = symlinks.get("/".join(at))
        if link is not None:
            hops += 1
            if hops > _MAX_HOPS or link.startswith("/"):
                return False
            at.pop()
            left += _steps(link)
    return at[:1] == top


def _steps(target: str) -> list[str]:
    """The steps of a relative path, the first one last."""
    return [part for part in reversed(target.split("/")) if part not in ("", ".")]
