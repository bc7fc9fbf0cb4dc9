"""A model of the quarantine in plain words, to hold the services against: no cache, no index, no SQL."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from koschey.domain.checks import Outcome
from koschey.domain.decisions import Kind, canonical
from koschey.domain.policy import Clock
from koschey.services.deciding import Made

State = Literal["visible", "held", "rejected"]
HOUR = 3_600_000_000
TOLERANCE = 6 * HOUR


@dataclass
class ModelFile:
    filename: str
    version: str
    sha256: str
    upload_time: int | None
    first_seen: int
    previous_look: int | None
    withdrawn: bool = False
    answers: dict[str, Outcome] = field(default_factory=dict)


@dataclass
class ModelPolicy:
    hold: int
    clock: Clock = Clock.UPLOAD_TIME
    required: frozenset[str] = frozenset()


@dataclass
class Model:
    """One project of an upstream, in some indexes."""

    policies: dict[str, ModelPolicy]
    files: dict[str, ModelFile] = field(default_factory=dict)
    said: list[tuple[Made, int]] = field(default_factory=list)
    """What was decided, in order, and when."""
    looked_at: int | None = None
    missing_since: int | None = None
    taken_back: bool = False
    """Whether the upstream deleted or quarantined the project."""
    deleted: bool = False

    def page(self, at: int, listed: dict[str, tuple[str, str, int | None]], *, quarantined: bool) -> None:
        """The upstream's page was looked at: version, sha256 and claimed time by filename."""
        if self.deleted and not self.files.keys() & listed.keys():
            self._end_trust(at)
        for filename, (version, sha256, claimed) in listed.items():
            known = self.files.get(filename)
            if known is None:
                self.files[filename] = ModelFile(filename, version, sha256, claimed, at, self.looked_at)
            elif known.sha256 == sha256:
                known.withdrawn = False
                if known.upload_time is None and claimed is not None:
                    known.upload_time = claimed
                    known.previous_look = known.previous_look or known.first_seen
        if not quarantined:
            for file in self.files.values():
                file.withdrawn = file.withdrawn or file.filename not in listed
        self.taken_back, self.deleted = quarantined, False
        self.looked_at, self.missing_since = at, None

    def missing(self, at: int) -> None:
        """The upstream said 404; once is no deletion, and twice within ten seconds neither."""
        if self.missing_since is not None and at - self.missing_since >= 10_000_000:
            self.taken_back = self.deleted = True
        self.missing_since = self.missing_since or at
        self.looked_at = at

    def _end_trust(self, at: int) -> None:
        """The name may be somebody else's by now."""
        trusts = [made for made, _ in self.said if made.kind is Kind.TRUST]
        self.said += [(Made(id=0, kind=Kind.REVERT, project=None, reverts=m.id), at) for m in trusts]

    def state(self, index: str, file: ModelFile, now: int) -> State:
        """What a person would say who has read the rules."""
        policy = self.policies[index]
        about = [made for made in self._in_force(index, now) if _covers(made, file)]
        if any(made.kind is Kind.REJECT for made in about) or self.taken_back or file.withdrawn:
            return "rejected"
        approved = max((made.id for made in about if made.kind is Kind.APPROVE), default=0)
        stopped = max(
            (m.id for m in about if m.kind is Kind.HOLD and (m.until is None or m.until > now)), default=0
        )
        if approved > stopped:
            return "visible"
        bad = any(file.answers.get(c) in (Outcome.FAIL, Outcome.ERROR) for c in policy.required)
        if bad or stopped:
            return "held"
        ends = _start(file, policy) + policy.hold
        if ends <= file.first_seen:
            return "visible"
        accepted = [at for made, at in self.said if made.kind is Kind.BASELINE and made in about]
        if any(file.first_seen <= at for at in accepted):
            return "visible"
        waited = now >= ends or any(made.kind is Kind.TRUST for made in about)
        return "visible" if waited and policy.required <= file.answers.keys() else "held"

    def _in_force(self, index: str, now: int) -> list[Made]:
        reverted = {made.reverts for made, _ in self.said}
        return [
            made
            for made, _ in self.said
            if made.kind is not Kind.REVERT
            and made.id not in reverted
            and made.index in (None, index)
            and (made.expires_at is None or now < made.expires_at)
        ]


def _covers(made: Made, file: ModelFile) -> bool:
    if made.sha256 not in (None, file.sha256):
        return False
    if made.filename is not None:
        return made.filename == file.filename
    return made.version is None or made.version == canonical(file.version)


def _start(file: ModelFile, policy: ModelPolicy) -> int:
    claimed = file.upload_time
    if policy.clock is Clock.FIRST_SEEN or claimed is None or claimed > file.first_seen:
        return file.first_seen
    if file.previous_look is not None and claimed < file.previous_look - TOLERANCE:
        return file.first_seen
    return claimed
