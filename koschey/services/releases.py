"""What became visible lately, by versions: the journal's releases."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import msgspec
from sqlalchemy import literal_column, select

from koschey.domain.names import NormalizedName, is_valid_name, normalize, version_of
from koschey.domain.page import Microseconds
from koschey.services.keyset import PAGE, Keyset, Lead, Page
from koschey.stores.database import Database
from koschey.stores.models import Event

_NEWEST_FIRST = Keyset("released", Event.id, descending=True)
_RELEASED = "file.released"
#: As ``ix_event_released`` has it: SQLite takes a partial index for words only, not for a parameter.
_IS_RELEASE = Event.action == literal_column(f"'{_RELEASED}'")


class Released(msgspec.Struct, frozen=True, kw_only=True):
    """Files of a version that became visible at one time in one index."""

    project: str
    version: str
    index: str
    files: int
    at: Microseconds
    actor: str
    """``koschey`` when time did it."""
    reason: str
    before: str


class Releases:
    """Reads the releases, newest first."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(
        self, *, index: str | None = None, search: str = "", at: str | None = None, limit: int = PAGE
    ) -> Page[Released]:
        """A part of them; a part may have fewer rows than events.

        Args:
            index: only those in this index.
            search: the name of a project, in any spelling.

        Raises:
            RequestInvalid: a cursor or limit that cannot be.
        """
        index_name = Event.index.label("index_name")  # a row has an ``index`` of its own
        columns = (Event.at, Event.actor, Event.project, index_name, Event.subject, Event.reason)
        query: Any = select(*columns, Event.before)
        if search:
            lead = Lead(Event.project, normalize(search) if is_valid_name(search) else "")
            conditions = [_IS_RELEASE] if index is None else [_IS_RELEASE, Event.index == index]
        elif index is not None:
            lead, conditions = Lead(Event.index, index), [_IS_RELEASE]
        else:
            lead, conditions = Lead(Event.action, _RELEASED), []
        with self._database.reading() as session:
            page = _NEWEST_FIRST.page(session, query.where(*conditions), at=at, limit=limit, lead=lead)
        return Page(
            tuple(
                Released(
                    project=project,
                    version=version,
                    index=where,
                    files=len(rows),
                    at=rows[0].at,
                    actor=rows[0].actor,
                    reason=rows[0].reason or "",
                    before=rows[0].before or "",
                )
                for (project, where, version, _), rows in (
                    (key, list(group)) for key, group in groupby(page.rows, key=_together)
                )
            ),
            page.newer,
            page.older,
        )


def _together(row: Any) -> tuple[str, str, str, int]:
    project = row.project or ""
    version = version_of(NormalizedName(project), row.subject or "") if project else None
    return project, row.index_name or "", version or "", row.at
