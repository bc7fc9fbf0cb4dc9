"""What kinds of archives there are, and how the names of entries are judged, whatever the format."""

from __future__ import annotations

import re
from enum import StrEnum

MAX_ENTRIES = 100_000
#: Unpacked bytes. The largest honest files unpack to about 5 GiB.
MAX_UNPACKED = 16 * 2**30
#: Nothing that is installed shrinks more than this. Below the floor it does not matter: a small archive may
#: well hold a few megabytes of zeros as test data.
MAX_RATIO = 50
RATIO_FLOOR = 64 * 2**20
#: Of METADATA, PKG-INFO, RECORD and other texts that are read whole.
MAX_TEXT_BYTES = 16 * 2**20

_BUILT = re.compile(
    r"[.-](?:win32|win-amd64|(?:aix|cygwin|darwin|linux|macosx|solaris|sunos)-)", re.IGNORECASE
)
_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MAX_NAME = 4096


class ArchiveUnsound(ValueError):
    """An archive that is not what it should be; the text says what is wrong with it, in one clause."""


class Kind(StrEnum):
    """What a distribution file is, by its name."""

    WHEEL = "wheel"
    EGG = "egg"
    ZIP_SDIST = "zip sdist"
    TAR_SDIST = "tar sdist"
    OTHER = "other"  # .exe, .rpm, …, and the archives of ``bdist_dumb``: nothing that pip installs


def kind_of(filename: str) -> Kind:
    """The kind of a distribution file."""
    lowered = filename.lower()
    if lowered.endswith(".whl"):
        return Kind.WHEEL
    if lowered.endswith(".egg"):
        return Kind.EGG
    if _BUILT.search(filename):
        return Kind.OTHER
    if lowered.endswith(".zip"):
        return Kind.ZIP_SDIST
    if lowered.endswith((".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz", ".tar")):
        return Kind.TAR_SDIST
    return Kind.OTHER


def name_problem(name: str) -> str | None:
    """Why no entry may be called ``name``, None when it may."""
    if not name or len(name) > _MAX_NAME:
        return "has an empty name" if not name else f"has a name of {len(name)} characters"
    if _CONTROL.search(name):
        return "has control characters in its name"
    slashed = name.replace("\\", "/")
    if slashed.startswith("/") or _DRIVE.match(slashed):
        return "has an absolute path"
    if ".." in slashed.split("/"):
        return "leads out of its folder"
    return None


def plain_path(name: str) -> str:
    """A name as a file system understands it: without ``./``, doubled slashes and one at the end."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def shown(name: str) -> str:
    """A name of an entry for people: quoted, printable, short."""
    return ascii(name if len(name) <= 200 else name[:197] + "...")


def check_amount(unpacked: int, packed: int) -> None:
    """Raises: ArchiveUnsound: that many bytes out of so few are a bomb."""
    if unpacked > MAX_UNPACKED:
        raise ArchiveUnsound(f"it unpacks to over {MAX_UNPACKED // 2**30} GiB")
    if unpacked > RATIO_FLOOR and unpacked > MAX_RATIO * packed:
        raise ArchiveUnsound(
            f"it unpacks to {unpacked} bytes or more, over {MAX_RATIO} times its size of {packed}"
        )


def check_entry_count(count: int) -> None:
    """Raises: ArchiveUnsound: too many entries."""
    if count > MAX_ENTRIES:
        raise ArchiveUnsound(f"it has {count} entries or more, over {MAX_ENTRIES}")
