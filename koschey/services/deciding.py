"""Recording a decision: its row and its one event; what a reason and a moment have to be."""

from __future__ import annotations

import unicodedata
from typing import Any

import msgspec

from koschey.domain.decisions import Kind
from koschey.domain.explanation import iso
from koschey.domain.page import Microseconds
from koschey.errors import RequestInvalid
from koschey.stores.database import Transaction, now
from koschey.stores.quarantine_rows import DecisionRow

MAX_REASON = 2000
#: The last moment that a date can be written of.
_END_OF_TIME: Microseconds = 253_402_300_799_000_000


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A decision as it was recorded. Times are microseconds since 1970, UTC."""

    id: int
    kind: Kind
    project: str | None
    subject: str = ""
    """What it is about, for people: a filename, ``NAME==VERSION`` as the project spells it, or a name."""
    index: str | None = None
    source: str | None = None
    version: str | None = None
    filename: str | None = None
    sha256: str | None = None
    expires_at: Microseconds | None = None
    until: Microseconds | None = None
    reverts: int | None = None


def append_decision(
    tx: Transaction,
    kind: Kind,
    name: str,
    *,
    at: Microseconds,
    actor: str,
    reason: str,
    subject: str,
    before: str | None = None,
    **scope: Any,
) -> Made:
    """Append one decision and its one event. ``name`` is empty for one about a whole source."""
    row = DecisionRow(kind=kind, name=name, at=at, actor=actor, reason=reason, **scope)
    tx.session.add(row)
    tx.session.flush()
    project = name or None
    made = Made(
        id=row.id,
        kind=kind,
        project=project,
        subject=subject,
        **{key: value for key, value in scope.items() if key in Made.__struct_fields__},
    )
    tx.record(
        f"decision.{kind}",
        actor=actor,
        project=project,
        index=made.index,
        subject=subject,
        before=before,
        after=_described(made),
        reason=reason,
    )
    return made


def _described(made: Made) -> str:
    parts = [f"decision {made.id}"]
    if made.reverts is not None:
        parts.append(f"takes back decision {made.reverts}")
    if made.sha256 is not None:
        parts.append(f"sha256 {made.sha256}")
    if made.kind is Kind.HOLD:
        parts.append("until review" if made.until is None else f"until {iso(made.until)}")
    if made.expires_at is not None:
        parts.append(f"expires {iso(made.expires_at)}")
    return ", ".join(parts)


def checked_reason(reason: str) -> str:
    """A reason that fits one line wherever it is shown. Raises: RequestInvalid."""
    line = " ".join(part.strip() for part in reason.splitlines()).strip()
    if not line:
        raise RequestInvalid("a reason is needed: it is what people are told")
    if len(line) > MAX_REASON:
        raise RequestInvalid(f"a reason has at most {MAX_REASON:,} characters, this one has {len(line):,}")
    if any(unicodedata.category(sign) in ("Cc", "Cs") or sign in _BIDIRECTIONAL for sign in line):
        raise RequestInvalid("a reason has no control characters")
    return line


#: Signs that turn the direction of text around, so that it reads as something else than it says.
_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def checked_future(what: str, moment: Microseconds | None) -> Microseconds | None:
    """A moment that is still to come. Raises: RequestInvalid."""
    if moment is not None and not now() < moment <= _END_OF_TIME:
        raise RequestInvalid(f"{what} lies in the future, and before the year 10000")
    return moment
