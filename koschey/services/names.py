"""Whose names are: reservations, claims and mergers.

Each verb is one transaction with one event. What it changes counts in every process from its commit on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import msgspec
from sqlalchemy import delete, select, update

from koschey.domain.explanation import iso
from koschey.domain.names import NormalizedName, normalize
from koschey.domain.ownership import NameRule, Ownership, RuleKind
from koschey.errors import Conflict, NotFound, RequestInvalid
from koschey.services.configuration import Configuration
from koschey.services.deciding import checked_reason
from koschey.services.index_rows import index_row
from koschey.services.known import KnownProject, batches
from koschey.services.name_effects import NameEffect, change_of, notes_on, with_view
from koschey.services.policies import checked_pattern
from koschey.stores.database import Database, Transaction, now
from koschey.stores.models import File, IndexRow, NameRuleRow, Project

#: Names that a preview or an outcome lists.
_EXAMPLES = 20


class NameOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a verb came to, or would come to."""

    action: str
    """``reserve``, ``unreserve``, ``claim``, …"""
    pattern: str
    index: str | None
    done: bool
    """False for a preview."""
    changes: int
    """How many changes there are of names that an upstream is known to have: one for each index."""
    effects: tuple[NameEffect, ...]
    """The first of them."""
    notes: tuple[str, ...] = ()
    """Sentences about what a person may not have expected."""


