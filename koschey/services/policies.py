"""The policies of indexes: what they say of names, and what a change would do before it is made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from koschey.domain.names import MAX_NAME, is_valid_name, normalize
from koschey.domain.policy import (
    Clock,
    Effect,
    Policy,
    PolicyRule,
    hold_days_problem,
    policy_for,
    specificity,
)
from koschey.errors import NotFound, RequestInvalid
from koschey.services.configuration import Configuration, policy_rule
from koschey.services.deciding import checked_reason
from koschey.services.impact import Impact, impact_of
from koschey.services.index_rows import raise_policy_versions
from koschey.stores.database import Database
from koschey.stores.models import IndexRow, PolicyRow

#: The index's own rule.
OWN = "*"
#: One piece of a glob over normalised names: a sign, a wildcard, or a choice of signs.
_GLOB = re.compile(r"(?:[a-z0-9-]|[*?]|\[!?[a-z0-9-]+\])+")


class PolicyChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is to become of an index's rule for a pattern. What is None stays as it is."""

    index: str
    pattern: str
    hold_days: float | None = None
    clock: Clock | None = None
    checks: Mapping[str, Effect | None] = {}
    """By name of the check; None: as a less specific rule has it."""
    removed: bool = False
    """The rule goes."""


class Policies:
    """The verbs that change policies; each is one transaction with its event.

    Verdicts follow at once; the recorded holds are brought in step behind, by a job.
    """

    def __init__(self, database: Database, configuration: Configuration) -> None:
        self._database = database
        self._configuration = configuration

    def list(self, index: str | None = None) -> list[tuple[str, PolicyRule]]:
        """Name of the index and rule, the least specific first. Raises: NotFound."""
        indexes = self._configuration.indexes() if index is None else [self._configuration.index(index)]
        return [(row.name, rule) for row in indexes for rule in sorted(row.rules, key=specificity)]

    def preview(self, change: PolicyChange, *, seconds: float = 10.0) -> Impact:
        """What a change would do to what is visible now; nothing is saved.

        Args:
            seconds: after so long it answers for what it has seen until then, and says so.

        Raises:
            NotFound: no such index or rule. RequestInvalid: it could not be saved.
        """
        index = self._configuration.index(change.index)
        pattern = checked_pattern(change.pattern)
        self._check(change, index.checks)
        before = {rule.pattern: rule for rule in index.rules}
        after = dict(before)
        if change.removed:
            del after[_removable(pattern, before)]
        else:
            after[pattern] = _changed(before.get(pattern), pattern, change)

        def policy(name: str) -> Policy:
            return policy_for(after.values(), name, tolerance=index.tolerance, checks=index.checks)

        def concerned(name: str) -> bool:
            return fnmatchcase(name, pattern)

        exact = pattern if is_valid_name(pattern) else None
        return impact_of(self._database, index, policy, concerned, exact=exact, seconds=seconds)

    def set(
        self,
        index: str,
        pattern: str,
        hold_days: float | None = None,
        clock: Clock | None = None,
        checks: Mapping[str, Effect | None] | None = None,
        *,
        actor: str,
        reason: str | None = None,
    ) -> bool:
        """Make or change a rule; returns whether that changed anything.

        Raises:
            NotFound: no such index. RequestInvalid: a pattern, number or check that cannot be.
        """
        change = PolicyChange(
            index=index, pattern=pattern, hold_days=hold_days, clock=clock, checks=checks or {}
        )
        pattern = checked_pattern(pattern)
        config = self._configuration.index(index)
        self._check(change, config.checks)
        reason = None if reason is None else checked_reason(reason)
        with self._database.transaction() as tx:
            index_id = _index_id(tx.session, index)
            row = _rule_row(tx.session, index_id, pattern)
            before = None if row is None else policy_rule(row)
            after = _changed(before, pattern, change)
            if after == before:
                return False
            raise_policy_versions(tx, [index_id])
            if row is None:
                row = PolicyRow(index_id=index_id, pattern=pattern)
                tx.session.add(row)
            row.hold_days = after.hold_days
            row.clock = after.clock
            row.checks = msgspec.json.encode(after.checks, order="sorted").decode()
            tx.touch_configuration()
            tx.record(
                "policy.set",
                actor=actor,
                index=index,
                subject=pattern,
                before=None if before is None else rule_text(before),
                after=rule_text(after),
                reason=reason,
            )
        return True

    def remove(self, index: str, pattern: str, *, actor: str, reason: str | None = None) -> None:
        """Take a rule away. Raises: NotFound, RequestInvalid for the index's own."""
        pattern = checked_pattern(pattern)
        reason = None if reason is None else checked_reason(reason)
        with self._database.transaction() as tx:
            index_id = _index_id(tx.session, index)
            raise_policy_versions(tx, [index_id])
            rows = tx.session.scalars(select(PolicyRow).where(PolicyRow.index_id == index_id)).all()
            known = {row.pattern: row for row in rows}
            row = known[_removable(pattern, known)]
            tx.session.delete(row)
            tx.touch_configuration()
            tx.record(
                "policy.remove",
                actor=actor,
                index=index,
                subject=pattern,
                before=rule_text(policy_rule(row)),
                reason=reason,
            )

    @staticmethod
    def _check(change: PolicyChange, known: Mapping[str, Effect]) -> None:
        problem = None if change.hold_days is None else hold_days_problem(change.hold_days)
        if problem is not None:
            raise RequestInvalid(problem)
        for check, effect in change.checks.items():
            if check not in known and effect is not None:  # one that is gone may be taken out of a rule
                listed = ", ".join(sorted(known)) or "none"
                raise RequestInvalid(f"no check {check!r} here; there are: {listed}")


