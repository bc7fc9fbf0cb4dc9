"""Names that a person could take for a private or widely used project's (``koschey.domain.lookalike``)."""

from __future__ import annotations

from koschey.checks.comparison import named
from koschey.checks.subject import Subject
from koschey.domain.checks import Finding, Outcome

_NAME = "name"


def check(subject: Subject) -> Finding:
    """Fails when the name resembles one that people know; old projects are not asked about."""
    if subject.resembles is None:
        return Finding(_NAME, Outcome.PASS, "not close to a private or widely used name, or long established")
    return Finding(
        _NAME,
        Outcome.FAIL,
        f"{named([subject.project])} could be mistaken for {named([subject.resembles])}",
    )
