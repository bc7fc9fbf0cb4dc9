"""Which policy a name has: the most specific rule wins, in whatever order they were written."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koschey.domain.policy import (
    DAY,
    LONGEST_HOLD_DAYS,
    Clock,
    Effect,
    Policy,
    PolicyRule,
    hold_days_problem,
    policy_for,
    specificity,
)

CHECKS = {"archive": Effect.REQUIRED, "size": Effect.REPORTED}
PATTERNS = ("*", "a*", "acme*", "acme-*", "acme-c?re", "acme-core", "other", "[ab]cme-core")
rules = st.lists(
    st.builds(
        PolicyRule,
        pattern=st.sampled_from(PATTERNS),
        hold_days=st.none() | st.sampled_from([0.0, 0.5, 7.0, 30.0]),
        clock=st.none() | st.sampled_from(Clock),
        checks=st.dictionaries(st.sampled_from(["archive", "size", "extra"]), st.sampled_from(Effect)),
    ),
    unique_by=lambda rule: rule.pattern,
    max_size=6,
)


def of(name: str, *some: PolicyRule) -> Policy:
    return policy_for(some, name, tolerance=0, checks=CHECKS)


@settings(max_examples=150, deadline=None)
@given(rules, st.randoms(use_true_random=False), st.sampled_from(["acme-core", "acme", "abacus", "zebra"]))
def test_the_order_in_which_rules_were_written_does_not_matter(
    some: list[PolicyRule], chance: object, name: str
) -> None:
    shuffled = list(some)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]

    assert of(name, *shuffled) == of(name, *some)


@settings(max_examples=150, deadline=None)
@given(rules, st.sampled_from(["acme-core", "acme", "abacus", "zebra"]))
def test_of_the_rules_that_match_and_say_something_the_most_specific_one_is_followed(
    some: list[PolicyRule], name: str
) -> None:
    policy = of(name, *some)
    matching = [rule for rule in some if fnmatchcase(name, rule.pattern)]

    days = [rule for rule in matching if rule.hold_days is not None]
    clocks = [rule for rule in matching if rule.clock is not None]
    expected_days = max(days, key=specificity).hold_days if days else 0.0
    assert policy.hold == round((expected_days or 0.0) * DAY)
    assert policy.clock is (max(clocks, key=specificity).clock if clocks else Clock.UPLOAD_TIME)
    for check in ("archive", "size", "extra"):
        said = [rule for rule in matching if check in rule.checks]
        effect = max(said, key=specificity).checks[check] if said else CHECKS.get(check)
        assert (check in policy.required) is (effect is Effect.REQUIRED)
        assert (check in policy.off) is (effect is Effect.OFF)


def test_a_plain_name_outranks_every_glob_and_a_longer_glob_a_shorter_one() -> None:
    ordered = ["*", "a*", "acme-*", "acme-c?re", "acme-core"]
    mixed = [ordered[place] for place in (4, 1, 3, 0, 2)]

    assert sorted(mixed, key=lambda pattern: specificity(PolicyRule(pattern=pattern))) == ordered


def test_what_a_rule_leaves_open_a_less_specific_one_says() -> None:
    policy = of(
        "acme-core",
        PolicyRule(pattern="acme-core", checks={"archive": Effect.OFF}),
        PolicyRule(pattern="acme-*", hold_days=0.5),
        PolicyRule(pattern="*", hold_days=7, clock=Clock.FIRST_SEEN),
    )

    assert (policy.hold, policy.clock) == (DAY // 2, Clock.FIRST_SEEN)
    assert (policy.required, policy.off) == (frozenset(), {"archive"})
    assert policy.patterns == ("*", "acme-*", "acme-core")


def test_a_rule_for_another_name_says_nothing() -> None:
    rule = PolicyRule(pattern="acme-*", hold_days=30)

    assert of("acme", rule) == Policy(hold=0, tolerance=0, required=frozenset({"archive"}))


@pytest.mark.parametrize("days", [0, 0.001, 7, LONGEST_HOLD_DAYS])
def test_days_of_hold_may_be_any_number_from_none_to_a_century(days: float) -> None:
    assert hold_days_problem(days) is None


@pytest.mark.parametrize("days", [-0.1, float("nan"), float("inf"), LONGEST_HOLD_DAYS + 1])
def test_other_days_of_hold_are_refused_in_words(days: float) -> None:
    assert "from 0 to 36500" in (hold_days_problem(days) or "")
