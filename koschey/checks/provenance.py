"""Provenance (PEP 740) that the version before had and this file has not."""

from __future__ import annotations

from koschey.checks.comparison import earlier_version
from koschey.checks.subject import Subject
from koschey.domain.checks import Finding, Outcome

_NAME = "provenance"


def check(subject: Subject) -> Finding:
    """Fails when it was lost: whoever stole a password, and not the build, cannot attest."""
    if subject.provenance:
        return Finding(_NAME, Outcome.PASS, "it says which build it comes from")
    if subject.previous is not None and subject.previous.provenance:
        return Finding(
            _NAME,
            Outcome.FAIL,
            f"{earlier_version(subject)} said which build it came from, this file does not",
        )
    return Finding(_NAME, Outcome.PASS, "none, and none before")
