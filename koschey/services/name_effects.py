"""What becomes of known names when somebody reserves, claims or merges them, or takes that back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import msgspec
from msgspec import structs

from koschey.domain.ownership import NameRule, Outside, Ownership, RuleKind
from koschey.services.configuration import IndexConfig
from koschey.services.known import KnownProject
from koschey.services.name_views import ViewChange, view_change
from koschey.stores.database import Transaction, now
from koschey.stores.models import ProjectState


class NameEffect(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a known name in an index: ``before`` and ``after`` are values of ``Outside``."""

    project: str
    index: str
    before: Outside
    after: Outside
    view: ViewChange | None = None
    """What people there would see no more, and anew; of a preview only, where it is not too late."""


def change_of(
    index: IndexConfig, name: str, projects: Sequence[KnownProject], was: Ownership, will: Ownership
) -> NameEffect | None:
    """What becomes of a name in an index that has an upstream which is known to have it."""
    sources = {source.id for source in index.sources}
    there = [p for p in projects if p.source_id in sources and p.source_id not in index.hosted]
    if all(project.state == ProjectState.ABSENT for project in there):
        return None
    having = {project.source_id for project in projects}
    hosted = index.hosted.intersection(having)
    here = bool(hosted & sources)
    before = was.outside(name, hosted_here=here, hosted=bool(hosted))
    after = will.outside(name, hosted_here=here, hosted=bool(hosted))
    if before is after:
        return None
    return NameEffect(project=name, index=index.name, before=before, after=after)


def with_view(
    tx: Transaction,
    effect: NameEffect,
    index: IndexConfig,
    before: Sequence[NameRule],
    after: Sequence[NameRule],
) -> NameEffect:
    """An effect with what people see of it."""
    was, will = (replace(index, ownership=Ownership.of(rules, index.name)) for rules in (before, after))
    return structs.replace(effect, view=view_change(tx.connection, effect.project, was, will, now()))


def notes_on(
    action: str,
    rule: NameRule,
    by_name: dict[str, list[KnownProject]],
    indexes: Sequence[IndexConfig],
    after: Sequence[NameRule],
) -> list[str]:
    """Sentences about what of a verb a person may not have expected."""
    hosted = {source_id for index in indexes for source_id in index.hosted}
    own = [name for name, found in by_name.items() if any(p.source_id in hosted for p in found)]
    notes = []
    if action in ("unreserve", "unclaim") and own:
        shown = ", ".join(own[:5]) + (", …" if len(own) > 5 else "")
        notes.append(f"the company has projects of its own there, whose names stay its own: {shown}")
    if action == "reserve":
        merged = [
            r.pattern for r in after if r.kind is RuleKind.MERGE and fnmatchcase(r.pattern, rule.pattern)
        ]
        if merged:
            notes.append(f"merged names stand alone while they are reserved: {', '.join(merged[:5])}")
    return notes
