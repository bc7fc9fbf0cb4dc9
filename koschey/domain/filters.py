"""Which projects and files of an upstream a sync keeps; what it leaves is still had on demand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Protocol

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from koschey.errors import RequestInvalid


class Mode(StrEnum):
    """How much of an upstream is kept in step without being asked for."""

    PROXY = "proxy"  # nothing: pages and files come on demand
    KNOWN = "known"  # the pages of what was ever asked for
    INDEX = "index"  # all pages that the filters choose
    FULL = "full"  # their files as well


class Kind(StrEnum):
    """Kinds of files."""

    WHEEL = "wheel"
    SDIST = "sdist"
    OTHER = "other"  # eggs, installers, what a distribution once came as


class Filters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept. Each filter that is empty or None keeps everything."""

    include: tuple[str, ...] = ()
    """Globs over normalised names; with a list of names, what is in either is kept."""
    exclude: tuple[str, ...] = ()
    """Globs over normalised names, over whatever chose them."""
    newest: int | None = None
    """So many newest versions of a project that are not yanked."""
    prereleases: bool = True
    platforms: tuple[str, ...] = ()
    """``linux``, ``macos``, ``windows``, or globs over platform tags; wheels for any platform always fit."""
    pythons: tuple[str, ...] = ()
    """Versions as ``3.12``."""
    max_size: int | None = None
    """Bytes of a file."""
    kinds: tuple[Kind, ...] = ()

    @property
    def by_file(self) -> bool:
        """Whether any filter speaks of files."""
        return bool(
            self.newest is not None
            or not self.prereleases
            or self.platforms
            or self.pythons
            or self.max_size is not None
            or self.kinds
        )


#: No filter at all.
EVERYTHING = Filters()


class ListedFile(Protocol):
    """A file as an upstream lists it."""

    @property
    def filename(self) -> str: ...
    @property
    def version(self) -> str | None: ...
    @property
    def size(self) -> int | None: ...
    @property
    def requires_python(self) -> str | None: ...
    @property
    def yanked(self) -> bool | str: ...


def chosen(filters: Filters, name: str, *, named: bool, names_given: bool) -> bool:
    """Whether a normalised name is kept.

    Args:
        named: whether it is in the list of names. names_given: whether there is such a list at all.
    """
    if any(fnmatchcase(name, glob) for glob in filters.exclude):
        return False
    if named or not (filters.include or names_given):
        return True
    return any(fnmatchcase(name, glob) for glob in filters.include)


def wanted[F: ListedFile](
    filters: Filters, files: Sequence[F], specifiers: Sequence[str] | None = None
) -> list[F]:
    """The files of one project that are kept.

    Args:
        specifiers: of which one must fit, as ``koschey.domain.seeds.Names`` has them; None or an empty one
            among them: all versions. A version that is pinned by ``==`` is kept also when it is
            yanked, a pre-release, or not among the newest.
    """
    among, pins = _fitting(specifiers)
    kept = [file for file in files if _fits(filters, file)]
    if among is not None:
        kept = [file for file in kept if _contained(file.version, among)]
    pinned = {file.version for file in kept if file.version is not None and _contained(file.version, pins)}
    if not filters.prereleases:
        kept = [file for file in kept if file.version in pinned or not _prerelease(file.version)]
    if filters.newest is not None:
        versions = {file.version for file in kept if file.version is not None and not file.yanked}
        newest = set(sorted(versions, key=_order, reverse=True)[: filters.newest]) | pinned
        kept = [file for file in kept if file.version in newest]
    return kept


def filters_of(said: Mapping[str, Any]) -> Filters:
    """The filters that plain values say. Raises: RequestInvalid, which value is none, and what there is."""
    for kind in said.get("kinds") or ():
        if kind not in set(Kind):
            raise RequestInvalid(f"{kind!r} is no kind of file: {', '.join(Kind)}")
    try:
        return checked(msgspec.convert(said, Filters))
    except msgspec.ValidationError as error:
        raise RequestInvalid(f"filters: {error}") from None


def checked(filters: Filters) -> Filters:
    """The filters, with globs and versions in their usual form. Raises: RequestInvalid, what is wrong."""
    for glob in (*filters.include, *filters.exclude):
        if not glob or not set(glob) <= _GLOB_SIGNS or not _closed(glob):
            raise RequestInvalid(
                f"{glob!r} is no glob over project names: letters, digits, - _ . * ? [...], such as django-*"
            )
    for platform in filters.platforms:
        if not platform or not set(platform) <= _GLOB_SIGNS or not _closed(platform):
            raise RequestInvalid(
                f"{platform!r} is no platform: linux, macos, windows, or a glob of tags, such as *_x86_64"
            )
    for python in filters.pythons:
        major, _, minor = python.partition(".")
        if not (major.isascii() and major.isdigit() and minor.isascii() and minor.isdigit()):
            raise RequestInvalid(f"{python!r} is no version of Python, such as 3.12")
    if filters.newest is not None and filters.newest < 1:
        raise RequestInvalid("newest versions: 1 or more")
    if filters.max_size is not None and filters.max_size < 1:
        raise RequestInvalid("the size limit of a file is in bytes, 1 or more")
    return msgspec.structs.replace(filters, include=_globs(filters.include), exclude=_globs(filters.exclude))


