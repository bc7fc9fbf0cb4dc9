"""The one function that decides whether a file can be seen.

Every way to a file's bytes, or to the knowledge that it exists, asks ``decide``: listings, ``versions``,
GET, HEAD, Range, metadata and provenance alike. It is pure: what it knows, it is given.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec

from koschey.domain.checks import judged
from koschey.domain.decisions import Decision, Decisions, Kind
from koschey.domain.page import Microseconds
from koschey.domain.policy import YOUNG, Clock, Policy


class State(StrEnum):
    """What a verdict comes to."""

    VISIBLE = "visible"
    HELD = "held"
    REJECTED = "rejected"


class Rule(StrEnum):
    """What a verdict rests on."""

    REJECT = "reject"
    WITHDRAWN = "withdrawn"
    FAILED_CHECK = "failed-check"
    APPROVE = "approve"
    HOLD = "hold"  # a person's
    MISSING_CHECK = "missing-check"
    TRUST = "trust"
    BASELINE = "baseline"
    TIME = "time"


class Mark(StrEnum):
    """Why the upstream's time was not taken for the clock."""

    NONE = ""
    BACK_DATED = "back-dated"
    FUTURE_DATED = "future-dated"
    UNDATED = "undated"


class Withdrawal(StrEnum):
    """How an upstream took something back."""

    NONE = ""
    QUARANTINED = "the project is quarantined upstream"
    DELETED = "the project was deleted upstream"
    FILE = "the file was withdrawn upstream"


class JudgedFile(Protocol):
    """What ``decide`` looks at in a file. Times are microseconds since 1970, UTC."""

    @property
    def filename(self) -> str: ...
    @property
    def version(self) -> str | None: ...
    @property
    def sha256(self) -> str | None: ...
    @property
    def upload_time(self) -> Microseconds | None:
        """What the upstream says."""

    @property
    def first_seen(self) -> Microseconds: ...
    @property
    def previous_look(self) -> Microseconds | None:
        """The successful look at the project before the one that found this file; None: the first pull."""

    @property
    def withdrawn_at(self) -> Microseconds | None: ...


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """Whether a file is visible, and what that rests on."""

    state: State
    rule: Rule
    until: Microseconds | None = None
    """When this verdict ends by itself; None: by an event only."""
    start: Microseconds | None = None
    """Where the clock began, when the verdict hangs on the clock."""
    mark: Mark = Mark.NONE
    decision: Decision | None = None
    checks: tuple[str, ...] = ()
    """Names of the checks that failed or are missing."""
    withdrawal: Withdrawal = Withdrawal.NONE

    @property
    def visible(self) -> bool:
        """Whether the file may be listed and served."""
        return self.state is State.VISIBLE


_PAST = Verdict(State.VISIBLE, Rule.TIME)
_WITHDRAWN = {way: Verdict(State.REJECTED, Rule.WITHDRAWN, withdrawal=way) for way in Withdrawal}


def decide(
    file: JudgedFile,
    policy: Policy,
    checks: str | None,
    decisions: Decisions,
    now: Microseconds,
    withdrawal: Withdrawal = Withdrawal.NONE,
) -> Verdict:
    """The verdict on one file.

    Precedence: reject, withdrawn upstream, approve, failed check, a person's hold, missing checks, then
    trust, baseline and time. Of an approve and a person's hold the later one counts. Time, trust and
    baseline never outrank a check that did not pass; an approve does, because a person has looked.

    Args:
        checks: the short form of its answers (``koschey.domain.checks``).
        withdrawal: how the upstream took the whole project back, if it did.
    """
    trusted = baseline = approve = hold = None
    if decisions:
        for decision in decisions.about(file.filename, file.version, file.sha256, now):
            kind = decision.kind
            if kind is Kind.REJECT:
                return Verdict(State.REJECTED, Rule.REJECT, until=decision.expires_at, decision=decision)
            if kind is Kind.APPROVE:
                if decision.sha256 is not None and (approve is None or decision.id > approve.id):
                    approve = decision
            elif kind is Kind.HOLD:
                if (decision.until is None or decision.until > now) and (
                    hold is None or decision.id > hold.id
                ):
                    hold = decision
            elif kind is Kind.TRUST:
                trusted = decision
            elif kind is Kind.BASELINE and file.first_seen <= decision.at:
                baseline = decision
    if withdrawal is not Withdrawal.NONE:
        return _WITHDRAWN[withdrawal]
    if file.withdrawn_at is not None:
        return _WITHDRAWN[Withdrawal.FILE]
    if approve is not None and (hold is None or approve.id > hold.id):
        return Verdict(State.VISIBLE, Rule.APPROVE, until=approve.expires_at, decision=approve)
    answers = judged(checks, policy.required)
    if answers.failed:
        return Verdict(State.HELD, Rule.FAILED_CHECK, checks=answers.failed)
    if hold is not None:
        return Verdict(State.HELD, Rule.HOLD, until=_earlier(hold.until, hold.expires_at), decision=hold)
    start, mark = clock_start(file, policy)
    ends = start + policy.hold
    if ends <= file.first_seen:
        return _PAST  # it had been public long enough when it was first seen; it is fetched when wanted
    if baseline is not None:
        return Verdict(State.VISIBLE, Rule.BASELINE, until=baseline.expires_at, decision=baseline)
    if trusted is None and ends > now:
        return Verdict(State.HELD, Rule.TIME, until=ends, start=start, mark=mark)
    if answers.missing:
        return Verdict(State.HELD, Rule.MISSING_CHECK, start=start, mark=mark, checks=answers.missing)
    if ends > now:
        assert trusted is not None
        return Verdict(State.VISIBLE, Rule.TRUST, until=trusted.expires_at, decision=trusted)
    return _PAST


def clock_start(file: JudgedFile, policy: Policy) -> tuple[Microseconds, Mark]:
    """Where the hold of a file begins, and why that is not the upstream's time where it is not."""
    claimed = file.upload_time
    if claimed is None:
        return file.first_seen, Mark.UNDATED
    if claimed > file.first_seen:
        return file.first_seen, Mark.FUTURE_DATED if claimed > file.first_seen + _SKEW else Mark.NONE
    if file.previous_look is not None and claimed < file.previous_look - policy.tolerance:
        return file.first_seen, Mark.BACK_DATED
    return (file.first_seen if policy.clock is Clock.FIRST_SEEN else claimed), Mark.NONE


#: Two honest clocks differ by less.
_SKEW: Microseconds = 300_000_000


def wants_checks(file: JudgedFile, policy: Policy) -> bool:
    """Whether to store and check a file before anybody asks for it: what is held, and what is young."""
    start, _ = clock_start(file, policy)
    return start + max(policy.hold, YOUNG) > file.first_seen


def needs_review(verdict: Verdict) -> bool:
    """Whether only a person can end this: a failed check, or a hold without an end."""
    return verdict.state is State.HELD and (
        verdict.rule is Rule.FAILED_CHECK or (verdict.rule is Rule.HOLD and verdict.until is None)
    )


def _earlier(one: Microseconds | None, other: Microseconds | None) -> Microseconds | None:
    return min((at for at in (one, other) if at is not None), default=None)
