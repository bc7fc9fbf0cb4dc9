"""What a comparison of two files comes to, as it crosses processes and is kept."""

from __future__ import annotations

import msgspec


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One entry that is not as it was."""

    path: str
    """Without what changes from version to version (``koschey.checks.reading.comparable``)."""
    kind: str
    """``added``, ``removed`` or ``changed``."""
    before: int | None = None
    """Sizes in bytes."""
    after: int | None = None
    risks: tuple[str, ...] = ()
    """Why somebody should look at it, the most important first."""
    diff: str | None = None
    """Unified, of texts; None: it is no text, or too long, or there was no more room."""


class FieldChange(msgspec.Struct, frozen=True):
    """A field of the metadata that says something else. None: it says nothing."""

    name: str
    before: str | None
    after: str | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What is different. Without an earlier file everything is new."""

    fields: tuple[FieldChange, ...] = ()
    dependencies_added: tuple[str, ...] = ()
    dependencies_removed: tuple[str, ...] = ()
    entry_points_added: tuple[str, ...] = ()
    entry_points_removed: tuple[str, ...] = ()
    files: tuple[Change, ...] = ()
    """What is to be looked at first comes first."""
    added: int = 0
    removed: int = 0
    changed: int = 0
    unchanged: int = 0
    left_out: int = 0
    """Changed files that are not in ``files``, for their number."""
