"""The journal, read: who changed what, when and why."""

from __future__ import annotations

import msgspec
from sqlalchemy import select

from koschey.domain.names import normalize
from koschey.domain.page import Microseconds
from koschey.errors import RequestInvalid
from koschey.stores.database import Database
from koschey.stores.models import Event

MOST = 1000


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


class Audit:
    """Answers from the events, newest first."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
        if not 1 <= limit <= MOST:
            raise RequestInvalid(f"limit: from 1 to {MOST}")
        query = select(*(getattr(Event, name) for name in AuditEvent.__struct_fields__))
        if project is not None:
            query = query.where(Event.project == normalize(project))
        if index is not None:
            query = query.where(Event.index == index)
        if actor is not None:
            query = query.where(Event.actor == actor)
        if action is not None:
            query = query.where(Event.action.like(like(action), escape="\\"))
        if since is not None:
            query = query.where(Event.at >= since)
        if after is not None:
            query = query.where(Event.id < after)
        with self._database.reading() as session:
            rows = session.execute(query.order_by(Event.id.desc()).limit(limit))
            return [AuditEvent(**dict(zip(AuditEvent.__struct_fields__, row, strict=True))) for row in rows]


def like(glob: str) -> str:
    r"""A glob of ``*`` and ``?`` as a pattern of LIKE with ``\`` as its escape."""
    literal = glob.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return literal.replace("*", "%").replace("?", "_")