def kind_of(filename: str) -> Kind:
    """The kind of a file by its name."""
    if filename.endswith(".whl"):
        return Kind.WHEEL
    if filename.endswith((".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz")):
        return Kind.SDIST
    return Kind.OTHER


_GLOB_SIGNS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.*?[]!")


def _closed(glob: str) -> bool:
    """Whether each ``[`` has its ``]``: one that has none fits nothing that a name can have."""
    rest = glob
    while "[" in rest:
        # The first sign inside may be a "]" of its own, as in "[]a]".
        end = rest.find("]", rest.index("[") + 2)
        if end < 0:
            return False
        rest = rest[end + 1 :]
    return True


_SYSTEMS = {
    "linux": ("linux_*", "manylinux*", "musllinux*"),
    "macos": ("macosx_*",),
    "windows": ("win32", "win_*"),
}


def _globs(globs: Iterable[str]) -> tuple[str, ...]:
    return tuple(glob.lower().replace("_", "-").replace(".", "-") for glob in globs)


def _fits(filters: Filters, file: ListedFile) -> bool:
    """What one file says of itself."""
    if filters.max_size is not None and (file.size or 0) > filters.max_size:
        return False
    if filters.kinds and kind_of(file.filename) not in filters.kinds:
        return False
    if (filters.platforms or filters.pythons) and file.filename.endswith(".whl"):
        tags = _tags(file.filename)
        if tags is not None and not any(
            _platform_fits(filters.platforms, platform) and _python_fits(filters.pythons, python, abi)
            for python, abi, platform in tags
        ):
            return False
    return not filters.pythons or _allowed(file.requires_python, filters.pythons)


@lru_cache(maxsize=4096)
def _tags(filename: str) -> frozenset[tuple[str, str, str]] | None:
    try:
        tags = parse_wheel_filename(filename)[3]
    except (InvalidWheelFilename, ValueError):
        return None  # what cannot be read is not filtered by what it says
    return frozenset((tag.interpreter, tag.abi, tag.platform) for tag in tags)


@lru_cache(maxsize=4096)
def _platform_fits(platforms: tuple[str, ...], tag: str) -> bool:
    if not platforms or tag == "any":
        return True
    globs = [glob for platform in platforms for glob in _SYSTEMS.get(platform, (platform,))]
    return any(fnmatchcase(tag, glob) for glob in globs)


@lru_cache(maxsize=4096)
def _python_fits(pythons: tuple[str, ...], interpreter: str, abi: str) -> bool:
    """Whether a wheel's tags (PEP 425) suit CPython of one of those versions."""
    if not pythons:
        return True
    kind, digits = interpreter[:2], interpreter[2:]
    if not digits.isdigit():
        return True
    major, minor = int(digits[0]), int(digits[1:]) if digits[1:] else None
    for python in pythons:
        wanted_major, wanted_minor = map(int, python.split("."))
        if major != wanted_major:
            continue
        if minor is None or minor == wanted_minor:
            return True
        if minor < wanted_minor and (kind == "py" or (kind == "cp" and abi in ("abi3", "none"))):
            return True
    return False


@lru_cache(maxsize=4096)
def _allowed(requires_python: str | None, pythons: tuple[str, ...]) -> bool:
    if not requires_python:
        return True
    try:
        specifiers = SpecifierSet(requires_python)
    except InvalidSpecifier:
        return True
    # Any patch release of that version may be the one: the first, or one as late as there will be.
    return any(
        specifiers.contains(f"{python}.{patch}", prereleases=True) for python in pythons for patch in (0, 99)
    )


def _fitting(specifiers: Sequence[str] | None) -> tuple[list[SpecifierSet] | None, list[SpecifierSet]]:
    """What versions must fit into, None for all; and those of it that pin one."""
    if specifiers is None:
        return None, []
    among = [SpecifierSet(text.rpartition("]")[2]) for text in specifiers]
    pins = [each for each in among if any(part.operator in ("==", "===") for part in each)]
    return (None if any(not len(each) for each in among) or not among else among), pins


def _contained(version: str | None, among: Sequence[SpecifierSet]) -> bool:
    parsed = _parsed(version)
    return parsed is not None and any(each.contains(parsed, prereleases=True) for each in among)


def _prerelease(version: str | None) -> bool:
    parsed = _parsed(version)
    return parsed is not None and parsed.is_prerelease


_OLDEST = Version("0.dev0")


def _order(version: str) -> tuple[Version, str]:
    return _parsed(version) or _OLDEST, version


@lru_cache(maxsize=8192)
def _parsed(version: str | None) -> Version | None:
    try:
        return None if version is None else Version(version)
    except ValueError:
        return None
