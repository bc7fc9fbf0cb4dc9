"""No upstream was asked for a name while it was the company's own (HARDENING 4)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, text

from koschey.domain.ownership import RuleKind
from koschey.services.fsck.findings import MOST, Context, Finding
from koschey.services.known import AT_ONCE

#: Microseconds by which a look that had begun may be later than what closed the name.
_UNDER_WAY = 60 * 1_000_000


class _Look(NamedTuple):
    """An upstream that has an answer about a name."""

    name: str
    source_id: int
    source: str
    looked_at: int


def private(context: Context) -> Iterator[Finding]:
    """Names of hosted projects, claimed ones and reserved ones, against what upstreams were asked."""
    told = 0
    with context.database.snapshot() as connection:
        for look, why in _suspects(connection):
            context.step(1)
            if told == MOST:
                return
            if _may_be_asked(context, connection, look):
                continue
            told += 1
            yield Finding(
                "private",
                look.name,
                f"was asked for at the upstream {look.source} although {why}",
                advice="see `koschey audit` for who could learn of the name, and why it was asked for",
            )


def _may_be_asked(context: Context, connection: Connection, look: _Look) -> bool:
    """Whether an index with that upstream leaves the name to it, merged or limited to other indexes."""
    having = set(connection.execute(_HAVING, {"name": look.name}).scalars())
    indexes = context.configuration.indexes_of(look.source_id)
    return any(index.outside(look.name, having).asked for index in indexes)


def _suspects(connection: Connection) -> Iterator[tuple[_Look, str]]:
    """Looks that came after the name was the company's, with what made it so."""
    for row in connection.execute(_OF_HOSTED, {"slack": _UNDER_WAY}):
        yield _Look._make(row), "a hosted source has it"
    rules: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for kind, pattern, at in connection.execute(_RULES):
        rules[kind].append((pattern, at))
    claims = dict(rules[RuleKind.CLAIM])
    for start in range(0, len(claims), AT_ONCE):
        names = sorted(claims)[start : start + AT_ONCE]
        for row in connection.execute(_NAMED, {"names": names}):
            if row.looked_at > claims[row.name] + _UNDER_WAY:
                yield _Look._make(row), "it is claimed"
    for pattern, at in rules[RuleKind.RESERVE]:
        # A normalised name has none of LIKE's own signs.
        like = pattern.partition("[")[0].replace("*", "%").replace("?", "_")
        given = {"like": like + ("%" if "[" in pattern else ""), "at": at + _UNDER_WAY}
        for row in connection.execute(_LIKE, given):
            if fnmatchcase(row.name, pattern):
                yield _Look._make(row), f"{pattern} is reserved"


_COLUMNS = "o.name, o.source_id, s.name AS source, o.looked_at"
_OUTSIDE = "project o JOIN source s ON s.id = o.source_id AND s.kind = 'upstream'"
_OF_HOSTED = text(
    f"SELECT {_COLUMNS} FROM {_OUTSIDE} JOIN project h ON h.name = o.name "  # noqa: S608 - our own words
    "JOIN source t ON t.id = h.source_id AND t.kind = 'hosted' "
    "WHERE h.state = 'present' AND o.looked_at > h.first_seen + :slack"
)
_NAMED = text(f"SELECT {_COLUMNS} FROM {_OUTSIDE} WHERE o.name IN :names").bindparams(  # noqa: S608 - ours
    bindparam("names", expanding=True)
)
_LIKE = text(f"SELECT {_COLUMNS} FROM {_OUTSIDE} WHERE o.name LIKE :like AND o.looked_at > :at")  # noqa: S608 - ours
_RULES = text("SELECT kind, pattern, at FROM name_rule")
_HAVING = text("SELECT source_id FROM project WHERE name = :name AND state <> 'absent'")
