"""The overview: what needs somebody now."""

from __future__ import annotations

from flask import Blueprint, Response

from koschey.domain.permissions import Permission
from koschey.web.access import requires
from koschey.web.admin.scope import everywhere, indexes_with, shown_to_me
from koschey.web.current import koschey
from koschey.web.people import html_page

bp = Blueprint("overview", __name__)

_DECISIONS = 10
_DEPARTURES = 10


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
        departures=koschey().departures.latest(_DEPARTURES) if inspects else [],
        decisions=[
            event
            for event in decisions
            if (event.index is None or event.index in allowed)
            and (event.project is None or event.project in mine)
        ],
    )
