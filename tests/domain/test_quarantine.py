"""The rules of the quarantine, each a sentence about ``decide`` that no case may contradict."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from koschey.domain.checks import Outcome, summary
from koschey.domain.decisions import NONE, Decision, Decisions, Kind
from koschey.domain.policy import Clock, Policy
from koschey.domain.quarantine import (
    Mark,
    Rule,
    State,
    Verdict,
    Withdrawal,
    clock_start,
    decide,
    needs_review,
    wants_checks,
)

HOUR = 3_600_000_000
OURS, OTHER = "a" * 64, "b" * 64
BAD = (Outcome.FAIL, Outcome.ERROR)

SEEN = 100 * HOUR
"""When the files below were first seen."""
#: Few different spans, so that what the rules compare is often equal or just beside each other.
SPANS = [hours * HOUR + off for hours in (0, 1, 2, 3, 5, 6, 10, 20, 30) for off in (0, 1, -1)]
quick = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


@dataclass(frozen=True)
class File:
    filename: str = "sample-1.0.tar.gz"
    version: str | None = "1.0"
    sha256: str | None = OURS
    upload_time: int | None = None
    first_seen: int = 0
    previous_look: int | None = None
    withdrawn_at: int | None = None


@dataclass(frozen=True)
class Case:
    """Everything that ``decide`` is told."""

    file: File
    policy: Policy
    answers: dict[str, Outcome]
    decisions: tuple[Decision, ...]
    now: int
    withdrawal: Withdrawal = Withdrawal.NONE

    @property
    def verdict(self) -> Verdict:
        decisions = Decisions(self.decisions)
        return decide(self.file, self.policy, summary(self.answers), decisions, self.now, self.withdrawal)

    def having(self, **changes: Any) -> Case:
        return replace(self, **changes)

    def also(self, kind: Kind, **values: Any) -> Case:
        """With one more decision, the latest."""
        return replace(self, decisions=(*self.decisions, decision(len(self.decisions) + 1, kind, **values)))

    @property
    def bad(self) -> bool:
        """Whether a required check failed or crashed."""
        return any(self.answers.get(check) in BAD for check in self.policy.required)

    @property
    def unanswered(self) -> bool:
        return not self.policy.required <= self.answers.keys()

    @property
    def held_on_arrival(self) -> bool:
        return clock_start(self.file, self.policy)[0] + self.policy.hold > self.file.first_seen

    def kinds(self) -> set[Kind]:
        return {decision.kind for decision in self.decisions}


def decision(number: int, kind: Kind, **values: Any) -> Decision:
    given = {"at": 0, "actor": "rena", "reason": "looked at it", "sha256": None}
    given |= {"sha256": OURS} if kind is Kind.APPROVE else {}
    return Decision(id=number, kind=kind, **(given | values))


FILE = File(upload_time=0, first_seen=0)

# One draw for each part of a case: what has many small ones takes long to make.
files = st.sampled_from(
    [
        File(sha256=sha256, upload_time=claimed, first_seen=SEEN, previous_look=look, withdrawn_at=withdrawn)
        for withdrawn in (None, None, SEEN + HOUR)
        for sha256 in (OURS, OURS, None)
        for look in (None, *(SEEN - span for span in SPANS if span >= 0))
        for claimed in (None, *(SEEN - span for span in SPANS), SEEN + HOUR)
    ]
)
policies = st.sampled_from(
    [
        Policy(hold=hold, clock=clock, tolerance=tolerance, required=frozenset(required))
        for required in ((), ("archive",), ("record",), ("archive", "record"))
        for hold in (0, 1, HOUR, 5 * HOUR, 20 * HOUR)
        for clock in Clock
        for tolerance in (0, 2 * HOUR)
    ]
)
answers = st.sampled_from(
    [
        {check: outcome for check, outcome in (("archive", one), ("record", two)) if outcome is not None}
        for one in (Outcome.PASS, *Outcome, None)
        for two in (Outcome.PASS, *Outcome, None)
    ]
)
moments = st.sampled_from([SEEN + span for span in SPANS if span >= 0])
_decided = [
    {"kind": kind, "at": at, "expires_at": expires, **scope, **({"until": until} if until else {})}
    for kind in Kind
    if kind is not Kind.REVERT
    for expires in (None, *(SEEN + span for span in SPANS[::2]))
    for at in (SEEN - HOUR, SEEN, SEEN + HOUR)
    for until in ((None, *(SEEN + span for span in SPANS[::2])) if kind is Kind.HOLD else (None,))
    for scope in ({}, {"version": "1"}, {"filename": "sample-1.0.tar.gz", "sha256": OURS})
]
kinds = st.sampled_from([kind for kind in Kind if kind is not Kind.REVERT])


def said(*of: Kind, endless: bool = False) -> st.SearchStrategy[tuple[Decision, ...]]:
    """Decisions about the file, numbered as they came."""
    made = [values for values in _decided if not of or values["kind"] in of]
    made = [values for values in made if not (endless and values["expires_at"])]
    drawn = st.lists(st.sampled_from(made), max_size=4)
    return drawn.map(lambda some: tuple(decision(number, **one) for number, one in enumerate(some, 1)))


def cases(decisions: Any = None, **parts: Any) -> st.SearchStrategy[Case]:
    parts = {
        "file": files,
        "policy": policies,
        "answers": answers,
        "decisions": said() if decisions is None else decisions,
        "now": moments,
        "withdrawal": st.sampled_from([Withdrawal.NONE, Withdrawal.NONE, Withdrawal.DELETED]),
    } | parts
    return st.builds(Case, **parts)


standing = st.just(Withdrawal.NONE)
undecided = st.just(())
claims = files.map(lambda file: file.upload_time)
endless = said(endless=True)


@quick
@given(cases())
def test_a_reject_outranks_everything_else(case: Case) -> None:
    rejected = case.also(Kind.REJECT).verdict

    assert (rejected.state, rejected.rule) == (State.REJECTED, Rule.REJECT)


@quick
@given(cases(withdrawal=st.sampled_from([w for w in Withdrawal if w is not Withdrawal.NONE])))
def test_what_the_upstream_took_back_is_hidden_whatever_was_approved_or_trusted(case: Case) -> None:
    wanted = case.also(Kind.APPROVE).also(Kind.TRUST).also(Kind.BASELINE, at=case.now)

    assert case.verdict.state is State.REJECTED
    assert wanted.verdict.state is State.REJECTED


@quick
@given(cases(withdrawal=standing), moments)
def test_a_file_that_was_withdrawn_is_hidden_whatever_was_approved_or_trusted(case: Case, at: int) -> None:
    gone = case.having(file=replace(case.file, withdrawn_at=at)).also(Kind.APPROVE).also(Kind.TRUST)

    assert gone.verdict.state is State.REJECTED


@quick
@given(cases(withdrawal=standing))
def test_only_an_approve_shows_a_file_with_a_failed_or_crashed_check(case: Case) -> None:
    assume(case.bad)
    trusted = case.also(Kind.TRUST).also(Kind.BASELINE, at=case.now)

    for verdict in (case.verdict, trusted.verdict):
        assert not verdict.visible or verdict.rule is Rule.APPROVE


@quick
@given(cases())
def test_an_approve_shows_a_file_only_when_no_later_hold_of_a_person_stands(case: Case) -> None:
    verdict = case.verdict
    assume(verdict.rule is Rule.APPROVE)

    assert verdict.decision is not None
    for other in case.decisions:
        if other.kind is Kind.HOLD and other.id > verdict.decision.id:
            assert any(end is not None and end <= case.now for end in (other.until, other.expires_at))


@quick
@given(cases(withdrawal=standing, decisions=said(Kind.TRUST, Kind.HOLD)))
def test_a_missing_answer_never_releases_what_was_held_on_arrival(case: Case) -> None:
    assume(case.unanswered and case.held_on_arrival)

    assert case.verdict.state is not State.VISIBLE


@quick
@given(cases(withdrawal=standing, decisions=undecided, answers=st.just({})))
def test_trust_takes_the_place_of_time_and_of_no_check(case: Case) -> None:
    assume(case.held_on_arrival and case.file.withdrawn_at is None)

    trusted = case.also(Kind.TRUST)

    assert trusted.verdict.visible is not case.unanswered
    answered = trusted.having(answers=dict.fromkeys(case.policy.required, Outcome.WARN))
    assert answered.verdict.visible


@quick
@given(cases())
def test_a_hold_of_a_person_outranks_trust_baseline_and_time(case: Case) -> None:
    held = case.also(Kind.TRUST).also(Kind.BASELINE, at=case.now).also(Kind.HOLD)

    assert not held.verdict.visible


@quick
@given(cases(decisions=endless), moments)
def test_what_is_visible_stays_visible_as_time_goes_by(case: Case, later: int) -> None:
    assume(later >= case.now and case.verdict.visible)

    assert case.having(now=later).verdict.visible


@settings(quick, max_examples=400)
@example(  # an approve counts again when the later hold ends
    Case(
        File(upload_time=0, first_seen=0),
        Policy(hold=0, required=frozenset({"archive"})),
        {"archive": Outcome.FAIL},
        (decision(1, Kind.APPROVE), decision(2, Kind.HOLD, until=5 * HOUR)),
        now=HOUR,
    ),
    6 * HOUR,
)
@example(  # a trust that ends before the hold does, while an answer is missing
    Case(
        File(upload_time=0, first_seen=0),
        Policy(hold=20 * HOUR, required=frozenset({"archive"})),
        {},
        (decision(1, Kind.TRUST, expires_at=5 * HOUR),),
        now=HOUR,
    ),
    6 * HOUR,
)
@example(  # a baseline that expires before the hold does
    Case(
        File(upload_time=0, first_seen=0),
        Policy(hold=20 * HOUR),
        {},
        (decision(1, Kind.BASELINE, at=HOUR, expires_at=5 * HOUR),),
        now=HOUR,
    ),
    6 * HOUR,
)
@given(cases(), moments)
def test_until_a_verdict_ends_it_stays_what_it_is(case: Case, later: int) -> None:
    verdict = case.verdict
    assume(later > case.now)
    assume(verdict.until is None or later < verdict.until)

    after = case.having(now=later).verdict

    assert after.state is verdict.state
    if not verdict.visible:  # the queue says why
        assert (after.rule, after.until) == (verdict.rule, verdict.until)


@quick
@given(cases())
def test_a_verdict_ends_in_the_future_or_by_an_event(case: Case) -> None:
    assert case.verdict.until is None or case.verdict.until > case.now


@quick
@given(cases())
def test_an_approve_of_other_bytes_changes_nothing(case: Case) -> None:
    approved = case.also(Kind.APPROVE, sha256=OTHER)

    assert approved.verdict == case.verdict


@quick
@given(cases().filter(lambda case: case.file.sha256 is None))
def test_bytes_that_nobody_knows_are_not_approved(case: Case) -> None:
    assert case.also(Kind.APPROVE).verdict == case.verdict
    assert case.also(Kind.APPROVE, sha256=None).verdict == case.verdict


@quick
@given(cases(), kinds, moments)
def test_what_has_expired_changes_nothing(case: Case, kind: Kind, at: int) -> None:
    assume(at <= case.now)

    assert case.also(kind, expires_at=at).verdict == case.verdict


@quick
@given(
    cases(decisions=undecided, withdrawal=standing, policy=policies.filter(lambda policy: policy.hold == 0))
)
def test_without_days_nothing_is_held_for_time_or_for_an_answer_that_is_not_there_yet(case: Case) -> None:
    verdict = case.having(file=replace(case.file, withdrawn_at=None)).verdict

    assert verdict.visible is not case.bad


@quick
@given(cases(decisions=undecided), claims)
def test_no_forged_date_releases_a_file_before_the_previous_look_allows(
    case: Case, claimed: int | None
) -> None:
    """``previous look - tolerance`` is the earliest that an honest page could have had it without us."""
    forged = replace(case.file, upload_time=claimed)
    assume(forged.previous_look is not None)
    assert forged.previous_look is not None

    earliest = min(forged.first_seen, forged.previous_look - case.policy.tolerance) + case.policy.hold

    assert clock_start(forged, case.policy)[0] + case.policy.hold >= earliest
    if case.now < earliest:
        assert not case.having(file=forged).verdict.visible


@quick
@given(cases(decisions=undecided), claims)
def test_no_forged_date_gains_more_than_the_tolerance_where_the_project_was_just_looked_at(
    case: Case, claimed: int | None
) -> None:
    file = replace(case.file, upload_time=claimed, previous_look=case.file.first_seen - 1)

    assert clock_start(file, case.policy)[0] >= file.first_seen - 1 - case.policy.tolerance


@quick
@given(files, policies)
def test_a_hold_never_begins_after_the_file_was_seen(file: File, policy: Policy) -> None:
    assert clock_start(file, policy)[0] <= file.first_seen


@quick
@given(files, policies)
def test_the_strict_clock_begins_when_the_file_was_seen_whatever_it_claims(
    file: File, policy: Policy
) -> None:
    strict = Policy(hold=policy.hold, clock=Clock.FIRST_SEEN, tolerance=policy.tolerance)

    assert clock_start(file, strict)[0] == file.first_seen


@quick
@given(cases(decisions=undecided, withdrawal=standing))
def test_what_is_held_for_time_is_visible_at_the_very_moment_that_was_announced(case: Case) -> None:
    """No earlier, and not a microsecond later, where its checks have passed."""
    verdict = case.verdict
    assume(verdict.rule is Rule.TIME and not verdict.visible)
    assert verdict.until is not None

    passed = case.having(answers=dict.fromkeys(case.policy.required, Outcome.PASS))

    assert not passed.having(now=verdict.until - 1).verdict.visible
    assert passed.having(now=verdict.until).verdict.visible


@settings(quick, max_examples=400)
@example(  # a person's hold that runs out before the policy's
    Case(FILE, Policy(hold=20 * HOUR), {}, (decision(1, Kind.HOLD, until=5 * HOUR),), now=HOUR),
    6 * HOUR,
)
@example(  # the earlier hold is the longer one
    Case(
        FILE,
        Policy(hold=0),
        {},
        (decision(1, Kind.HOLD, until=20 * HOUR), decision(2, Kind.HOLD, until=5 * HOUR)),
        now=HOUR,
    ),
    6 * HOUR,
)
@example(  # a rejection that expires, and a check that failed
    Case(
        FILE,
        Policy(hold=0, required=frozenset({"archive"})),
        {"archive": Outcome.FAIL},
        (decision(1, Kind.REJECT, expires_at=5 * HOUR),),
        now=HOUR,
    ),
    6 * HOUR,
)
@given(cases(), moments)
def test_what_is_hidden_is_visible_when_it_is_said_to_clear_and_not_before(case: Case, later: int) -> None:
    verdict = case.verdict
    assume(later >= case.now and verdict.state is not State.VISIBLE)
    unanswered = case.policy.required - case.answers.keys()
    passed = case.having(answers=case.answers | dict.fromkeys(unanswered, Outcome.PASS))

    if verdict.clears is not None:
        assert passed.having(now=verdict.clears).verdict.visible
    if verdict.clears is None or later < verdict.clears:
        assert not case.having(now=later).verdict.visible
    assert case.verdict.clears is None or case.verdict.until is not None


@quick
@given(cases(withdrawal=standing), moments)
def test_of_two_rejections_the_longer_one_is_named(case: Case, at: int) -> None:
    assume(at > case.now)
    for ends in ((at, None), (None, at)):
        both = case.having(decisions=()).also(Kind.REJECT, expires_at=ends[0])
        assert both.also(Kind.REJECT, expires_at=ends[1]).verdict.until is None


@quick
@given(cases(withdrawal=standing))
def test_what_is_held_has_a_way_out(case: Case) -> None:
    """Time, an answer that is still to come, or a reviewer."""
    verdict = case.verdict
    assume(verdict.state is State.HELD)

    assert verdict.until is not None or needs_review(verdict) or verdict.rule is Rule.MISSING_CHECK
    if verdict.rule is Rule.MISSING_CHECK:
        assert case.unanswered and wants_checks(case.file, case.policy)


@quick
@given(cases())
def test_what_may_be_held_for_a_missing_answer_is_checked_without_being_asked_for(case: Case) -> None:
    if case.held_on_arrival:
        assert wants_checks(case.file, case.policy)


@quick
@given(cases(withdrawal=standing))
def test_an_approve_shows_everything_that_is_there_and_not_rejected(case: Case) -> None:
    assume(case.file.sha256 is not None and case.file.withdrawn_at is None)
    assume(case.verdict.rule is not Rule.REJECT)

    assert case.also(Kind.APPROVE).verdict.rule is Rule.APPROVE


@quick
@given(cases(withdrawal=standing))
def test_trust_never_hides(case: Case) -> None:
    assume(case.verdict.visible)

    assert case.also(Kind.TRUST).verdict.visible
    assert case.also(Kind.BASELINE, at=case.now).verdict.visible


@quick
@given(cases(), st.sampled_from(["archive", "record"]), st.sampled_from(BAD))
def test_a_failed_check_never_shows_what_was_hidden(case: Case, check: str, outcome: Outcome) -> None:
    assume(not case.verdict.visible)

    assert not case.having(answers=case.answers | {check: outcome}).verdict.visible


FRESH = File(upload_time=10 * HOUR, first_seen=12 * HOUR)
WEEK = Policy(hold=7 * 24 * HOUR, tolerance=6 * HOUR)


def test_an_old_file_is_visible_on_the_first_pull_without_a_check() -> None:
    old = File(upload_time=0, first_seen=8 * 24 * HOUR)
    policy = Policy(hold=WEEK.hold, required=frozenset({"archive"}))

    assert decide(old, policy, None, NONE, old.first_seen).visible


def test_a_late_wheel_of_an_old_release_has_its_own_clock() -> None:
    late = File(upload_time=99 * HOUR, first_seen=100 * HOUR, previous_look=98 * HOUR)

    assert clock_start(late, WEEK) == (99 * HOUR, Mark.NONE)


def test_a_back_dated_file_counts_from_when_it_was_seen() -> None:
    back_dated = File(upload_time=0, first_seen=100 * HOUR, previous_look=99 * HOUR)

    assert clock_start(back_dated, WEEK) == (100 * HOUR, Mark.BACK_DATED)


def test_a_page_may_lag_behind_its_files_by_the_tolerance_and_no_more() -> None:
    lagging = File(upload_time=93 * HOUR, first_seen=100 * HOUR, previous_look=99 * HOUR)

    assert clock_start(lagging, WEEK) == (93 * HOUR, Mark.NONE)
    assert clock_start(replace(lagging, upload_time=93 * HOUR - 1), WEEK) == (100 * HOUR, Mark.BACK_DATED)


def test_an_undated_file_and_one_from_the_future_count_from_when_they_were_seen() -> None:
    undated = replace(FRESH, upload_time=None)
    future = replace(FRESH, upload_time=13 * HOUR)
    skewed = replace(FRESH, upload_time=12 * HOUR + 60_000_000)

    assert clock_start(undated, WEEK) == (12 * HOUR, Mark.UNDATED)
    assert clock_start(future, WEEK) == (12 * HOUR, Mark.FUTURE_DATED)
    assert clock_start(skewed, WEEK) == (12 * HOUR, Mark.NONE), "two honest clocks differ by a minute"


def test_a_baseline_accepts_what_was_seen_by_then_and_nothing_after() -> None:
    accepted = Decisions([decision(1, Kind.BASELINE, at=12 * HOUR)])
    later = replace(FRESH, first_seen=12 * HOUR + 1)

    assert decide(FRESH, WEEK, None, accepted, 13 * HOUR).rule is Rule.BASELINE
    assert decide(later, WEEK, None, accepted, 13 * HOUR).state is State.HELD


def test_an_extended_hold_ends_when_it_was_said_to() -> None:
    old = File(upload_time=0, first_seen=8 * 24 * HOUR)
    extended = Decisions([decision(1, Kind.HOLD, until=old.first_seen + HOUR)])

    verdict = decide(old, WEEK, None, extended, old.first_seen)

    assert (verdict.rule, verdict.until) == (Rule.HOLD, old.first_seen + HOUR)
    assert decide(old, WEEK, None, extended, old.first_seen + HOUR).visible
