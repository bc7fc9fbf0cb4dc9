"""Policies: how long the files of a name are held in an index, by which clock, and which checks they need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from math import isfinite

import msgspec

from koschey.domain.page import Microseconds

DAY: Microseconds = 86_400_000_000
#: Young enough (microseconds before it was first seen) to be looked into as soon as it is listed, whatever
#: the hold: with the hold switched off, checks still run.
YOUNG: Microseconds = 7 * DAY
LONGEST_HOLD_DAYS = 36_500.0


class Clock(StrEnum):
    """Where a hold begins."""

    UPLOAD_TIME = "upload-time"  # the upstream's time, where that is consistent with what was seen
    FIRST_SEEN = "first-seen"  # strict: when Koschey saw the file first


class Effect(StrEnum):
    """What a check means for a verdict."""

    REQUIRED = "required"  # a file needs its pass (or warning)
    REPORTED = "reported"  # it runs and is shown, and holds nothing
    OFF = "off"


class PolicyRule(msgspec.Struct, frozen=True, kw_only=True):
    """What an index says of the names that match a glob. What is None, a less specific rule says."""

    pattern: str
    """Glob over normalised names; ``*`` is the index's own rule."""
    hold_days: float | None = None
    clock: Clock | None = None
    checks: Mapping[str, Effect] = {}
    """By name of the check; the others are as a less specific rule has them."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for one name in one index."""

    hold: Microseconds
    clock: Clock = Clock.UPLOAD_TIME
    tolerance: Microseconds = 6 * 3_600_000_000
    """How much older than our previous look a file may say it is and still be believed."""
    required: frozenset[str] = frozenset()
    """Names of the checks that must pass."""
    off: frozenset[str] = frozenset()
    """Names of the checks that are not run."""
    patterns: tuple[str, ...] = ()
    """Of the rules that made it, the most specific last; for people."""


#: For what is not held at all: the company's own packages.
UNHELD = Policy(hold=0)


def policy_for(
    rules: Iterable[PolicyRule], name: str, *, tolerance: Microseconds, checks: Mapping[str, Effect]
) -> Policy:
    """The policy of a name: every rule that matches, the more specific over the less.

    Args:
        name: normalised.
        checks: each check that there is, with its effect where no rule says one.
    """
    matching = sorted((rule for rule in rules if fnmatchcase(name, rule.pattern)), key=specificity)
    days, clock, effects = 0.0, Clock.UPLOAD_TIME, dict(checks)
    for rule in matching:
        days = days if rule.hold_days is None else rule.hold_days
        clock = rule.clock or clock
        effects.update(rule.checks)
    return Policy(
        hold=round(days * DAY),
        clock=clock,
        tolerance=tolerance,
        required=frozenset(check for check, effect in effects.items() if effect is Effect.REQUIRED),
        off=frozenset(check for check, effect in effects.items() if effect is Effect.OFF),
        patterns=tuple(rule.pattern for rule in matching),
    )


def specificity(rule: PolicyRule) -> tuple[bool, int, str]:
    """Sort key: a plain name over a glob, then the glob with more letters of its own."""
    plain = not any(sign in rule.pattern for sign in "*?[")
    return plain, sum(sign not in "*?[]" for sign in rule.pattern), rule.pattern


def hold_days_problem(days: float) -> str | None:
    """What is wrong with a number of days of hold, None if nothing is."""
    if not (isfinite(days) and 0 <= days <= LONGEST_HOLD_DAYS):
        return f"days of hold: a number from 0 to {LONGEST_HOLD_DAYS:g}"
    return None
