"""Names and versions that a requirements or lock file asks for."""

from __future__ import annotations

import posixpath
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from packaging.pylock import Pylock, PylockUnsupportedVersionError, PylockValidationError
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from koschey.domain.names import is_valid_name
from koschey.errors import RequestInvalid

#: Normalised name to what is asked of it, as a requirement without its name: ``==1.0``, ``[extra]>=2``; an
#: empty one means all versions.
Names = dict[str, list[str]]
#: More than any lock file has.
MOST_SEEDED = 200_000


def seeded(filename: str, text: str, beside: Mapping[str, str] | None = None) -> tuple[Names, bool]:
    """What a file asks for, and whether it has the dependencies too, as a lock file does.

    Args:
        filename: its kind is told by it: ``uv.lock``, ``pylock.toml``, ``pylock.<name>.toml``, else the
            requirements format of pip.
        beside: texts of the files that it names by ``-r`` and ``-c``, and of those that they name; by their
            paths from its folder.

    Raises:
        RequestInvalid: the file cannot be read; it says where.
    """
    base = filename.replace("\\", "/").rpartition("/")[2]
    text = text.removeprefix("\ufeff")
    if base == "uv.lock":
        return _uv_lock(base, _toml(base, text)), True
    if re.fullmatch(r"pylock(\.[^.]+)?\.toml", base):
        return _pylock(base, _toml(base, text)), True
    return _Requirements(beside or {}).read(base, text), False


def mentioned(path: str, text: str) -> list[str]:
    """Paths of the files that a requirements file at ``path`` names by ``-r`` and ``-c``, from its folder."""
    lines = (_FILE.match(line) for _, line in _logical_lines(text.removeprefix("\ufeff")))
    return [_from(path, line["path"]) for line in lines if line is not None]


def named(text: str) -> Names:
    """A list of names, one a line; ``#`` begins a comment. Raises: RequestInvalid, a line is no name."""
    names: Names = {}
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        name = line.partition("#")[0].strip()
        if not name:
            continue
        if not is_valid_name(name):
            raise RequestInvalid(f"line {number}: {name[:100]!r} is no project's name")
        names.setdefault(canonicalize_name(name), [""])
    return names


