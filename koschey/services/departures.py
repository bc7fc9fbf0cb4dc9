"""What upstreams took away or hid lately, and is still away."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, Text, and_, cast, func, literal, select, union_all

from koschey.domain.page import Microseconds
from koschey.domain.policy import DAY
from koschey.stores.database import Database, now
from koschey.stores.models import Event, File, Project, ProjectState, Source

_LATELY: Microseconds = 7 * DAY
#: So many of the newest events of a kind are looked at: a look takes no longer when more went and came back.
_WINDOW = 4_000


class Departure(msgspec.Struct, frozen=True, kw_only=True):
    """A project or file that an upstream has no more, or hides."""

    project: str
    filename: str | None
    """None: the whole project."""
    upstream: str
    state: str
    """``withdrawn``, ``deleted`` or ``quarantined``."""
    at: Microseconds
    stored: bool
    """Whether bytes of it are stored here."""


class Departures:
    """Answers from the journal, as far as what it says still holds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def latest(self, limit: int) -> list[Departure]:
        """So many of the last 7 days, the newest first, each file and project once.

        Of each kind the newest 4,000 events are looked at.
        """
        parts = [_files(limit), _deleted(limit), _quarantined(limit)]
        found = union_all(*(select(part.subquery()) for part in parts)).subquery()
        with self._database.reading() as session:
            rows = session.execute(select(found).order_by(found.c.id.desc()).limit(limit)).mappings()
            fields = Departure.__struct_fields__
            return [Departure(**{field: row[field] for field in fields}) for row in rows]


def _files(limit: int) -> Select[Any]:
    events = _events("file.withdrawn")
    query = _departures(events, "withdrawn", events.c.subject, File.stored_at.is_not(None), limit)
    there = and_(File.project_id == Project.id, File.filename == events.c.subject)
    return query.join(File, there).where(File.withdrawn_at.is_not(None)).group_by(File.stored_at)


def _deleted(limit: int) -> Select[Any]:
    query = _departures(_events("project.deleted_upstream"), "deleted", _NO_FILE, _SOME_STORED, limit)
    return query.where(Project.state == ProjectState.DELETED)


def _quarantined(limit: int) -> Select[Any]:
    events = _events("project.status")
    query = _departures(events, "quarantined", _NO_FILE, _SOME_STORED, limit)
    return query.where(
        events.c.after == "present quarantined",
        Project.state == ProjectState.PRESENT,
        Project.status == "quarantined",
    )


def _events(action: str) -> Any:
    of_action = select(Event).where(Event.action == action)
    return of_action.order_by(Event.id.desc()).limit(_WINDOW).subquery()


def _departures(
    events: Any, state: str, filename: ColumnElement[Any], stored: ColumnElement[bool], limit: int
) -> Select[Any]:
    """The last event about each thing, with what the source has of it now."""
    last, source = func.max(events.c.id), literal("upstream:") + Source.name
    return (
        select(
            last.label("id"),
            func.max(events.c.at).label("at"),
            events.c.project,
            filename.label("filename"),
            Source.name.label("upstream"),
            literal(state).label("state"),
            stored.label("stored"),
        )
        .select_from(events)
        .join(Source, source == events.c.actor)
        .join(Project, and_(Project.name == events.c.project, Project.source_id == Source.id))
        .where(events.c.at >= now() - _LATELY)
        .group_by(events.c.project, events.c.subject, Source.name, Project.id)
        .order_by(last.desc())
        .limit(limit)
    )


_NO_FILE: ColumnElement[Any] = cast(None, Text)
_SOME_STORED = (
    select(File.id)
    .where(File.project_id == Project.id, File.stored_at.is_not(None))
    .correlate(Project)
    .exists()
)
