"""A verdict in words: the same sentence in a reason phrase, on a page, and at the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from koschey.domain.decisions import Decision
from koschey.domain.page import Microseconds
from koschey.domain.policy import DAY, Clock, Policy
from koschey.domain.quarantine import Mark, Rule, State, Verdict

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE: Microseconds = 60_000_000
_HOUR: Microseconds = 60 * _MINUTE
_CHECKS_NAMED = 3


def sentence(verdict: Verdict, policy: Policy, now: Microseconds) -> str:
    """Why a file is visible, held or rejected, and until when; one line without a full stop."""
    if verdict.state is State.VISIBLE:
        return _visible(verdict, policy)
    if verdict.rule is Rule.REJECT:
        end = "" if verdict.until is None else f" {_end(verdict.until, now)}"
        return f"rejected{end} by {_said(verdict.decision)}{_further(verdict, now)}"
    if verdict.rule is Rule.WITHDRAWN:
        return str(verdict.withdrawal)
    if verdict.rule is Rule.FAILED_CHECK:
        if verdict.undone:
            return f"held for review: {named_checks(verdict.checks)} could not be done"
        return f"held for review: failed {named_checks(verdict.checks)}"
    if verdict.rule is Rule.MISSING_CHECK:
        return f"held until it is checked: {named_checks(verdict.checks)} not passed yet"
    if verdict.rule is Rule.HOLD:
        return f"held {_end(verdict.until, now)} by {_said(verdict.decision)}{_further(verdict, now)}"
    assert verdict.start is not None
    seen = verdict.mark is not Mark.NONE or policy.clock is Clock.FIRST_SEEN
    begin = f"{'first seen' if seen else 'released'} {age(now - verdict.start)} ago{_MARKS[verdict.mark]}"
    return f"held {_end(verdict.until, now)}: {begin}, hold is {days(policy.hold)}"


def _visible(verdict: Verdict, policy: Policy) -> str:
    if verdict.rule is Rule.TIME:
        return "visible: its hold is over" if policy.hold else "visible: nothing holds it"
    word = {Rule.APPROVE: "approved", Rule.TRUST: "project trusted", Rule.BASELINE: "accepted as it was"}
    return f"visible: {word[verdict.rule]} by {_said(verdict.decision)}"


_MARKS = {
    Mark.NONE: "",
    Mark.BACK_DATED: " and back-dated (it says that it is older)",
    Mark.FUTURE_DATED: " and dated in the future",
    Mark.UNDATED: " (its upstream gives no date)",
}


def named_checks(checks: Sequence[str]) -> str:
    """So many that a line of a log is still read; the explanation has them all."""
    if len(checks) > _CHECKS_NAMED + 1:
        return f"checks {', '.join(checks[:_CHECKS_NAMED])} and {len(checks) - _CHECKS_NAMED} more"
    return f"{'check' if len(checks) == 1 else 'checks'} {', '.join(checks)}"


def _said(decision: Decision | None) -> str:
    assert decision is not None
    return f"{decision.actor}: {decision.reason}"


def _end(until: Microseconds | None, now: Microseconds) -> str:
    return "until review" if until is None else f"until {moment(until, now)}"


def _further(verdict: Verdict, now: Microseconds) -> str:
    """What follows when a decision's end leaves the file hidden."""
    if verdict.until == verdict.clears:
        return ""
    return f", then held {_end(verdict.clears, now)}"


def moment(at: Microseconds, now: Microseconds) -> str:
    """A date, with the time of day when it is less than two days away."""
    shown = _EPOCH + timedelta(microseconds=at)
    return f"{shown:%Y-%m-%d}" if abs(at - now) > 2 * DAY else f"{shown:%Y-%m-%d %H:%M:%S} UTC"


def instant(at: Microseconds) -> str:
    """A date and time of day."""
    return f"{_EPOCH + timedelta(microseconds=at):%Y-%m-%d %H:%M:%S} UTC"


def iso(at: Microseconds | None) -> str | None:
    """A time for machines (RFC 3339, UTC), or None for none."""
    if at is None:
        return None
    return (_EPOCH + timedelta(microseconds=at)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def age(span: Microseconds) -> str:
    """How long, in the largest whole unit."""
    for unit, name in ((DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
        if span >= unit:
            count = span // unit
            return f"{count} {name}" + ("s" if count != 1 else "")
    return "less than a minute"


def days(span: Microseconds) -> str:
    """A hold's length: in days, or hours or seconds where it is shorter than a day."""
    if span >= DAY:
        return _counted(span / DAY, "day")
    if span >= _HOUR:
        return _counted(span / _HOUR, "hour")
    return _counted(span / 1e6, "second")


def _counted(number: float, unit: str) -> str:
    text = f"{number:.2f}".rstrip("0").rstrip(".")
    return f"{text} {unit}" + ("" if text == "1" else "s")
