"""Events as people read them: what happened in several indexes at once is one thing that happened."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from koschey.services.audit import AuditEvent

_NAMED = 3
_AT_ONCE = 60_000_000
"""Microseconds."""


class Happening(NamedTuple):
    """One thing that happened, and where.

    ``where`` is the names of some indexes or how many they are; empty when the event is about no index.
    """

    event: AuditEvent
    where: str


def happenings(events: Iterable[AuditEvent]) -> list[Happening]:
    """In the order of the events: each by the first of its own, with all indexes in which it happened."""
    found: dict[tuple[str | None, ...], tuple[AuditEvent, list[str]]] = {}
    groups: list[tuple[AuditEvent, list[str]]] = []
    for event in events:
        key = (event.action, event.actor, event.subject, event.before, event.after, event.reason)
        group = found.get(key)
        if group is None or event.index is None or group[0].at - event.at > _AT_ONCE:
            group = found[key] = (event, [])
            groups.append(group)
        if event.index is not None and event.index not in group[1]:
            group[1].append(event.index)
    return [Happening(event, _where(indexes)) for event, indexes in groups]


def _where(indexes: list[str]) -> str:
    if len(indexes) > _NAMED:
        return f"{len(indexes)} indexes"
    return ", ".join(sorted(indexes))
