"""The journal, read: who changed what, when and why.

Millions of events are filtered without going through them all: of what is asked for, the rarest thing is
followed in its index, so far as one look may go, and the rest is picked out of what is found there. A look
that ends before it has found enough says so, and the next one goes on there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, func, select, text, true, union_all
from sqlalchemy.orm import Session

from koschey.domain.names import normalize
from koschey.domain.page import Microseconds
from koschey.errors import RequestInvalid
from koschey.services.keyset import Page
from koschey.stores.database import Database
from koschey.stores.models import Event

MOST = 1000
#: Events that one look goes through at the most.
WINDOW = 4_000
#: Numbers are given out before the times of those that commit first: so much later a time may stand earlier.
_SKEW: Microseconds = 60_000_000


class AuditEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One change of state, as it was recorded."""

    id: int
    at: Microseconds
    actor: str
    action: str
    project: str | None
    index: str | None
    """None: in all, or in none."""
    subject: str | None
    before: str | None
    after: str | None
    reason: str | None


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events; all that is said must fit."""

    project: str | None = None
    index: str | None = None
    actor: str | None = None
    action: str | None = None
    """A glob, such as ``decision.*``."""
    subject: str | None = None
    since: Microseconds | None = None


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the journal, the newest first."""

    page: Page[AuditEvent]
    seen_to: Microseconds | None = None
    """Where the look ended before it had found enough (the time of that event); None: it did not."""