class Names:
    """What people say about names.

    All verbs take a ``reason`` (one line for people), an ``actor``, and ``preview``: to see what would
    change and change nothing.

    Raises:
        RequestInvalid: a name, pattern or reason is no such thing. NotFound: no such index, or nothing to
            take back. Conflict: it is said already, or contradicts what else is.
    """

    def __init__(self, database: Database, configuration: Configuration) -> None:
        self._database = database
        self._configuration = configuration

    def is_reserved(self, name: NormalizedName, index: str) -> bool:
        """Whether a reservation covers a name in an index. Raises: NotFound: no such index."""
        return self._configuration.index(index).ownership.is_reserved(name)

    def reserve(
        self, pattern: str, *, index: str | None, reason: str, actor: str, preview: bool = False
    ) -> NameOutcome:
        """Make every name that a glob matches the company's own, uploaded yet or not.

        Args:
            index: the only one in which it counts; None: all.
        """
        pattern = checked_pattern(pattern)
        if not re.search(r"[a-z0-9]", pattern):
            raise RequestInvalid(
                f"pattern {pattern!r} would reserve every name; to use no upstream at all, take it out of "
                "the index (koschey index edit)"
            )
        return self._say(RuleKind.RESERVE, pattern, index, reason, actor, preview=preview)

    def unreserve(
        self, pattern: str, *, index: str | None, reason: str, actor: str, preview: bool = False
    ) -> NameOutcome:
        """Take a reservation back: what was uploaded stays the company's own, other names are open again."""
        return self._take_back(
            RuleKind.RESERVE, checked_pattern(pattern), index, reason, actor, preview=preview
        )

    def claim(
        self, name: str, *, index: str | None, reason: str, actor: str, preview: bool = False
    ) -> NameOutcome:
        """Make a name the company's own that somebody has outside; then it can be uploaded.

        Args:
            index: the only one in which it counts; None: all.
        """
        return self._say(RuleKind.CLAIM, normalize(name), index, reason, actor, preview=preview)

    def unclaim(
        self, name: str, *, index: str | None, reason: str, actor: str, preview: bool = False
    ) -> NameOutcome:
        """Take a claim back; what upstreams have is shown again, with its quarantine as it was."""
        return self._take_back(RuleKind.CLAIM, normalize(name), index, reason, actor, preview=preview)

    def merge(self, name: str, *, reason: str, actor: str, preview: bool = False) -> NameOutcome:
        """Show the upstream's files of a name beside the company's own: of one filename the company's."""
        return self._say(RuleKind.MERGE, normalize(name), None, reason, actor, preview=preview)

    def unmerge(self, name: str, *, reason: str, actor: str, preview: bool = False) -> NameOutcome:
        """Take a merger back: a name that was uploaded is the company's own alone."""
        return self._take_back(RuleKind.MERGE, normalize(name), None, reason, actor, preview=preview)

    def rules(self) -> list[dict[str, Any]]:
        """Everything that was said and counts, as plain values."""
        query = select(NameRuleRow, IndexRow.name).outerjoin(IndexRow, IndexRow.id == NameRuleRow.index_id)
        with self._database.reading() as session:
            rows = session.execute(query.order_by(NameRuleRow.pattern, NameRuleRow.kind, NameRuleRow.id))
            return [
                {
                    "rule": row.kind,
                    "pattern": row.pattern,
                    "index": index,
                    "reason": row.reason,
                    "actor": row.actor,
                    "at": iso(row.at),
                }
                for row, index in rows
            ]

    def _say(
        self, kind: RuleKind, pattern: str, index: str | None, reason: str, actor: str, *, preview: bool
    ) -> NameOutcome:
        reason = checked_reason(reason)
        with self._database.transaction() as tx:
            tx.lock_name(pattern)
            rules = _stored_rules(tx)
            new = NameRule(kind, pattern, index)
            index_id = None if index is None else index_row(tx.session, index).id
            _refuse_contradiction(new, rules)
            outcome = self._effect(tx, str(kind), new, rules, [*rules, new], preview=preview)
            if preview:
                return outcome
            row = NameRuleRow(
                kind=kind, pattern=pattern, index_id=index_id, reason=reason, actor=actor, at=now()
            )
            tx.session.add(row)
            self._tell(tx, outcome, new, before=None, after=_AFTER[kind], actor=actor, reason=reason)
            return outcome

    def _take_back(
        self, kind: RuleKind, pattern: str, index: str | None, reason: str, actor: str, *, preview: bool
    ) -> NameOutcome:
        reason = checked_reason(reason)
        with self._database.transaction() as tx:
            tx.lock_name(pattern)
            rules = _stored_rules(tx)
            old = NameRule(kind, pattern, index)
            index_id = None if index is None else index_row(tx.session, index).id
            if old not in rules:
                alike = [spelled(rule) for rule in rules if rule.kind is kind and rule.pattern == pattern]
                raise NotFound(_NOUN[kind], spelled(old), alike)
            left = [rule for rule in rules if rule != old]
            outcome = self._effect(tx, f"un{kind}", old, rules, left, preview=preview)
            if preview:
                return outcome
            of_it = (NameRuleRow.kind == kind) & (NameRuleRow.pattern == pattern)
            where = NameRuleRow.index_id.is_(None) if index_id is None else NameRuleRow.index_id == index_id
            tx.session.execute(delete(NameRuleRow).where(of_it, where))
            self._tell(tx, outcome, old, before=_AFTER[kind], after=None, actor=actor, reason=reason)
            return outcome

    def _tell(
        self,
        tx: Transaction,
        outcome: NameOutcome,
        rule: NameRule,
        *,
        before: str | None,
        after: str | None,
        actor: str,
        reason: str,
    ) -> None:
        """Make the change known to every process, pages new ones, and the event."""
        ids = [project.id for project in _known(tx, rule.pattern, locked=True)]
        tx.touch_configuration()
        serial = tx.next_serial()  # also where nothing is known yet: the root list is another one
        for batch in batches(ids):
            tx.session.execute(update(Project).where(Project.id.in_(batch)).values(serial=serial))
            # What waited for its name to be asked outside again is stored and checked now.
            waiting = update(File).where(File.project_id.in_(batch), File.due_at.is_not(None))
            tx.session.execute(waiting.values(due_at=now(), attempts=0))
        exact = rule.kind is not RuleKind.RESERVE
        tx.record(
            f"name.{outcome.action}",
            actor=actor,
            project=rule.pattern if exact else None,
            index=rule.index,
            subject=rule.pattern,
            before=before,
            after=after,
            reason=reason,
        )

    def _effect(
        self,
        tx: Transaction,
        action: str,
        rule: NameRule,
        before: Sequence[NameRule],
        after: Sequence[NameRule],
        *,
        preview: bool,
    ) -> NameOutcome:
        by_name: dict[str, list[KnownProject]] = {}
        for project in _known(tx, rule.pattern):
            by_name.setdefault(project.name, []).append(project)
        effects: list[NameEffect] = []
        indexes = self._configuration.indexes(tx.session)
        for index in indexes:
            was, will = Ownership.of(before, index.name), Ownership.of(after, index.name)
            effects += [
                effect
                for name, projects in by_name.items()
                if (effect := change_of(index, name, projects, was, will)) is not None
            ]
        shown = effects[:_EXAMPLES]
        if preview:
            shown = [
                with_view(tx, effect, self._configuration.index(effect.index), before, after)
                for effect in shown
            ]
        return NameOutcome(
            action=action,
            pattern=rule.pattern,
            index=rule.index,
            done=not preview,
            changes=len(effects),
            effects=tuple(shown),
            notes=tuple(notes_on(action, rule, by_name, indexes, after)),
        )


