"""What changed from one file of a project to the next: its archive read entry by entry, nothing run.

For people who review: what they should look at first comes first, and what they cannot see is named.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from koschey.checks.archive_kinds import Kind, kind_of
from koschey.checks.changes import Change, Comparison, FieldChange
from koschey.checks.core_metadata import is_core_metadata, parsed
from koschey.checks.entry_point_text import entry_points_in
from koschey.checks.native_code import HEAD_BYTES, is_native
from koschey.checks.reading import comparable
from koschey.checks.startup_hooks import may_be_startup_hook
from koschey.checks.walking import Item, walk

#: Of a text that is compared line by line, in bytes; larger ones only by their digests.
MAX_TEXT = 256 * 1024
#: Of all texts of a file that are kept for that, and of all differences together.
MAX_TEXTS = 48 * 2**20
MAX_DIFFS = 1_500_000
_MAX_DIFF = 200_000
_MAX_FILES = 2_000
_MAX_NAME = 500
_MAX_VALUE = 2_000
_LONG_LINE = 2_000
#: Of a wheel's or egg's metadata: its name has the version in it.
_OWN_FOLDER = re.compile(r"^[^/]+(\.dist-info|\.egg-info)/")


class _Entry(msgspec.Struct):
    size: int
    digest: str
    text: str | None
    native: bool


class _Contents(msgspec.Struct):
    entries: dict[str, _Entry] = {}
    fields: dict[str, str] = {}
    requires: tuple[str, ...] = ()
    entry_points: frozenset[str] = frozenset()


def compare(before: tuple[Path, str] | None, after: tuple[Path, str]) -> Comparison:
    """Compare two archives, each a path and the filename that it is published as.

    Raises:
        ArchiveUnsound: one cannot be read.
    """
    old = _Contents() if before is None else _read(*before)
    new = _read(*after)
    kind = kind_of(after[1])
    changes = sorted(_changes(old, new, kind), key=lambda change: _order(change))
    return Comparison(
        fields=tuple(_field_changes(old.fields, new.fields)),
        dependencies_added=_fresh(new.requires, old.requires),
        dependencies_removed=_fresh(old.requires, new.requires),
        entry_points_added=_fresh(sorted(new.entry_points), old.entry_points),
        entry_points_removed=_fresh(sorted(old.entry_points), new.entry_points),
        files=tuple(_within_bounds(changes[:_MAX_FILES])),
        added=sum(change.kind == "added" for change in changes),
        removed=sum(change.kind == "removed" for change in changes),
        changed=sum(change.kind == "changed" for change in changes),
        unchanged=len(new.entries) - sum(change.kind != "removed" for change in changes),
        left_out=max(0, len(changes) - _MAX_FILES),
    )


def _read(path: Path, filename: str) -> _Contents:
    kind, found, room = kind_of(filename), _Contents(), MAX_TEXTS
    found.entries = {}
    points: set[str] = set()
    for item in walk(path, filename):
        name = _OWN_FOLDER.sub(r"\1/", comparable(item.name, kind), count=1)[:_MAX_NAME]
        entry, body = _entry(item, room)
        if entry.text is not None:
            room -= len(entry.text)
        found.entries[name] = entry
        if is_core_metadata(item, kind) and body is not None and not found.fields:
            found.fields, found.requires = _metadata(body)
        if name.endswith("entry_points.txt") and body is not None:
            points.update(f"{group}: {point}" for group, point in entry_points_in(body))
    found.entry_points = frozenset(points)
    return found


def _entry(item: Item, room: int) -> tuple[_Entry, bytes | None]:
    """An entry, and its bytes when they are few."""
    if item.size <= MAX_TEXT:
        body = item.read(MAX_TEXT + 1)
        text = _text(body) if len(body) <= room else None
        digest = hashlib.sha256(body).hexdigest()
        return _Entry(item.size, digest, text, is_native(body[:HEAD_BYTES])), body
    # A bound on what is read, not on what is compared: sizes differ where contents do, or nearly always.
    body = item.read(64 * 2**20)
    return _Entry(item.size, hashlib.sha256(body).hexdigest(), None, is_native(body[:HEAD_BYTES])), None


def _text(body: bytes) -> str | None:
    if b"\x00" in body:
        return None
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _metadata(body: bytes) -> tuple[dict[str, str], tuple[str, ...]]:
    fields, _ = parsed(body)
    flat: dict[str, str] = {}
    for name, value in fields.items():
        if name in ("description", "requires_dist", "version"):
            continue
        spelled = value if isinstance(value, str) else _joined(value)
        flat[name.replace("_", "-")] = spelled[:_MAX_VALUE]
    return flat, tuple(text[:_MAX_VALUE] for text in fields.get("requires_dist", ())[:500])


def _joined(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {word}" for key, word in sorted(value.items()))
    return "; ".join(str(word) for word in value) if isinstance(value, list) else str(value)


def _field_changes(old: dict[str, str], new: dict[str, str]) -> Iterator[FieldChange]:
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield FieldChange(name, old.get(name), new.get(name))


def _fresh(these: Iterable[str], those: Iterable[str]) -> tuple[str, ...]:
    known = {" ".join(other.split()) for other in those}
    return tuple(one for one in these if " ".join(one.split()) not in known)


def _changes(old: _Contents, new: _Contents, kind: Kind) -> Iterator[Change]:
    for path in sorted(old.entries.keys() | new.entries.keys()):
        was, now = old.entries.get(path), new.entries.get(path)
        if was is not None and now is not None and was.digest == now.digest and was.size == now.size:
            continue
        if _unnamed(path) in ("RECORD", "WHEEL") and was is not None and now is not None:
            continue  # it changes whenever anything does
        diff = _diff(path, was, now)
        yield Change(
            path=path,
            kind="added" if was is None else "removed" if now is None else "changed",
            before=None if was is None else was.size,
            after=None if now is None else now.size,
            risks=() if now is None else tuple(_risks(path, was, now, kind, diff)),
            diff=diff,
        )


def _unnamed(path: str) -> str:
    return path.rpartition("/")[2]


def _diff(path: str, was: _Entry | None, now: _Entry | None) -> str | None:
    old, new = (None if entry is None else entry.text for entry in (was, now))
    if (was is not None and old is None) or (now is not None and new is None):
        return None
    before, after = ((text or "").splitlines() for text in (old, new))
    lines = difflib.unified_diff(before, after, lineterm="", n=3)
    found, size = [], 0
    for number, line in enumerate(lines):
        if number < 2:
            continue  # the names of the two sides
        found.append(line[:_LONG_LINE])
        size += len(found[-1]) + 1
        if size > _MAX_DIFF:
            found.append("@@ … the rest is left out @@")
            break
    return "\n".join(found)


def _within_bounds(changes: Sequence[Change]) -> Iterator[Change]:
    """The changes with as many differences as there is room for: those that come first have theirs."""
    room = MAX_DIFFS
    for change in changes:
        if change.diff is not None and len(change.diff) > room:
            yield msgspec.structs.replace(change, diff=None)
            continue
        room -= len(change.diff or "")
        yield change


# What makes a file worth a look

_WEIGHTS = {
    "runs when Python starts": 100,
    "hidden or direction-changing signs": 90,
    "runs when it is installed": 80,
    "compiled code": 70,
    "a program of its own": 60,
    "runs or unpacks what it is given": 50,
    "very long lines": 40,
    "talks to the network or starts programs": 30,
    "entry points": 25,
    "runs when it is imported": 5,
}
_GIVEN = re.compile(
    r"\b(exec|eval|compile|__import__|marshal\.loads|pickle\.loads|b64decode|b85decode|a85decode|fromhex|"
    r"zlib\.decompress|lzma\.decompress|ctypes)\b"
)
_OUTSIDE = re.compile(
    r"\b(subprocess|os\.system|os\.popen|pty\.spawn|socket|urllib|http\.client|requests|httpx|ftplib|smtplib|"
    r"os\.environ|getpass|keyring)\b"
)
_PROGRAMS = (".sh", ".bat", ".cmd", ".ps1", ".exe", ".dll", ".com", ".scr", ".vbs", ".jar")


def _risks(path: str, was: _Entry | None, now: _Entry, kind: Kind, diff: str | None) -> list[str]:
    name, found = _unnamed(path), []
    if may_be_startup_hook(path, kind):
        found.append("runs when Python starts")
    if name == "setup.py" and kind in (Kind.TAR_SDIST, Kind.ZIP_SDIST):
        found.append("runs when it is installed")
    if now.native:
        found.append("compiled code")
    if path.startswith(".data/scripts/") or name.lower().endswith(_PROGRAMS):
        found.append("a program of its own")
    if name == "entry_points.txt":
        found.append("entry points")
    if name == "__init__.py":
        found.append("runs when it is imported")
    added = "\n".join(line[1:] for line in (diff or "").splitlines() if line.startswith("+"))
    if has_hidden_signs(added):
        found.append("hidden or direction-changing signs")
    if name.endswith((".py", ".pyi", ".pth")):
        if any(len(line) >= _LONG_LINE - 1 for line in (diff or "").splitlines() if line.startswith("+")):
            found.append("very long lines")
        if _GIVEN.search(added):
            found.append("runs or unpacks what it is given")
        if _OUTSIDE.search(added):
            found.append("talks to the network or starts programs")
    return sorted(found, key=lambda risk: -_WEIGHTS[risk])


def has_hidden_signs(text: str) -> bool:
    """Whether there are signs that nobody sees: controls, zero widths, changes of direction."""
    if text.isascii():
        return any((ord(sign) < 32 and sign not in "\t\n\r\f") or sign == "\x7f" for sign in text)
    unseen = ("Cf", "Cc", "Cs", "Co")
    return any(sign not in "\t\n\r\f\ufeff" and unicodedata.category(sign) in unseen for sign in text)


def _order(change: Change) -> tuple[int, int, str]:
    weight = sum(_WEIGHTS[risk] for risk in change.risks)
    return (-weight, ("added", "changed", "removed").index(change.kind), change.path)
