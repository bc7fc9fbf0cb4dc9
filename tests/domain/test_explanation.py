"""A verdict in words: true, in one line, the same everywhere."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from koschey.domain.decisions import NONE, Decision, Decisions, Kind
from koschey.domain.explanation import age, days, moment, sentence
from koschey.domain.policy import DAY, Clock, Policy
from koschey.domain.quarantine import Withdrawal, decide

HOUR = DAY // 24


@dataclass(frozen=True)
class File:
    filename: str = "sample-1.0.tar.gz"
    version: str | None = "1.0"
    sha256: str | None = "1" * 64
    upload_time: int | None = None
    first_seen: int = 0
    previous_look: int | None = None
    withdrawn_at: int | None = None


#: 2026-11-21T12:00:00Z
SEEN = 20_778 * DAY + DAY // 2
WEEK = Policy(hold=7 * DAY, tolerance=6 * HOUR, required=frozenset({"archive", "record"}))
FRESH = File(upload_time=SEEN - 2 * DAY, first_seen=SEEN, previous_look=SEEN - 3 * DAY)


def said(kind: Kind, **values: object) -> Decisions:
    sha256 = FRESH.sha256 if kind is Kind.APPROVE else None
    given = {"id": 1, "at": SEEN, "actor": "rena", "reason": "read the diff", "sha256": sha256} | values
    return Decisions([Decision(kind=kind, **given)])  # type: ignore[arg-type]


def words(
    file: File,
    checks: str = "archive=pass record=pass",
    *,
    decisions: Decisions = NONE,
    now: int = SEEN,
    withdrawal: Withdrawal = Withdrawal.NONE,
) -> str:
    return sentence(decide(file, WEEK, checks, decisions, now, withdrawal), WEEK, now)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (FRESH, "held until 2026-11-26: released 2 days ago, hold is 7 days"),
        (
            replace(FRESH, upload_time=SEEN - 30 * DAY),
            "held until 2026-11-28: first seen less than a minute ago and back-dated (it says that it is "
            "older), hold is 7 days",
        ),
        (
            replace(FRESH, upload_time=SEEN + DAY),
            "held until 2026-11-28: first seen less than a minute ago and dated in the future, "
            "hold is 7 days",
        ),
        (
            replace(FRESH, upload_time=None),
            "held until 2026-11-28: first seen less than a minute ago (its upstream gives no date), "
            "hold is 7 days",
        ),
        (replace(FRESH, withdrawn_at=SEEN), "the file was withdrawn upstream"),
        (replace(FRESH, upload_time=SEEN - 8 * DAY, previous_look=None), "visible: its hold is over"),
    ],
)
def test_a_file_is_held_or_shown_in_these_words(file: File, expected: str) -> None:
    assert words(file) == expected


def test_within_two_days_the_time_of_day_is_told() -> None:
    assert words(FRESH, now=SEEN + 4 * DAY).startswith(
        "held until 2026-11-26 12:00:00 UTC: released 6 days ago"
    )


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        ("archive=fail record=pass", "held for review: failed check archive"),
        ("archive=fail record=fail", "held for review: failed checks archive, record"),
        ("archive=error record=pass", "held for review: check archive could not be done"),
        ("archive=error record=error", "held for review: checks archive, record could not be done"),
    ],
)
def test_a_failed_or_crashed_check_is_named(checks: str, expected: str) -> None:
    assert words(FRESH, checks=checks) == expected


def test_what_failed_is_named_and_not_what_could_not_be_done_because_of_it() -> None:
    assert words(FRESH, checks="archive=error record=fail") == "held for review: failed check record"


@pytest.mark.parametrize(
    ("count", "expected"),
    [(4, "a, b, c, d not"), (5, "a, b, c and 2 more not"), (9, "a, b, c and 6 more not")],
)
def test_a_line_names_a_few_checks_and_counts_the_rest(count: int, expected: str) -> None:
    policy = Policy(hold=WEEK.hold, required=frozenset("abcdefghi"[:count]))
    late = SEEN + 8 * DAY

    said = sentence(decide(FRESH, policy, None, NONE, late), policy, late)

    assert said == f"held until it is checked: checks {expected} passed yet"


def test_by_the_strict_clock_an_old_file_is_not_said_to_be_released_just_now() -> None:
    strict = Policy(hold=7 * DAY, clock=Clock.FIRST_SEEN)
    old = replace(FRESH, upload_time=SEEN - 3000 * DAY, previous_look=None)

    said = sentence(decide(old, strict, None, NONE, SEEN + HOUR), strict, SEEN + HOUR)

    assert said == "held until 2026-11-28: first seen 1 hour ago, hold is 7 days"


def test_a_missing_check_is_named_once_the_hold_is_over() -> None:
    late = words(FRESH, checks="archive=pass", now=SEEN + 8 * DAY)

    assert late == "held until it is checked: check record not passed yet"


@pytest.mark.parametrize(
    ("decisions", "expected"),
    [
        (said(Kind.APPROVE), "visible: approved by rena: read the diff"),
        (said(Kind.TRUST), "visible: project trusted by rena: read the diff"),
        (said(Kind.BASELINE), "visible: accepted as it was by rena: read the diff"),
        (said(Kind.REJECT), "rejected by rena: read the diff"),
        (said(Kind.HOLD), "held until review by rena: read the diff"),
        (said(Kind.HOLD, until=SEEN + 9 * DAY), "held until 2026-11-30 by rena: read the diff"),
        (
            said(Kind.HOLD, until=SEEN + 3 * DAY),
            "held until 2026-11-24 by rena: read the diff, then held until 2026-11-26",
        ),
        (
            said(Kind.REJECT, expires_at=SEEN + 9 * DAY),
            "rejected until 2026-11-30 by rena: read the diff",
        ),
    ],
)
def test_who_decided_is_named_with_the_reason(decisions: Decisions, expected: str) -> None:
    assert words(FRESH, decisions=decisions) == expected


def test_a_decision_that_ends_and_leaves_it_to_a_person_says_so() -> None:
    said_so = words(FRESH, checks="archive=fail", decisions=said(Kind.REJECT, expires_at=SEEN + 9 * DAY))

    assert said_so == "rejected until 2026-11-30 by rena: read the diff, then held until review"


@pytest.mark.parametrize("withdrawal", [w for w in Withdrawal if w is not Withdrawal.NONE])
def test_what_the_upstream_took_back_is_told(withdrawal: Withdrawal) -> None:
    assert words(FRESH, withdrawal=withdrawal) == withdrawal.value


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (0, "less than a minute"),
        (60 * 10**6, "1 minute"),
        (HOUR, "1 hour"),
        (47 * HOUR, "1 day"),
        (2 * DAY, "2 days"),
    ],
)
def test_an_age_is_told_in_the_largest_whole_unit(span: int, expected: str) -> None:
    assert age(span) == expected


@pytest.mark.parametrize(
    ("span", "expected"),
    [(DAY, "1 day"), (round(1.5 * DAY), "1.5 days"), (12 * HOUR, "12 hours"), (8_640_000, "8.64 seconds")],
)
def test_a_hold_is_told_in_a_unit_that_fits(span: int, expected: str) -> None:
    assert days(span) == expected


def test_a_moment_is_utc() -> None:
    assert moment(SEEN, SEEN) == "2026-11-21 12:00:00 UTC"
