"""What checks answer, and the short form in which a file carries its latest answers.

A file's answers are kept one by one; beside them its row has them as one short text
(``archive=pass metadata=warn``), because a page of 6,000 files must not read 60,000 rows. Few such texts
differ, so what follows from one is remembered.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache

import msgspec


class Outcome(StrEnum):
    """What a check says of a file."""

    PASS = "pass"  # noqa: S105 - no password
    WARN = "warn"
    FAIL = "fail"
    ERROR = "error"  # it crashed or took too long: not passed


class Finding(msgspec.Struct, frozen=True):
    """One check's answer about one file, with a reason that a reviewer understands."""

    check: str
    outcome: Outcome
    reason: str = ""


class Answers(msgspec.Struct, frozen=True):
    """What a policy makes of a file's answers: names of required checks, in order."""

    failed: tuple[str, ...] = ()
    """Answered ``fail`` or ``error``."""
    missing: tuple[str, ...] = ()
    """Not answered yet."""
    decisive: tuple[str, ...] = ()
    """Those of ``failed`` that say why: what answered ``fail``; where nothing did, ``error``."""
    undone: bool = False
    """Whether something failed, and only by ``error``: nothing is known against the file itself."""


def summary(outcomes: Mapping[str, Outcome]) -> str:
    """The short form: in order of name, so that equal answers have equal texts."""
    return " ".join(f"{check}={outcomes[check].value}" for check in sorted(outcomes))


@lru_cache(maxsize=4096)
def outcomes(text: str | None) -> Mapping[str, Outcome]:
    """What a short form says."""
    pairs = (entry.rpartition("=") for entry in (text or "").split())
    return {check: Outcome(outcome) for check, _, outcome in pairs}


@lru_cache(maxsize=8192)
def judged(text: str | None, required: frozenset[str]) -> Answers:
    """What of the answers in a short form stands against a file whose policy requires those checks."""
    said = outcomes(text)
    against = tuple(sorted(check for check in required if said.get(check) is Outcome.FAIL))
    undone = tuple(sorted(check for check in required if said.get(check) is Outcome.ERROR))
    return Answers(
        failed=tuple(sorted(against + undone)),
        missing=tuple(sorted(required - said.keys())),
        decisive=against or undone,
        undone=bool(undone and not against),
    )
