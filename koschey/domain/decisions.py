"""What people said about files: appended, never edited, and taken back by saying so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import lru_cache

import msgspec
from packaging.utils import canonicalize_version

from koschey.domain.page import Microseconds


class Kind(StrEnum):
    """What a decision says."""

    APPROVE = "approve"  # visible whatever checks and clock say; always of one file and its sha256
    REJECT = "reject"
    HOLD = "hold"  # held until a later time, or until somebody decides otherwise
    TRUST = "trust"  # a project: skip the hold, not the checks
    BASELINE = "baseline"  # what had been seen by then skips the hold
    REVERT = "revert"  # another decision counts no more


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One decision in force. A scope that is None is wider: every file, every version."""

    id: int
    kind: Kind
    at: Microseconds
    actor: str
    reason: str
    index: str | None = None
    """Name of the index, None for all."""
    version: str | None = None
    """Canonical: 1.0 and 1.0.0 are one release."""
    filename: str | None = None
    sha256: str | None = None
    """Of the bytes that were approved."""
    expires_at: Microseconds | None = None
    until: Microseconds | None = None
    """End of a HOLD; None: until review."""


class Decisions:
    """The decisions about one project in one index, found by file without going through all of them.

    Args:
        decisions: those in force in that index, reverted ones left out, in the order in which they came.
    """

    __slots__ = ("_by_file", "_by_version", "_project", "all")

    def __init__(self, decisions: Iterable[Decision] = ()) -> None:
        self.all = tuple(decisions)
        self._project: list[Decision] = []
        self._by_version: dict[str, list[Decision]] = {}
        self._by_file: dict[str, list[Decision]] = {}
        for decision in self.all:
            if decision.filename is not None:
                self._by_file.setdefault(decision.filename, []).append(decision)
            elif decision.version is not None:
                self._by_version.setdefault(decision.version, []).append(decision)
            else:
                self._project.append(decision)

    def __bool__(self) -> bool:
        return bool(self.all)

    def about(
        self, filename: str, version: str | None, sha256: str | None, now: Microseconds
    ) -> Iterator[Decision]:
        """Those that cover a file now; one that is bound to a sha256 covers those bytes only."""
        found = (
            *self._project,
            *(self._by_version.get(canonical(version), ()) if version is not None else ()),
            *self._by_file.get(filename, ()),
        )
        for decision in found:
            if decision.expires_at is not None and decision.expires_at <= now:
                continue
            if decision.sha256 is not None and decision.sha256 != sha256:
                continue
            yield decision


NONE = Decisions()


@lru_cache(maxsize=8192)
def canonical(version: str) -> str:
    """One spelling for each release; what PEP 440 cannot read stands for itself."""
    return canonicalize_version(version)
