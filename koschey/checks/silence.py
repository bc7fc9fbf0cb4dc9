"""A release after years without one: the name may have a new owner."""

from __future__ import annotations

from koschey.checks.comparison import earlier_version
from koschey.checks.subject import Subject
from koschey.domain.checks import Finding, Outcome
from koschey.domain.policy import DAY

_NAME = "silence"
_YEAR = 365 * DAY
_SHORTEST = {Outcome.FAIL: 2 * _YEAR, Outcome.WARN: _YEAR}


def check(subject: Subject) -> Finding:
    """Fails after two years, warns after one."""
    previous = subject.previous
    if previous is None or previous.upload_time is None:
        return Finding(_NAME, Outcome.PASS, "no earlier release with a date to compare with")
    seen = subject.first_seen  # nothing was uploaded later than that, whatever its upstream says
    uploaded = seen if subject.upload_time is None else min(subject.upload_time, seen)
    gap = uploaded - previous.upload_time
    for outcome, shortest in _SHORTEST.items():
        if gap >= shortest:
            return Finding(
                _NAME,
                outcome,
                f"the first release in {gap / _YEAR:.1f} years; {earlier_version(subject)} came before",
            )
    return Finding(_NAME, Outcome.PASS, f"{max(gap, 0) // DAY} days after {earlier_version(subject)}")
