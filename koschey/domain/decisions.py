"""What people said about files: appended, never edited, and taken back by saying so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, Protocol

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


class DecidedFile(Protocol):
    """What a decision's scope looks at in a file."""

    @property
    def filename(self) -> str: ...
    @property
    def version(self) -> str | None: ...
    @property
    def sha256(self) -> str | None: ...


class Weighed(msgspec.Struct, frozen=True, gc=False):
    """Of the decisions that cover a file at a moment, the one of each kind that counts."""

    reject: Decision | None = None
    """The one that lasts longest."""
    approve: Decision | None = None
    """The latest that is bound to the file's own bytes."""
    hold: Decision | None = None
    """The latest whose end has not come."""
    trust: Decision | None = None
    baseline: Decision | None = None
    """The one that accepts most."""


NOTHING = Weighed()


class _Standing(NamedTuple):
    """What the decisions about the whole project come to from one moment to another."""

    since: Microseconds
    before: Microseconds
    weighed: Weighed


class Decisions:
    """The decisions about one project in one index, found by file without going through all of them.

    Args:
        decisions: those in force in that index, reverted ones left out, in the order in which they came.
    """

    __slots__ = (
        "_bound", "_by_file", "_by_version", "_project", "_simple", "_spelled", "_standing", "all"
    )  # fmt: skip

    def __init__(self, decisions: Iterable[Decision] = ()) -> None:
        self.all = tuple(decisions)
        self._project: list[Decision] = []
        self._bound: list[Decision] = []
        self._by_version: dict[str, list[Decision]] = {}
        self._by_file: dict[str, list[Decision]] = {}
        self._spelled: dict[str, list[Decision]] = {}  # by version, as files spell it
        self._standing = _Standing(0, 0, NOTHING)
        for decision in self.all:
            if decision.filename is not None:
                self._by_file.setdefault(decision.filename, []).append(decision)
            elif decision.version is not None:
                self._by_version.setdefault(decision.version, []).append(decision)
            elif decision.sha256 is not None:
                self._bound.append(decision)
            else:
                self._project.append(decision)
        self._simple = len(self._project) == len(self.all)

    def __bool__(self) -> bool:
        return bool(self.all)

    def about(
        self, filename: str, version: str | None, sha256: str | None, now: Microseconds
    ) -> Iterator[Decision]:
        """Those that cover a file now; one that is bound to a sha256 covers those bytes only."""
        for decision in (*self._project, *self._own(filename, version)):
            if decision.expires_at is not None and decision.expires_at <= now:
                continue
            if decision.sha256 is None or decision.sha256 == sha256:
                yield decision

    def weigh(self, file: DecidedFile, now: Microseconds) -> Weighed:
        """What ``about`` comes to. Decisions about the whole project are not gone through for each file."""
        since, before, standing = self._standing
        if not since <= now < before:
            self._standing = _, _, standing = self._stand(now)
        if self._simple:
            return standing
        own = self._own(file.filename, file.version)
        return _weighed(standing, own, file.sha256, now) if own else standing

    def _own(self, filename: str, version: str | None) -> list[Decision]:
        """Those that have to be looked at for each file."""
        found = self._by_file.get(filename, _NO_DECISIONS)
        if version is not None and self._by_version:
            of_version = self._spelled.get(version)
            if of_version is None:
                of_version = self._spelled[version] = self._by_version.get(canonical(version), _NO_DECISIONS)
            if of_version:
                found = of_version + found if found else of_version
        return self._bound + found if self._bound else found

    def _stand(self, now: Microseconds) -> _Standing:
        ends = [end for d in self._project for end in (d.expires_at, d.until) if end is not None]
        return _Standing(
            since=max((end for end in ends if end <= now), default=0),
            before=min((end for end in ends if end > now), default=_NEVER),
            weighed=_weighed(NOTHING, self._project, None, now),
        )


_NEVER: Microseconds = 2**63
_NO_DECISIONS: list[Decision] = []


def _weighed(standing: Weighed, decisions: list[Decision], sha256: str | None, now: Microseconds) -> Weighed:
    reject, approve, hold = standing.reject, standing.approve, standing.hold
    trust, baseline = standing.trust, standing.baseline
    for decision in decisions:
        if decision.expires_at is not None and decision.expires_at <= now:
            continue
        if decision.sha256 is not None and decision.sha256 != sha256:
            continue
        kind = decision.kind
        if kind is Kind.REJECT:
            if reject is None or _outlasts(decision, reject):
                reject = decision
        elif kind is Kind.APPROVE:
            if decision.sha256 is not None and (approve is None or decision.id > approve.id):
                approve = decision
        elif kind is Kind.HOLD:
            if (decision.until is None or decision.until > now) and (hold is None or decision.id > hold.id):
                hold = decision
        elif kind is Kind.TRUST:
            trust = decision
        elif kind is Kind.BASELINE and (baseline is None or decision.at > baseline.at):
            baseline = decision
    return Weighed(reject, approve, hold, trust, baseline)


def _outlasts(one: Decision, other: Decision) -> bool:
    if one.expires_at is None or other.expires_at is None:
        return one.expires_at is None and other.expires_at is not None
    return one.expires_at > other.expires_at


NONE = Decisions()


@lru_cache(maxsize=8192)
def canonical(version: str) -> str:
    """One spelling for each release; what PEP 440 cannot read stands for itself."""
    return canonicalize_version(version)
