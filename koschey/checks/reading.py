"""What is found in an archive: the Contents that later releases are compared with.

Names are such that two versions can be compared: an sdist's without the top folder, a wheel's
``NAME-VERSION.data/…`` as ``.data/…``.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from koschey.checks.archive_kinds import Kind, kind_of, plain_path
from koschey.checks.core_metadata import is_core_metadata, parsed
from koschey.checks.entry_point_text import entry_points_in
from koschey.checks.namespace_hooks import sets_up_a_namespace_only
from koschey.checks.native_code import HEAD_BYTES, is_native
from koschey.checks.startup_hooks import MAX_HOOK_BYTES, is_startup_hook, may_be_startup_hook
from koschey.checks.subject import Contents
from koschey.checks.walking import Item, walk

_MAX_ITEMS = 500
_MAX_STRING = 1000
_DATA = re.compile(r"[^/]+\.data(?=/)")
_ENTRY_POINTS = {
    Kind.WHEEL: re.compile(r"[^/]+\.dist-info/entry_points\.txt"),
    Kind.EGG: re.compile(r"EGG-INFO/entry_points\.txt"),
    Kind.ZIP_SDIST: re.compile(r"(src/)?[^/]+\.egg-info/entry_points\.txt"),
    Kind.TAR_SDIST: re.compile(r"(src/)?[^/]+\.egg-info/entry_points\.txt"),
}
_PROJECT_TABLES = (("scripts", "console_scripts"), ("gui-scripts", "gui_scripts"))


@dataclass
class _Found:
    """What has been found so far."""

    startup: dict[str, str] = field(default_factory=dict)
    """Hooks with their digests."""
    namespaces: set[str] = field(default_factory=set)
    """Those of the hooks that only set up a namespace package."""
    entry_points: set[str] = field(default_factory=set)
    native: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    """Of the Python files near the top of an sdist: a build backend may be one of them."""
    pyproject: bytes | None = None
    metadata: bytes | None = None
    entries: int = 0
    unpacked: int = 0


def read_contents(path: Path, filename: str) -> Contents:
    """The contents of the file at ``path``, published as ``filename``; empty for other kinds of files.

    Raises:
        ArchiveUnsound: it cannot be read.
    """
    kind, found = kind_of(filename), _Found()
    if kind is Kind.OTHER:
        return Contents()
    for item in walk(path, filename):
        found.entries += 1
        found.unpacked += item.size
        _look(found, item, kind)
    pyproject = _toml(found.pyproject)
    found.entry_points.update(_project_entry_points(pyproject))
    fields = parsed(found.metadata)[0] if found.metadata is not None else {}
    startup = _bounded(set(found.startup))
    backend = _table(pyproject.get("build-system")).get("build-backend")
    return Contents(
        startup=startup,
        namespaces=_bounded(found.namespaces),
        startup_digests={hook: found.startup[hook] for hook in startup if hook in found.startup},
        build_scripts=_bounded(set(_build_scripts(found.names, pyproject))),
        build_backend=_cut(backend) if isinstance(backend, str) else None,
        entry_points=_bounded(found.entry_points),
        native=_bounded(found.native),
        name=_cut(fields.get("name")),
        version=_cut(fields.get("version")),
        requires_python=_cut(fields.get("requires_python")),
        requires_dist=tuple(_printable(text) for text in fields.get("requires_dist", ())[:_MAX_ITEMS]),
        entries=found.entries,
        unpacked=found.unpacked,
    )


def _look(found: _Found, item: Item, kind: Kind) -> None:
    name = comparable(item.name, kind)
    if is_core_metadata(item, kind):
        # Two of them are for the check of metadata to refuse; the first is what is compared.
        found.metadata = found.metadata or item.text()
        return
    if _ENTRY_POINTS[kind].fullmatch(name):
        points = entry_points_in(item.text())
        found.entry_points.update(f"{group}:{point}" for group, point in points)
        return
    if name.startswith(".data/scripts/"):
        found.entry_points.add("scripts:" + name.removeprefix(".data/scripts/"))
    if kind in (Kind.TAR_SDIST, Kind.ZIP_SDIST):
        if name == "pyproject.toml":
            found.pyproject = item.text()
            return
        if name.endswith(".py") and name.count("/") <= 5:
            found.names.add(name)
    hook = may_be_startup_hook(name, kind)
    head = item.read(MAX_HOOK_BYTES if hook else HEAD_BYTES)
    if hook and is_startup_hook(name, head, item.size):
        found.startup[name] = hashlib.sha256(head).hexdigest()
        if name.endswith(".pth") and sets_up_a_namespace_only(head):
            found.namespaces.add(name)
    if is_native(head[:HEAD_BYTES]):
        found.native.add(name)


def comparable(name: str, kind: Kind) -> str:
    """An entry's name without what changes from version to version."""
    path = plain_path(name)
    if kind in (Kind.TAR_SDIST, Kind.ZIP_SDIST):
        return path.partition("/")[2] or path
    return _DATA.sub(".data", path, count=1)


def _toml(body: bytes | None) -> dict[str, Any]:
    try:
        return tomllib.loads(body.decode("utf-8")) if body else {}
    except (ValueError, RecursionError):
        return {}


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _project_entry_points(pyproject: dict[str, Any]) -> Iterator[str]:
    """Of the ``[project]`` table (PEP 621)."""
    project = _table(pyproject.get("project"))
    for table, group in _PROJECT_TABLES:
        yield from (f"{group}:{name}" for name in _table(project.get(table)))
    for group, points in _table(project.get("entry-points")).items():
        yield from (f"{group}:{name}" for name in _table(points))


def _build_scripts(names: set[str], pyproject: dict[str, Any]) -> Iterator[str]:
    """``setup.py``, and the files of a backend that travels in the sdist (PEP 517, "backend-path")."""
    if "setup.py" in names:
        yield "setup.py"
    system = _table(pyproject.get("build-system"))
    backend, folders = system.get("build-backend"), system.get("backend-path")
    if not isinstance(backend, str) or not isinstance(folders, list):
        return
    module = backend.partition(":")[0].replace(".", "/")
    for folder in folders:
        base = plain_path(f"{folder}/{module}")
        for candidate in (f"{base}.py", f"{base}/__init__.py"):
            if candidate in names:
                yield candidate


def _bounded(found: set[str]) -> tuple[str, ...]:
    return tuple(sorted({_printable(name) for name in found})[:_MAX_ITEMS])


def _cut(text: str | None) -> str | None:
    return None if text is None else _printable(text)


def _printable(text: str) -> str:
    """A string that JSON can carry, of bounded length."""
    return text[:_MAX_STRING].encode("utf-8", "replace").decode("utf-8")