def _toml(base: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RequestInvalid(f"{base} is not TOML: {error}") from None


def _uv_lock(base: str, document: Mapping[str, Any]) -> Names:
    """Packages that uv locked to a version of an index; others (paths, git) come from elsewhere."""
    packages = document.get("package", [])
    if document.get("version") != 1 or not isinstance(packages, list):
        raise RequestInvalid(f"{base}: only version 1 of uv's lock files is known")
    names: Names = {}
    for package in packages:
        source = package.get("source", {}) if isinstance(package, dict) else {}
        if isinstance(source, dict) and "registry" in source:
            _add(names, base, package.get("name"), package.get("version"))
    return names


def _pylock(base: str, document: Mapping[str, Any]) -> Names:
    """PEP 751: packages with a version that come from an index, not from a folder, archive or repository."""
    try:
        lock = Pylock.from_dict(document)
    except (PylockValidationError, PylockUnsupportedVersionError) as error:
        raise RequestInvalid(f"{base} is no lock file of PEP 751: {error}") from None
    names: Names = {}
    for package in lock.packages:
        if package.directory is None and package.vcs is None and package.archive is None:
            _add(names, base, package.name, None if package.version is None else str(package.version))
    return names


def _add(names: Names, base: str, name: object, version: object) -> None:
    if not isinstance(name, str) or not is_valid_name(name):
        raise RequestInvalid(f"{base}: {str(name)[:100]!r} is no project's name")
    if len(names) >= MOST_SEEDED:
        raise RequestInvalid(f"{base} names more than {MOST_SEEDED:,} projects")
    specifier = ""
    if version is not None:
        try:
            specifier = f"=={Version(str(version))}"
        except InvalidVersion:
            raise RequestInvalid(f"{base}: {str(version)[:100]!r} is no version of {name}") from None
    specifiers = names.setdefault(canonicalize_name(name), [])
    if specifier not in specifiers:
        specifiers.append(specifier)


_OPTION = re.compile(r"\s--?[A-Za-z]")
#: Another file, as pip's parser of options takes it: the letter with or without a blank.
_FILE = re.compile(r"(?:-(?P<letter>[rc])[ \t=]*|--(?P<word>requirement|constraint)[ \t=]+)(?P<path>\S.*)$")
#: A requirement that is an address or a path: it comes from no index.
_ELSEWHERE = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*:|\.{0,2}/|\.$|[^\s@;]+\.(?:whl|zip|tar\.gz|tar\.bz2|tgz)(?:$|[\s;\[])"
)


class _Requirements:
    """pip's requirements format: requirements, with options such as hashes, which say no names."""

    def __init__(self, beside: Mapping[str, str]) -> None:
        self._beside = beside
        self._names: Names = {}
        self._limits: dict[str, list[str]] = {}

    def read(self, path: str, text: str) -> Names:
        """What a file and those that it names ask for, of the versions that their constraints leave."""
        self._read(path, text, frozenset([path]), self._ask)
        return {name: [self._limited(name, rest) for rest in rests] for name, rests in self._names.items()}

    def _read(
        self, path: str, text: str, within: frozenset[str], take: Callable[[Requirement], None]
    ) -> None:
        for number, line in _logical_lines(text):
            if (named_file := _FILE.match(line)) is not None:
                other = _from(path, named_file["path"])
                if other in within:
                    continue
                if other not in self._beside:
                    raise RequestInvalid(f"{path}, line {number}: that file is not there: {line[:100]}")
                asks = (named_file["letter"] or named_file["word"][0]) == "r"
                text_there = self._beside[other].removeprefix("\ufeff")
                self._read(other, text_there, within | {other}, take if asks else self._limit)
            elif not line.startswith("-") and not _ELSEWHERE.match(line):
                take(_requirement(path, number, line))

    def _ask(self, requirement: Requirement) -> None:
        if requirement.url is None:
            rests = self._names.setdefault(canonicalize_name(requirement.name), [])
            if _rest(requirement) not in rests:
                rests.append(_rest(requirement))

    def _limit(self, requirement: Requirement) -> None:
        # One that holds only somewhere leaves other versions to the rest.
        if requirement.url is None and requirement.marker is None:
            self._limits.setdefault(canonicalize_name(requirement.name), []).append(
                str(requirement.specifier)
            )

    def _limited(self, name: str, rest: str) -> str:
        limits = [limit for limit in self._limits.get(name, ()) if limit]
        extras, bracket, specifier = rest.rpartition("]")
        return extras + bracket + ",".join(filter(None, [specifier, *limits]))


def _requirement(path: str, number: int, line: str) -> Requirement:
    option = _OPTION.search(line)
    try:
        return Requirement(line[: option.start()] if option else line)
    except InvalidRequirement as error:
        raise RequestInvalid(f"{path}, line {number}: {str(error).splitlines()[0][:200]}") from None


def _from(path: str, other: str) -> str:
    """A path that the file at ``path`` names, from the folder that ``path`` is from."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), other.strip().strip("\"'")))


def _logical_lines(text: str) -> Iterable[tuple[int, str]]:
    """Lines without comments, joined where a backslash ends them; with the number of the first."""
    begun, joined = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        line = re.sub(r"(^|\s)#.*$", "", line).rstrip()
        begun = begun or number
        if line.endswith("\\"):
            joined += line[:-1] + " "
            continue
        whole = (joined + line).strip()
        if whole:
            yield begun, whole
        begun, joined = 0, ""
    if joined.strip():
        yield begun, joined.strip()


def required(lines: Iterable[str], extras: Iterable[str], pythons: Iterable[str]) -> Names:
    """What ``Requires-Dist`` lines ask for: in any environment, of the named Pythons if there are some.

    A line that cannot be read is left out: an installer could not use it either.
    """
    names: Names = {}
    wanted = {str(canonicalize_name(extra)) for extra in extras}
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.url is None and _applies(requirement, wanted, tuple(pythons)):
            names.setdefault(canonicalize_name(requirement.name), []).append(_rest(requirement))
    return names


def _rest(requirement: Requirement) -> str:
    """A requirement without its name and marker."""
    extras = ",".join(sorted(canonicalize_name(extra) for extra in requirement.extras))
    return f"[{extras}]{requirement.specifier}" if extras else str(requirement.specifier)


def extras_of(rest: str) -> list[str]:
    """The extras in one of ``Names``'s values."""
    return rest[1 : rest.index("]")].split(",") if rest.startswith("[") else []


_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']|["']([^"']+)["']\s*==\s*extra""")
#: What markers ask that nobody here can know of every machine that will install.
_OPEN = re.compile(r"implementation|platform_(?!system)")
_SYSTEMS = (
    {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"},
    {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"},
)


def _applies(requirement: Requirement, extras: set[str], pythons: tuple[str, ...]) -> bool:
    """Leniently: whether a marker may be true somewhere; never by the machine that this runs on.

    What an extra needs counts only with that extra. Pythons that are named may rule it out.
    """
    marker = requirement.marker
    if marker is None:
        return True
    text = str(marker)
    named_extras = {str(canonicalize_name(one or other)) for one, other in _EXTRA.findall(text)}
    if named_extras and not named_extras & extras:
        return False
    if _OPEN.search(text) or (not pythons and "python" in text):
        return True
    # Any patch release of a version may be the one: the first, or one as late as there will be.
    versions = [
        {"python_version": python, "python_full_version": f"{python}.{patch}"}
        for python in pythons
        for patch in (0, 99)
    ]
    return any(
        marker.evaluate({"extra": extra} | system | version)
        for extra in (sorted(named_extras & extras) or ("",))
        for system in _SYSTEMS
        for version in versions or [{}]
    )
