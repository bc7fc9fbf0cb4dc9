"""The one function that decides whether a file can be seen.

Every way to a file's bytes, or to the knowledge that it exists, asks ``decide``: listings, ``versions``,
GET, HEAD, Range, metadata and provenance alike. It is pure: what it knows, it is given.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec

from koschey.domain.checks import judged
from koschey.domain.decisions import DecidedFile, Decision, Decisions
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


class JudgedFile(DecidedFile, Protocol):
    """What ``decide`` looks at in a file. Times are microseconds since 1970, UTC."""

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
    clears: Microseconds | None = None
    """When a hidden file is visible by time alone, if the checks that have not answered yet pass; None: by an
    event only. What ends may leave it hidden: a person's hold runs out before the policy's."""
    start: Microseconds | None = None
    """Where the clock began, when the verdict hangs on the clock."""
    mark: Mark = Mark.NONE
    decision: Decision | None = None
    checks: tuple[str, ...] = ()
    """The checks that decide: those that failed, else those that could not be done or are missing."""
    undone: bool = False
    """Whether no check failed, and ``checks`` crashed, took too long or could not read the file."""
    withdrawal: Withdrawal = Withdrawal.NONE

    @property
    def visible(self) -> bool:
        """Whether the file may be listed and served."""
        return self.state is State.VISIBLE


# A page of 6,000 files asks 6,000 times: what is the same for all of them is looked up once.
_STANDING, _UNMARKED, _STRICT = Withdrawal.NONE, Mark.NONE, Clock.FIRST_SEEN
_HELD, _TIME = State.HELD, Rule.TIME
_PAST = Verdict(State.VISIBLE, Rule.TIME)
_WITHDRAWN = {way: Verdict(State.REJECTED, Rule.WITHDRAWN, withdrawal=way) for way in Withdrawal}


def decide(
    file: JudgedFile,
    policy: Policy,
    checks: str | None,
    decisions: Decisions,
    now: Microseconds,
    withdrawal: Withdrawal = Withdrawal.NONE,
    *,
    ahead: bool = True,
) -> Verdict:
    """The verdict on one file.

    Precedence: reject, withdrawn upstream, approve, failed check, a person's hold, then baseline, missing
    checks, trust and time. Of an approve and a person's hold the later one counts. Time, trust and
    baseline never outrank a check that failed, time and trust none that is missing either; an approve does,
    because a person has looked.

    Args:
        checks: the short form of its answers (``koschey.domain.checks``).
        withdrawal: how the upstream took the whole project back, if it did.
        ahead: whether to find out when a decision's end leaves the file visible (``Verdict.clears``).
    """
    reject = approve = hold = trust = baseline = None
    if decisions.all:
        said = decisions.weigh(file, now)
        reject, approve, hold = said.reject, said.approve, said.hold
        trust, baseline = said.trust, said.baseline
    if reject is not None:
        end = reject.expires_at
        clears = _clears(end, file, policy, checks, decisions, withdrawal) if end and ahead else None
        return Verdict(State.REJECTED, Rule.REJECT, until=end, clears=clears, decision=reject)
    if withdrawal is not _STANDING:
        return _WITHDRAWN[withdrawal]
    if file.withdrawn_at is not None:
        return _WITHDRAWN[Withdrawal.FILE]
    if approve is not None and (hold is None or approve.id > hold.id):
        return Verdict(State.VISIBLE, Rule.APPROVE, until=approve.expires_at, decision=approve)
    answers = judged(checks, policy.required)
    if answers.failed:
        # An approve that a later hold stands against counts again when that ends.
        again = None if hold is None or approve is None else _end(hold, approve)
        clears = _clears(again, file, policy, checks, decisions, withdrawal) if again and ahead else None
        return Verdict(
            State.HELD,
            Rule.FAILED_CHECK,
            until=again,
            clears=clears,
            checks=answers.decisive,
            undone=answers.undone,
        )
    if hold is not None:
        end = _end(hold)
        clears = _clears(end, file, policy, checks, decisions, withdrawal) if end and ahead else None
        return Verdict(State.HELD, Rule.HOLD, until=end, clears=clears, decision=hold)
    start, mark = clock_start(file, policy)
    ends = start + policy.hold
    if ends <= file.first_seen:
        return _PAST  # it had been public long enough when it was first seen; it is fetched when wanted
    if baseline is not None and file.first_seen <= baseline.at:
        return Verdict(State.VISIBLE, Rule.BASELINE, until=baseline.expires_at, decision=baseline)
    lapses: Microseconds | None = (
        None  # a trust that takes the clock's place; then that begins to count again
    )
    if ends > now:
        if trust is None:
            return Verdict(_HELD, _TIME, ends, ends, start, mark)
        if trust.expires_at is not None and trust.expires_at < ends:
            lapses = trust.expires_at
    if answers.missing:
        return Verdict(_HELD, Rule.MISSING_CHECK, lapses, None, start, mark, checks=answers.missing)
    return _PAST if ends <= now else Verdict(State.VISIBLE, Rule.TRUST, lapses, decision=trust)


def _clears(
    end: Microseconds | None,
    file: JudgedFile,
    policy: Policy,
    checks: str | None,
    decisions: Decisions,
    withdrawal: Withdrawal,
) -> Microseconds | None:
    """When a file is visible that is hidden until ``end``: each end is followed to the next one."""
    while end is not None:
        then = decide(file, policy, checks, decisions, end, withdrawal, ahead=False)
        if then.visible or then.rule is Rule.MISSING_CHECK:
            return end
        if then.until is not None and then.until <= end:
            raise AssertionError(f"a verdict ended before it began: {then}")  # better than to ask for ever
        end = then.until
    return None


def _end(*decisions: Decision) -> Microseconds | None:
    """When the first of these ends by itself."""
    ends = (end for decision in decisions for end in (decision.until, decision.expires_at))
    return min((end for end in ends if end is not None), default=None)


def clock_start(file: JudgedFile, policy: Policy) -> tuple[Microseconds, Mark]:
    """Where the hold of a file begins, and why that is not the upstream's time where it is not."""
    claimed, seen = file.upload_time, file.first_seen
    if claimed is None:
        return seen, Mark.UNDATED
    if claimed > seen:
        return seen, Mark.FUTURE_DATED if claimed > seen + _SKEW else _UNMARKED
    looked = file.previous_look
    if looked is not None and claimed < looked - policy.tolerance:
        return seen, Mark.BACK_DATED
    return (seen if policy.clock is _STRICT else claimed), _UNMARKED


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