class Audit:
    """Answers from the events, newest first."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, wanted: EventFilter, *, at: str | None = None, limit: int = 50) -> AuditPage:
        """The events at a cursor, the newest for None.

        Raises:
            RequestInvalid: no name of a project, no cursor, or a limit that cannot be.
        """
        back, edge = _decoded(at)
        with self._database.reading() as session:
            look = _Look(session, wanted, edge, back=back)
            rows = look.rows(_checked(limit) + 1)
            ended = look.bottom if len(rows) <= limit else None
            ended_at = None if ended is None else session.scalar(select(Event.at).where(Event.id == ended))
        if ended is not None and wanted.since is not None and (ended_at or 0) < wanted.since - _SKEW:
            ended = ended_at = None
        shown = rows[:limit]
        last = shown[-1].id if len(rows) > limit else ended
        first = shown[0].id if shown else edge
        onward = None if last is None else f"{'n' if back else 'o'}{last}"
        if back:
            older = shown[0].id if shown else edge
            page = Page(tuple(reversed(shown)), newer=onward, older=f"o{older}")
        else:
            page = Page(tuple(shown), newer=None if edge is None else f"n{first}", older=onward)
        return AuditPage(page=page, seen_to=ended_at)

    def all(self, wanted: EventFilter) -> Iterator[AuditEvent]:
        """Every event that fits, the newest first, read piece by piece. Raises: RequestInvalid."""
        at: str | None = None
        while True:
            found = self.page(wanted, at=at, limit=MOST)
            yield from found.page.rows
            at = found.page.older
            if at is None:
                return

    def events(
        self,
        *,
        project: str | None = None,
        index: str | None = None,
        actor: str | None = None,
        action: str | None = None,
        since: Microseconds | None = None,
        limit: int = 100,
        after: int | None = None,
    ) -> list[AuditEvent]:
        """The newest events that fit.

        Args:
            action: a glob, such as ``decision.*``.
            limit: 1,000 at most.
            after: the id of the last one that was read before; older ones follow.

        Raises:
            RequestInvalid: no name of a project, or a limit that cannot be.
        """
        wanted = EventFilter(project=project, index=index, actor=actor, action=action, since=since)
        found: list[AuditEvent] = []
        at = None if after is None else f"o{after}"
        _checked(limit)
        while len(found) < limit:
            part = self.page(wanted, at=at, limit=limit - len(found))
            found += part.page.rows
            at = part.page.older
            if at is None:
                break
        return found


class _Look:
    """One look from an edge on, older or newer, that goes through ``WINDOW`` events at the most."""

    def __init__(self, session: Session, wanted: EventFilter, edge: int | None, *, back: bool) -> None:
        self._session = session
        self._back = back
        self._edge = true() if edge is None else (Event.id > edge if back else Event.id < edge)
        self._all = _conditions(wanted)
        self._ways = self._possible(wanted)
        self.bottom: int | None = None
        """Id of the last event that the look goes to; None: it goes to the end."""

    def rows(self, limit: int) -> list[AuditEvent]:
        """So many events that fit, in the order of the look."""
        if not self._ways:  # no action fits
            return []
        way = self._ways[0]
        if len(self._ways) == len(way) == 1 and not set(self._all) - _FOLLOWED:  # an index has just these
            return self._read(select(*_COLUMNS).where(self._edge, way[0]), limit)
        way, self.bottom = self._shortest()
        within: ColumnElement[bool] = true()
        if self.bottom is not None:
            within = Event.id <= self.bottom if self._back else Event.id >= self.bottom
        each = WINDOW // len(way)
        parts = [
            select(self._ordered(select(*_COLUMNS).where(self._edge, within, one)).limit(each).subquery())
            for one in way
        ]
        window = union_all(*parts).subquery() if len(parts) > 1 else parts[0].subquery()
        return self._read(select(window).where(*_conditions_of(window.c, self._all)), limit, window.c.id)

    def _possible(self, wanted: EventFilter) -> list[list[ColumnElement[bool]]]:
        """The ways to go: each is some conditions of which an index has the events in order."""
        ways: list[list[ColumnElement[bool]]] = [
            [getattr(Event, name) == self._all[name]]
            for name in ("project", "actor", "index")
            if name in self._all
        ]
        if wanted.action is not None:
            actions = [a for a in self._session.scalars(_ACTIONS) if fnmatchcase(a, wanted.action)]
            if not actions:
                return []
            ways.append([Event.action == action for action in actions])
        return ways or [[true()]]

    def _shortest(self) -> tuple[list[ColumnElement[bool]], int | None]:
        """The way on which one look comes farthest, and how far that is."""
        reached = [(self._reach(way), way) for way in self._ways]
        ends = [way for bottom, way in reached if bottom is None]
        if ends:
            return min(ends, key=len), None
        bottom, way = (max if self._back else min)(reached, key=lambda pair: pair[0] or 0)
        return way, bottom

    def _reach(self, way: Sequence[ColumnElement[bool]]) -> int | None:
        each = WINDOW // len(way)
        parts = [
            select(
                self._ordered(select(Event.id).where(self._edge, one)).offset(each - 1).limit(1).subquery()
            )
            for one in way
        ]
        ids = (union_all(*parts) if len(parts) > 1 else parts[0]).subquery()
        nearest = func.min(ids.c.id) if self._back else func.max(ids.c.id)
        return self._session.scalar(select(nearest))

    def _ordered(self, query: Select[Any]) -> Select[Any]:
        return query.order_by(Event.id if self._back else Event.id.desc())

    def _read(self, query: Select[Any], limit: int, key: Any = Event.id) -> list[AuditEvent]:
        ordered = query.order_by(key if self._back else key.desc()).limit(limit)
        fields = AuditEvent.__struct_fields__
        rows = self._session.execute(ordered)
        return [AuditEvent(**dict(zip(fields, row, strict=True))) for row in rows]


#: What an index has in the order of the ids.
_FOLLOWED = frozenset({"project", "actor", "index", "action"})
_COLUMNS = [getattr(Event, name) for name in AuditEvent.__struct_fields__]
# One step of the index for each action that there is, however many events it has.
_ACTIONS = text(
    "WITH RECURSIVE known(action) AS (SELECT min(action) FROM event UNION ALL "
    "SELECT (SELECT min(e.action) FROM event e WHERE e.action > known.action) FROM known "
    "WHERE known.action IS NOT NULL) SELECT action FROM known WHERE action IS NOT NULL"
)


def _conditions(wanted: EventFilter) -> dict[str, Any]:
    said = {name: getattr(wanted, name) for name in wanted.__struct_fields__}
    if wanted.project is not None:
        said["project"] = normalize(wanted.project)
    return {name: value for name, value in said.items() if value is not None}


def _conditions_of(columns: Any, said: dict[str, Any]) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [
        columns[name] == said[name] for name in ("project", "index", "actor", "subject") if name in said
    ]
    if "action" in said:
        found.append(columns.action.like(like(said["action"]), escape="\\"))
    if "since" in said:
        found.append(columns.at >= said["since"])
    return found


def _checked(limit: int) -> int:
    if not 1 <= limit <= MOST:
        raise RequestInvalid(f"limit: from 1 to {MOST}")
    return limit


def _decoded(at: str | None) -> tuple[bool, int | None]:
    """Whether a cursor leads to newer events, and from which one on."""
    if not at:
        return False, None
    digits = at[1:]
    if at[0] not in "on" or not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise RequestInvalid("at: not a place in this list; take it from the page before")
    return at[0] == "n", int(digits)


def like(glob: str) -> str:
    r"""A glob of ``*`` and ``?`` as a pattern of LIKE with ``\`` as its escape."""
    literal = glob.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return literal.replace("*", "%").replace("?", "_")
