"""Names and versions that a requirements or lock file asks for."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
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


def seeded(filename: str, text: str) -> tuple[Names, bool]:
    """What a file asks for, and whether it has the dependencies too, as a lock file does.

    Args:
        filename: its kind is told by it: ``uv.lock``, ``pylock.toml``, ``pylock.<name>.toml``, else the
            requirements format of pip.

    Raises:
        RequestInvalid: the file cannot be read; it says where.
    """
    base = filename.replace("\\", "/").rpartition("/")[2]
    if base == "uv.lock":
        return _uv_lock(base, _toml(base, text)), True
    if re.fullmatch(r"pylock(\.[^.]+)?\.toml", base):
        return _pylock(base, _toml(base, text)), True
    return _requirements(base, text), False


def named(text: str) -> Names:
    """A list of names, one a line; ``#`` begins a comment. Raises: RequestInvalid, a line is no name."""
    names: Names = {}
    for number, line in enumerate(text.splitlines(), 1):
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


def _requirements(base: str, text: str) -> Names:
    """pip's requirements format: requirements, with options such as hashes, which say no names."""
    names: Names = {}
    for number, line in _logical_lines(text):
        if line.startswith("-"):
            if line.split("=")[0].split()[0] in ("-r", "--requirement", "-c", "--constraint"):
                raise RequestInvalid(
                    f"{base}, line {number}: give that file as a seed of its own: {line[:100]}"
                )
            continue
        option = _OPTION.search(line)
        try:
            requirement = Requirement(line[: option.start()] if option else line)
        except InvalidRequirement as error:
            raise RequestInvalid(f"{base}, line {number}: {str(error).splitlines()[0][:200]}") from None
        if requirement.url is not None:
            continue
        specifiers = names.setdefault(canonicalize_name(requirement.name), [])
        if _rest(requirement) not in specifiers:
            specifiers.append(_rest(requirement))
    return names


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


def _applies(requirement: Requirement, extras: set[str], pythons: tuple[str, ...]) -> bool:
    """Leniently: a marker that names no extra may be true somewhere, unless the Pythons rule it out."""
    marker = requirement.marker
    if marker is None:
        return True
    text = str(marker)
    if "extra" in text and not any(marker.evaluate({"extra": extra}) for extra in extras):
        return False
    if (
        pythons
        and "python_version" in text
        and not ("sys_platform" in text or "platform_" in text or "os_name" in text)
    ):
        return any(
            marker.evaluate({"extra": extra, "python_version": python, "python_full_version": f"{python}.0"})
            for python in pythons
            for extra in extras or {""}
        )
    return True
