"""The explanation: what an index makes of a project's files, and what that rests on, as plain values.

Times are texts for machines (``koschey.domain.explanation.iso``); None where there is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Protocol

import msgspec
from packaging.version import InvalidVersion, Version

from koschey.domain.checks import outcomes
from koschey.domain.decisions import Decision, Kind
from koschey.domain.explanation import days, iso, sentence
from koschey.domain.page import Microseconds
from koschey.domain.policy import DAY, Clock, Effect, Policy
from koschey.domain.quarantine import JudgedFile, Rule, State, Verdict, clock_start, needs_review


class PolicyWords(msgspec.Struct, frozen=True, kw_only=True):
    """What an index asks of the files of a name."""

    words: str
    """One sentence without a full stop."""
    hold_days: float
    clock: Clock
    patterns: tuple[str, ...]
    """Globs of the rules that made it, the most specific last."""
    required: tuple[str, ...]
    """Checks that a file must pass."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The latest answer of one check about one file."""

    check: str
    effect: Effect
    """What the policy makes of it."""
    outcome: str | None = None
    """None: not answered yet."""
    reason: str = ""
    at: str | None = None


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A decision, in force or not."""

    id: int
    kind: Kind
    actor: str
    reason: str
    at: str | None
    index: str | None
    """Name of the index; None: all."""
    version: str | None
    filename: str | None
    sha256: str | None
    expires_at: str | None
    until: str | None
    """End of a hold; None: until review."""
    standing: str
    """``in force``, ``expired``, ``over`` (a hold whose end has come) or ``reverted``."""
    reverted_by: str | None = None
    reverted_at: str | None = None
    revert_reason: str | None = None


class FileWords(msgspec.Struct, frozen=True, kw_only=True):
    """One file: its verdict and what that rests on."""

    filename: str
    state: State
    rule: Rule
    sentence: str
    clears_at: str | None
    """When the verdict ends by itself; visible then, if the checks of ``waits_for`` have passed. None: an
    event is needed."""
    visible_until: str | None
    """When an approval, trust or baseline that shows it expires."""
    review: bool
    """Whether only a person can end this."""
    waits_for: tuple[str, ...]
    """Required checks that have not answered yet."""
    upload_time: str | None
    """The upstream's word."""
    first_seen: str | None
    previous_look: str | None
    """The look at the project before the one that found the file; None: the first pull."""
    clock_start: str | None
    mark: str
    """Why the clock does not begin at the upstream's time; empty where it does."""
    hold_ends: str | None
    withdrawn_at: str | None
    """Since when the upstream lists it no more."""
    requires_python: str | None
    yanked: bool | str
    checks: tuple[Answer, ...]


class VersionWords(msgspec.Struct, frozen=True, kw_only=True):
    """One release: visible when one of its files is."""

    version: str | None
    """As its files spell it; None for files whose names state none."""
    state: State
    sentence: str
    clears_at: str | None
    """The first ``clears_at`` among its hidden files."""
    visible: int
    held: int
    rejected: int
    files: tuple[FileWords, ...]
    """Those that are explained, hidden ones first."""
    next_file: str | None = None
    """The last of ``files`` when there are more."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A project in an index, and of its versions those that were asked for, newest first."""

    project: str
    index: str
    version: str | None
    """The one version that was asked for; None: all."""
    known: bool
    """Whether there is anything of what was asked for."""
    sentence: str
    source: str
    hosted: bool
    status: str
    """PEP 792."""
    status_reason: str | None
    withdrawal: str
    """How the upstream took the project back; empty: it did not."""
    looked_at: str | None
    """The last successful look at the upstream's page."""
    policy: PolicyWords
    visible: int
    """So many versions, over all that were asked for; ``held`` and ``rejected`` alike."""
    held: int
    rejected: int
    versions: tuple[VersionWords, ...]
    next_version: str | None = None
    """The last of ``versions`` when there are more."""
    near: tuple[str, ...] = ()
    """Known versions around one that is not known."""
    decisions: tuple[Said, ...] = ()
    contact: str = ""
    """Whom to ask."""


class ExplainedFile(JudgedFile, Protocol):
    """What an explanation says of a file besides its verdict."""

    @property
    def checks(self) -> str | None: ...
    @property
    def requires_python(self) -> str | None: ...
    @property
    def yanked(self) -> bool: ...
    @property
    def yanked_reason(self) -> str | None: ...


def policy_words(policy: Policy, *, hosted: bool) -> PolicyWords:
    """A policy for people and machines."""
    if hosted:
        words = "the company's own packages are not held"
    elif policy.hold <= 0:
        words = "files are not held for a time"
    else:
        strict = policy.clock is Clock.FIRST_SEEN
        begin = "when it was first seen" if strict else "the upstream's upload time"
        words = f"a file is held for {days(policy.hold)} from {begin}"
    if policy.required:
        words += f", and needs to pass the checks {', '.join(sorted(policy.required))}"
    return PolicyWords(
        words=words,
        hold_days=policy.hold / DAY,
        clock=policy.clock,
        patterns=policy.patterns,
        required=tuple(sorted(policy.required)),
    )


