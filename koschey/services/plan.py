"""What "approve with what it needs" would do, for people to read before it is done."""

from __future__ import annotations

import msgspec


class PlannedFile(msgspec.Struct, frozen=True):
    """A file that would be approved, and the sentence that says why it is hidden."""

    filename: str
    sha256: str | None
    reason: str


class Needed(msgspec.Struct, frozen=True):
    """A version that would be approved."""

    name: str
    version: str
    files: tuple[PlannedFile, ...]
    why: tuple[str, ...]
    """Who in the plan requires it, and how; mostly nobody for the one that was asked for."""


class Unsatisfied(msgspec.Struct, frozen=True):
    """A requirement that an approval cannot help with."""

    requirement: str
    required_by: str
    problem: str


class Plan(msgspec.Struct, frozen=True):
    """What would be approved, and what stays in the way."""

    index: str
    versions: tuple[Needed, ...] = ()
    unsatisfied: tuple[Unsatisfied, ...] = ()
    unknown: tuple[str, ...] = ()
    """Versions of which nothing is known about what they need: not stored yet, without metadata."""
