"""The queue of the quarantine, in tabs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from koschey.domain.permissions import Permission
from koschey.errors import RequestInvalid
from koschey.web.access import may, requires
from koschey.web.admin.scope import index_to_show, indexes_with, shown_to_me
from koschey.web.current import koschey
from koschey.web.people import html_page

if TYPE_CHECKING:
    from koschey.services.keyset import Page

bp = Blueprint("quarantine", __name__)

TABS = {
    "review": "Needs review",
    "waiting": "Waiting",
    "rejected": "Rejected",
    "released": "Released",
}


@bp.get("/admin/quarantine")
@requires(Permission.AUDIT, some=True, browser=True)
def queue() -> Response:
    """A tab of the queue."""
    from koschey.services.review_queue import Tab

    tab = request.args.get("tab", "review")
    if tab not in TABS:
        raise RequestInvalid(f"tab: one of {', '.join(TABS)}")
    index, search = index_to_show(request.args.get("index")), request.args.get("q", "").strip()
    place = request.args.get("at") or None
    page: Page[Any]
    if tab == "released":
        page = koschey().releases.page(index=index, search=search, at=place)
    else:
        page = koschey().review_queue.page(Tab(tab), index=index, search=search, at=place)
    rows: tuple[Any, ...] = page.rows
    mine = shown_to_me(index, {row.project for row in rows})
    return html_page(
        "admin/quarantine.html",
        part="admin/quarantine_list.html",
        page=page._replace(rows=tuple(row for row in rows if row.project in mine)),
        tab=tab,
        tabs=TABS,
        index=index or "",
        indexes=indexes_with(Permission.AUDIT),
        search=search,
        decides=may(Permission.REVIEW) and tab != "released",
        query={key: value for key, value in (("tab", tab), ("index", index), ("q", search)) if value},
    )
