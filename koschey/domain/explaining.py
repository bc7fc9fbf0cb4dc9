"""Verdicts, policies and decisions put into the plain values of ``koschey.domain.why``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Protocol

from msgspec.structs import replace
from packaging.version import InvalidVersion, Version

from koschey.domain.checks import outcomes
from koschey.domain.decisions import Decision, Kind
from koschey.domain.explanation import days, instant, iso, named_checks, sentence
from koschey.domain.page import Microseconds
from koschey.domain.policy import DAY, Clock, Effect, Policy
from koschey.domain.quarantine import (
    JudgedFile,
    Rule,
    State,
    Verdict,
    clock_start,
    needs_review,
    wants_checks,
)
from koschey.domain.why import Answer, Explanation, FileWords, PolicyWords, Said, VersionWords


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
    @property
    def size(self) -> int | None: ...
    @property
    def sha256(self) -> str | None: ...
    @property
    def provenance_url(self) -> str | None: ...
    @property
    def provenance_sha256(self) -> str | None: ...


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
    given = {check: outcome.value for check, outcome in outcomes(file.checks).items()}
    hidden = not verdict.visible
    # What was old enough when it was first seen needs no check, and what is young gets them anyhow.
    missing = policy.required - given.keys() if wants_checks(file, policy) else frozenset[str]()
    waits_for = tuple(sorted(missing)) if hidden and start + policy.hold > file.first_seen else ()
    return FileWords(
        filename=file.filename,
        state=verdict.state,
        rule=verdict.rule,
        sentence=sentence(verdict, policy, now),
        clears_at=iso(verdict.clears),
        visible_until=None if hidden else iso(verdict.until),
        ends=_ending(verdict, waits_for) if hidden else "",
        review=needs_review(verdict),
        waits_for=waits_for,
        upload_time=iso(file.upload_time),
        first_seen=iso(file.first_seen),
        previous_look=iso(file.previous_look),
        clock_start=iso(start),
        mark=mark,
        hold_ends=iso(start + policy.hold),
        withdrawn_at=iso(file.withdrawn_at),
        requires_python=file.requires_python,
        yanked=file.yanked_reason or bool(file.yanked),
        size=file.size,
        sha256=file.sha256,
        provenance="kept" if file.provenance_sha256 else "offered" if file.provenance_url else "none",
        checks=_answers(answers, given, missing, policy),
    )


def for_readers(why: Explanation) -> Explanation:
    """The same without the digests of hidden files: whoever may not have a file has no use for its digest."""
    versions = []
    for version in why.versions:
        files = [
            file if file.state is State.VISIBLE else replace(file, sha256=None) for file in version.files
        ]
        versions.append(replace(version, files=tuple(files)))
    return replace(why, versions=tuple(versions))


def _ending(verdict: Verdict, waits_for: tuple[str, ...]) -> str:
    checks = named_checks(waits_for)
    if verdict.clears is not None:
        end = f"by itself on {instant(verdict.clears)}"
        return f"{end}, if it has passed the {checks} by then" if waits_for else end
    if verdict.rule is Rule.MISSING_CHECK:
        return f"when it has passed the {checks}"
    if verdict.until is not None:
        return "when a person decides"  # what expires leaves it to somebody
    return {
        Rule.REJECT: "when a person takes the rejection back",
        Rule.WITHDRAWN: "when the upstream lists it again",
    }.get(verdict.rule, "when a person decides")


#: What stands against a file comes first.
_ORDER = {"fail": 0, "error": 1, None: 2, "warn": 3, "pass": 4}


def _answers(
    answers: Mapping[str, tuple[str, str, Microseconds]],
    given: Mapping[str, str],
    missing: Iterable[str],
    policy: Policy,
) -> tuple[Answer, ...]:
    """Each check that answered or has to."""

    def answer(check: str) -> Answer:
        required = check in policy.required
        effect = Effect.REQUIRED if required else Effect.OFF if check in policy.off else Effect.REPORTED
        if check not in answers:
            return Answer(check=check, effect=effect, outcome=given.get(check))
        outcome, reason, at = answers[check]
        return Answer(check=check, effect=effect, outcome=outcome, reason=reason, at=iso(at))

    found = [answer(check) for check in sorted({*answers, *given, *missing})]
    return tuple(sorted(found, key=lambda one: _ORDER[one.outcome]))


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
    clears = [v.clears for v in verdicts if v.clears is not None]
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
