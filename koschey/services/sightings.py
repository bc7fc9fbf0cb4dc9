"""What somebody saw of a version when they decided, so that nobody decides about what is not so any more."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from koschey.domain.checks import Outcome, outcomes, summary
from koschey.domain.decisions import canonical
from koschey.domain.explanation import age
from koschey.domain.quarantine import Verdict
from koschey.errors import Overtaken
from koschey.services.gate import decision_of
from koschey.services.known import KnownFile
from koschey.services.scope import Scope, selected
from koschey.services.sitting import Sitting

_DIGITS = 24


class Sighted(NamedTuple):
    """A file in an index, with the verdict on it."""

    index_name: str
    file: KnownFile
    verdict: Verdict


def sighting(sighted: Iterable[Sighted]) -> str:
    """A short mark of what is hidden of a version: files, bytes, why, and what checks have against them.

    What time alone changes in the words about them does not change it, nor does a check that passes.
    """
    parts = sorted(
        (
            seen.index_name,
            seen.file.filename,
            seen.file.sha256 or "",
            seen.verdict.state.value,
            seen.verdict.rule.value,
            0 if seen.verdict.decision is None else seen.verdict.decision.id,
            _against(seen.file),
        )
        for seen in sighted
        if not seen.verdict.visible
    )
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:_DIGITS]


def _against(file: KnownFile) -> str:
    said = outcomes(file.checks)
    return summary({check: said[check] for check in said if said[check] is not Outcome.PASS})


def refuse_overtaken(here: Sitting, scope: Scope, seen: str | None) -> None:
    """See that a version still is as it was seen, under the locks of the decision.

    What was seen is what all indexes hide of it, also when the decision is about one of them.

    Args:
        seen: its ``sighting``; None: whoever decides has not looked, and says so by that.

    Raises:
        Overtaken: somebody decided meanwhile, a check answered, a file came, or it is visible by now.
    """
    if seen is None:
        return
    sighted = (
        Sighted(index, file, verdict)
        for file in selected(here, scope, everywhere=True)
        for index, verdict in here.verdicts(scope.name, file, everywhere=True).items()
    )
    if sighting(sighted) != seen:
        raise Overtaken(scope.text, _what_happened(here, scope))


def _what_happened(here: Sitting, scope: Scope) -> str:
    """The latest decision about it, which most likely is what the one who decides now has not seen."""
    said = [
        row
        for row in here.decisions.get(scope.name, [])
        if row[6] is None or scope.version is None or canonical(row[6]) == scope.version
    ]
    if not said:
        return "what is hidden of it, or what checks say of that, is not what it was"
    latest = decision_of(said[-1])
    when = age(max(0, here.at - latest.at))
    return f"{latest.actor} said {latest.kind} {when} ago: {latest.reason}"
