"""Where a name stands in an index, by what is stored: whose it is, and which sources are due to be asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from koschey.domain.ownership import Outside
from koschey.services.configuration import Configuration, IndexConfig, SourceConfig
from koschey.services.looks import CONFIRM_SECONDS
from koschey.stores.database import now
from koschey.stores.lookup import Lookup, NameLook, ProjectLook
from koschey.stores.models import ProjectState, SourceKind


@dataclass(frozen=True)
class Freshness:
    """Ages, in seconds, at which something is done about what is stored."""

    stale_seconds: float
    negative_seconds: float
    refresh_deadline: float


@dataclass(frozen=True)
class Standing:
    """Where a name stands in an index by what is stored."""

    parts: tuple[ProjectLook, ...] = ()
    """The projects whose files are the name's: one, or for a merged name the hosted one and an upstream's.

    Of a filename that several have, the first one's counts.
    """
    ask: tuple[SourceConfig, ...] = ()
    """Sources to ask before anything is answered, in order."""
    behind: tuple[SourceConfig, ...] = ()
    """Sources to ask behind the answer."""
    own: bool = False
    """Whether the name is the company's own, so that no upstream is asked, with or without a project."""
    serial: int = 0
    """Of the page: the highest of anything that is known of the name here."""

    @property
    def owner(self) -> ProjectLook | None:
        """The first of the parts."""
        return self.parts[0] if self.parts else None

    def mark(self, name: str) -> tuple[object, ...]:
        """What a page of the name hangs on, besides its index and time."""
        if len(self.parts) == 1:
            return self.parts[0].project_id, self.parts[0].serial
        return tuple([(part.project_id, part.serial) for part in self.parts]) or (name, self.serial)

    @property
    def known(self) -> bool:
        """Whether the name has a page. One that is reserved has an empty one: a 404 would send installers
        on to their next index, for whatever somebody put there under that name."""
        return bool(self.parts) or self.own


def standing(index: IndexConfig, look: NameLook, name: str, freshness: Freshness) -> Standing:
    """Sources are taken in order; the first that has the name owns it, whatever comes behind.

    A hosted one that has it keeps upstreams out, unless the name is merged.
    """
    outside = index.outside(name, look.projects)
    hosted = _hosted(index, look)
    if outside is Outside.ELSEWHERE:
        return (
            Standing()
        )  # as unknown as a name that nobody has: that it is there is not this index's to tell
    if outside is Outside.CLOSED:
        known = [look.projects[source.id] for source in index.sources if source.id in look.projects]
        serial = max((project.serial for project in known), default=0)
        return Standing(hosted, own=True, serial=serial)
    found = _upstream(index, look, freshness)
    parts = (*hosted, *found.parts)
    return replace(found, parts=parts, serial=max((part.serial for part in parts), default=0))


def _hosted(index: IndexConfig, look: NameLook) -> tuple[ProjectLook, ...]:
    for source in index.sources:
        known = look.projects.get(source.id)
        if source.kind is SourceKind.HOSTED and known is not None and known.state == ProjectState.PRESENT:
            return (known,)
    return ()


def _upstream(index: IndexConfig, look: NameLook, freshness: Freshness) -> Standing:
    at = now()
    ask: list[SourceConfig] = []
    behind: list[SourceConfig] = []
    for source in index.sources:
        if source.kind is SourceKind.HOSTED:
            continue
        known = look.projects.get(source.id)
        if known is None:
            ask.append(source)
            continue
        if source.paused and known.state != ProjectState.ABSENT:  # what it has stands, however old
            return _with_owner(known, ask, behind, look)
        age = (at - (known.looked_at or 0)) / 1e6
        if known.state == ProjectState.ABSENT:
            if age > freshness.negative_seconds:
                ask.append(source)
            continue
        refresh_seconds = source.refresh_seconds
        if known.missing_since is not None:
            refresh_seconds = min(refresh_seconds, CONFIRM_SECONDS)
        if age > max(freshness.stale_seconds, refresh_seconds):
            ask.append(source)
        elif age > refresh_seconds:
            behind.append(source)
        return _with_owner(known, ask, behind, look)
    return Standing(ask=tuple(ask))


def _with_owner(
    owner: ProjectLook, ask: list[SourceConfig], behind: list[SourceConfig], look: NameLook
) -> Standing:
    """An earlier source whose remembered 404 ran out is asked behind the answer, a new one before it.

    A paused one refuses, so it is not asked again; a new one is: nobody may win a name because it is paused.
    """
    first = [s for s in ask if s.id == owner.source_id or s.id not in look.projects]
    later = [s for s in ask if s not in first and not s.paused]
    return Standing((owner,), tuple(first), (*later, *behind))


def permitted(
    lookup: Lookup, configuration: Configuration, upstream: str, names: Sequence[str]
) -> frozenset[str]:
    """For which normalised names an upstream (by its name) may be asked: the last look at the door."""
    number, having = lookup.having(names)
    source = next((s for s in configuration.upstreams(number) if s.name == upstream), None)
    source_id = -1 if source is None else source.id
    return frozenset(
        name for name in names if configuration.may_ask(source_id, name, having[name], number=number)
    )
