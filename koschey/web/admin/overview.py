"""The overview: what needs somebody now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response

from koschey.domain.permissions import Permission
from koschey.domain.policy import DAY
from koschey.stores.database import now
from koschey.web.access import requires
from koschey.web.admin.scope import everywhere, indexes_with, shown_to_me
from koschey.web.current import koschey
from koschey.web.people import html_page

if TYPE_CHECKING:
    from koschey.services.audit import AuditEvent

bp = Blueprint("overview", __name__)

_DECISIONS = 10
#: What went away upstream is shown for so long.
_LATELY = 7 * DAY
#: So many of those that came back are looked at.
_RETURNED = 100
#: What an event says of a project that its upstream quarantined.
_HIDDEN = "present quarantined"


@bp.get("/admin/")
@requires(Permission.AUDIT, some=True, browser=True)
def overview() -> Response:
    """The numbers of the queue, and what was decided last."""
    allowed = indexes_with(Permission.AUDIT)
    inspects = everywhere(Permission.AUDIT)
    numbers = koschey().metrics.numbers()
    decisions = koschey().audit.events(action="decision.*", limit=_DECISIONS)
    mine = shown_to_me(None, {event.project for event in decisions if event.project is not None})
    return html_page(
        "admin/overview.html",
        numbers=numbers,
        inspects=inspects,
        indexes=[index for index in numbers.indexes if index.name in allowed],
        plots=koschey().plots.plots() if inspects else [],
        checklist=koschey().checklist.steps() if everywhere(Permission.ADMIN) else [],
        upstreams=[each for each in koschey().upstreams.list() if each.needs_a_look] if inspects else [],
        gone=_gone() if inspects else [],
        decisions=[
            event
            for event in decisions
            if (event.index is None or event.index in allowed)
            and (event.project is None or event.project in mine)
        ],
    )


def _gone() -> list[AuditEvent]:
    """Projects and files that upstreams took away or hid lately, the newest first."""
    from koschey.services.audit import EventFilter

    found: list[AuditEvent] = []
    for action in ("project.deleted_upstream", "file.withdrawn", "project.status"):
        wanted = EventFilter(action=action, since=now() - _LATELY)
        found += koschey().audit.page(wanted, limit=_DECISIONS).page.rows
    back = koschey().audit.page(EventFilter(action="file.returned", since=now() - _LATELY), limit=_RETURNED)
    there = {(event.project, event.subject): event.id for event in back.page.rows}
    found = [event for event in found if there.get((event.project, event.subject), 0) < event.id]
    found = [event for event in found if event.action != "project.status" or event.after == _HIDDEN]
    return sorted(found, key=lambda event: event.id, reverse=True)[:_DECISIONS]