def spelled(rule: NameRule) -> str:
    """A rule's names, for people."""
    return rule.pattern if rule.index is None else f"{rule.pattern} in index {rule.index}"


_NOUN = {RuleKind.RESERVE: "reservation", RuleKind.CLAIM: "claim", RuleKind.MERGE: "merger"}
_AFTER = {RuleKind.RESERVE: "reserved", RuleKind.CLAIM: "claimed", RuleKind.MERGE: "merged"}


def _refuse_contradiction(new: NameRule, rules: Sequence[NameRule]) -> None:
    """Raises: Conflict."""
    if new in rules:
        raise Conflict(f"{spelled(new)} is {_AFTER[new.kind]} already")
    same = [rule for rule in rules if rule.pattern == new.pattern and rule.kind is not RuleKind.RESERVE]
    if new.kind is RuleKind.MERGE:
        for rule in rules:
            if rule.kind is RuleKind.RESERVE and fnmatchcase(new.pattern, rule.pattern):
                raise Conflict(
                    f"{new.pattern} is reserved by {spelled(rule)}, and a reserved name is never asked "
                    f"outside; take that back first (koschey project unreserve '{rule.pattern}')"
                )
    if new.kind is RuleKind.CLAIM and any(rule.kind is RuleKind.MERGE for rule in same):
        raise Conflict(
            f"{new.pattern} is merged with its upstream namesake, and can be uploaded; to have it alone, "
            f"koschey project unmerge {new.pattern}, and then claim it"
        )


def _stored_rules(tx: Transaction) -> list[NameRule]:
    query = select(NameRuleRow.kind, NameRuleRow.pattern, IndexRow.name)
    query = query.outerjoin(IndexRow, IndexRow.id == NameRuleRow.index_id)
    return [NameRule(RuleKind(kind), pattern, index) for kind, pattern, index in tx.session.execute(query)]


def _known(tx: Transaction, pattern: str, *, locked: bool = False) -> list[KnownProject]:
    """Every project, in any source, whose name a glob matches; in the order of ids."""
    query = select(*(getattr(Project, column) for column in KnownProject._fields)).order_by(Project.id)
    if not re.search(r"[*?\[]", pattern):
        query = query.where(Project.name == pattern)
    else:
        # Names have no characters that LIKE takes for its own; what it is too wide for is sorted out below.
        query = query.where(Project.name.like(re.sub(r"\[[^\]]*\]|\?", "_", pattern).replace("*", "%")))
    rows = tx.session.execute(query.with_for_update() if locked else query)
    return [KnownProject._make(row) for row in rows if fnmatchcase(row.name, pattern)]