def file_words(
    file: ExplainedFile,
    verdict: Verdict,
    policy: Policy,
    now: Microseconds,
    answers: Mapping[str, tuple[str, str, Microseconds]],
) -> FileWords:
    """One file with its verdict.

    Args:
        answers: by check, the latest one: outcome, reason, time.
    """
    start, mark = clock_start(file, policy)
    given = outcomes(file.checks)
    hidden = not verdict.visible
    return FileWords(
        filename=file.filename,
        state=verdict.state,
        rule=verdict.rule,
        sentence=sentence(verdict, policy, now),
        clears_at=iso(verdict.until) if hidden else None,
        visible_until=None if hidden else iso(verdict.until),
        review=needs_review(verdict),
        waits_for=tuple(sorted(policy.required - given.keys())) if hidden else (),
        upload_time=iso(file.upload_time),
        first_seen=iso(file.first_seen),
        previous_look=iso(file.previous_look),
        clock_start=iso(start),
        mark=mark,
        hold_ends=iso(start + policy.hold),
        withdrawn_at=iso(file.withdrawn_at),
        requires_python=file.requires_python,
        yanked=file.yanked_reason or bool(file.yanked),
        checks=_answers(answers, {check: outcome.value for check, outcome in given.items()}, policy),
    )


def _answers(
    answers: Mapping[str, tuple[str, str, Microseconds]], given: Mapping[str, str], policy: Policy
) -> tuple[Answer, ...]:
    """Each check that answered or has to."""

    def answer(check: str) -> Answer:
        required = check in policy.required
        effect = Effect.REQUIRED if required else Effect.OFF if check in policy.off else Effect.REPORTED
        if check not in answers:
            return Answer(check=check, effect=effect, outcome=given.get(check))
        outcome, reason, at = answers[check]
        return Answer(check=check, effect=effect, outcome=outcome, reason=reason, at=iso(at))

    return tuple(answer(check) for check in sorted({*answers, *given, *policy.required}))


def version_words(
    version: str | None,
    verdicts: Sequence[Verdict],
    first: str,
    files: Sequence[FileWords],
    next_file: str | None = None,
) -> VersionWords:
    """One release.

    Args:
        verdicts: of all its files.
        first: the sentence about one of its files, a hidden one if there is any.
        files: those that are explained.
    """
    visible, held, rejected = (sum(v.state is state for v in verdicts) for state in State)
    state = State.VISIBLE if visible else State.HELD if held else State.REJECTED
    clears = [v.until for v in verdicts if not v.visible and v.until is not None]
    mixed = visible and visible < len(verdicts)
    return VersionWords(
        version=version,
        state=state,
        sentence=f"{visible} of {len(verdicts)} files visible; another is {first}" if mixed else first,
        clears_at=iso(min(clears, default=None)),
        visible=visible,
        held=held,
        rejected=rejected,
        files=tuple(files),
        next_file=next_file,
    )


def said(decision: Decision, now: Microseconds, revert: Decision | None = None) -> Said:
    """A decision and whether it still counts. ``revert``: the one that took it back."""
    if revert is not None:
        standing = "reverted"
    elif decision.expires_at is not None and decision.expires_at <= now:
        standing = "expired"
    elif decision.kind is Kind.HOLD and decision.until is not None and decision.until <= now:
        standing = "over"
    else:
        standing = "in force"
    return Said(
        id=decision.id,
        kind=decision.kind,
        actor=decision.actor,
        reason=decision.reason,
        at=iso(decision.at),
        index=decision.index,
        version=decision.version,
        filename=decision.filename,
        sha256=decision.sha256,
        expires_at=iso(decision.expires_at),
        until=iso(decision.until),
        standing=standing,
        reverted_by=revert.actor if revert else None,
        reverted_at=iso(revert.at) if revert else None,
        revert_reason=revert.reason if revert else None,
    )


def summary(counts: Mapping[State, int], newest_visible: str | None) -> str:
    """Versions in words."""
    total = sum(counts.values())
    if not total:
        return "no version is known"
    parts = [f"{counts[state]} {state}" for state in (State.HELD, State.REJECTED) if counts.get(state)]
    versions = "version" if total == 1 else "versions"
    if not parts:
        words = f"all {total} versions are visible" if total > 1 else "its one version is visible"
    else:
        words = f"{counts.get(State.VISIBLE, 0)} of {total} {versions} visible, {', '.join(parts)}"
    return words + (f"; the newest visible is {newest_visible}" if newest_visible else "")


def newest_first(versions: Iterable[str]) -> list[str]:
    """Versions in order (PEP 440), newest first; behind them what it cannot read."""
    return sorted(versions, key=_place, reverse=True)


def near(wanted: str, known: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """Up to so many of the known versions on each side of one that is not known, newest first."""
    ordered = newest_first(known)
    newer = sum(_place(version) > _place(wanted) for version in ordered)
    return tuple(ordered[max(0, newer - count) : newer + count])


_NONE = Version("0")


@lru_cache(maxsize=8192)
def _place(version: str) -> tuple[bool, Version, str]:
    try:
        return True, Version(version), version
    except InvalidVersion:
        return False, _NONE, version
