"""Whose a name is: which names are the company's own and are never asked outside."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import translate

#: Answers about names that are remembered; they are made again when there are more.
_REMEMBERED = 10_000


class RuleKind(StrEnum):
    """What a person can say of names."""

    RESERVE = "reserve"  # every name that a glob matches is the company's own
    CLAIM = "claim"  # this name is the company's own, whoever has it outside
    MERGE = "merge"  # this name is the company's and the upstream's: a page has the files of both


class Outside(StrEnum):
    """What upstreams are to a name in an index."""

    OPEN = "open"  # the first source that has the name owns it
    CLOSED = "closed"  # they are not asked, and what is known of them is not shown
    MERGED = "merged"  # their files stand beside the company's own
    ELSEWHERE = "elsewhere"  # closed as well: the name is private in a hosted source that others have

    @property
    def asked(self) -> bool:
        """Whether they are asked, and shown."""
        return self in (Outside.OPEN, Outside.MERGED)


@dataclass(frozen=True)
class NameRule:
    """One thing that was said of names.

    ``pattern`` is a normalised name, or for a reservation a glob over those; ``index`` is the name of the
    only index in which it counts, None for all.
    """

    kind: RuleKind
    pattern: str
    index: str | None = None


@dataclass(frozen=True)
class Ownership:
    """What was said of names, as it counts in one index; or, made for None, where no index is meant."""

    merged: frozenset[str] = frozenset()
    claimed: frozenset[str] = frozenset()
    """Names that are claimed here."""
    limited: frozenset[str] = frozenset()
    """Names that are claimed in other indexes only: a hosted project of that name says nothing here."""
    reserved: tuple[str, ...] = ()
    """Globs."""
    _matches: re.Pattern[str] | None = None
    _known: dict[str, bool] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, rules: Iterable[NameRule], index: str | None) -> Ownership:
        """Of all rules, those that count in an index (None: in every one)."""
        made = list(rules)
        here = [rule for rule in made if rule.index in (None, index)]
        claimed = frozenset(rule.pattern for rule in here if rule.kind is RuleKind.CLAIM)
        reserved = tuple(sorted({rule.pattern for rule in here if rule.kind is RuleKind.RESERVE}))
        return cls(
            merged=frozenset(rule.pattern for rule in here if rule.kind is RuleKind.MERGE),
            claimed=claimed,
            limited=frozenset(rule.pattern for rule in made if rule.kind is RuleKind.CLAIM) - claimed,
            reserved=reserved,
            _matches=re.compile("|".join(map(translate, reserved))) if reserved else None,
        )

    def is_reserved(self, name: str) -> bool:
        """Whether a reservation covers a normalised name."""
        if self._matches is None:
            return False
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[name] = self._matches.match(name) is not None
        return known

    def outside(self, name: str, *, hosted_here: bool, hosted: bool) -> Outside:
        """What upstreams are to a normalised name.

        A reservation outranks a merger: it covers what nobody has thought of yet. A name that any hosted
        source of the company has, or ever had, is its own everywhere, unless somebody claimed it for some
        indexes only.

        Args:
            hosted_here: whether a hosted source of the index has or had the name.
            hosted: whether any hosted source has or had it.
        """
        if self.is_reserved(name):
            return Outside.CLOSED
        if name in self.merged:
            return Outside.MERGED
        if name in self.claimed or hosted_here:
            return Outside.CLOSED
        return Outside.ELSEWHERE if hosted and name not in self.limited else Outside.OPEN


#: Nothing was said of any name.
UNOWNED = Ownership()