def checked_pattern(pattern: str) -> str:
    """A glob over normalised names, itself normalised. Raises: RequestInvalid."""
    if is_valid_name(pattern):
        return normalize(pattern)
    lowered = re.sub(r"[_.]", "-", pattern.strip().lower())
    if len(lowered) > MAX_NAME or not _GLOB.fullmatch(lowered):
        raise RequestInvalid(
            f"pattern {pattern!r}: a project's name, or a glob of letters, digits and hyphens with *, ?, "
            "[ab], [a-z] and [!ab]"
        )
    return lowered


def rule_text(rule: PolicyRule) -> str:
    """What a rule says, for the audit and for listings."""
    parts = [] if rule.hold_days is None else [f"{rule.hold_days:g} days"]
    parts += [] if rule.clock is None else [f"clock {rule.clock}"]
    parts += [f"{check} {rule.checks[check]}" for check in sorted(rule.checks)]
    return ", ".join(parts)


def _changed(before: PolicyRule | None, pattern: str, change: PolicyChange) -> PolicyRule:
    before = before or PolicyRule(pattern=pattern)
    checks = {**before.checks, **change.checks}
    after = PolicyRule(
        pattern=pattern,
        hold_days=before.hold_days if change.hold_days is None else change.hold_days,
        clock=before.clock if change.clock is None else change.clock,
        checks={check: effect for check, effect in checks.items() if effect is not None},
    )
    if not rule_text(after):
        raise RequestInvalid(f"the rule for {pattern!r} would say nothing: give days, a clock or a check")
    return after


def _removable(pattern: str, known: Mapping[str, object]) -> str:
    if pattern == OWN:
        raise RequestInvalid("the rule * is the index's own and stays; set it to something else")
    if pattern not in known:
        raise NotFound("policy for", pattern, sorted(known))
    return pattern


def _index_id(session: Session, name: str) -> int:
    """Id of an index whose rules nobody else changes until the commit. Raises: NotFound."""
    query = select(IndexRow.id).where(IndexRow.name == name)
    index_id = session.scalar(query.with_for_update(key_share=True))
    if index_id is None:
        raise NotFound("index", name)
    return index_id


def _rule_row(session: Session, index_id: int, pattern: str) -> PolicyRow | None:
    return session.scalar(
        select(PolicyRow).where(PolicyRow.index_id == index_id, PolicyRow.pattern == pattern)
    )
