"""Deciding about everything that fits a search, as a job whose progress is shown."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from koschey.domain.permissions import Permission
from koschey.errors import KoscheyError, RequestInvalid
from koschey.stores.database import now
from koschey.web.access import current_actor, requires
from koschey.web.admin.decisions import until_of, verb_of
from koschey.web.admin.scope import index_to_show, shown_to_me
from koschey.web.current import koschey
from koschey.web.people import html_page, say, see

if TYPE_CHECKING:
    from koschey.services.review_queue import Tab

bp = Blueprint("bulk", __name__)

_PREVIEW = 10


@bp.get("/admin/bulk")
@requires(Permission.REVIEW, some=True, browser=True)
def ask() -> Response:
    """The form: what fits, and what is to be done about it."""
    return _form()


@bp.post("/admin/bulk")
@requires(Permission.REVIEW, some=True, browser=True)
def begin() -> Response:
    """Begin the job, for who may decide about all of it."""
    index = index_to_show(request.form.get("index"))
    actor = current_actor()
    koschey().access.require(actor, Permission.REVIEW, index=index)
    try:
        bulk_id = koschey().bulk.begin(
            verb_of(),
            _tab(),
            search=request.form.get("q", "").strip(),
            index=index,
            before=_before(),
            reason=request.form.get("reason", ""),
            actor=actor.audit_name,
            until=until_of(),
        )
    except RequestInvalid as error:
        return _form(error, HTTPStatus.UNPROCESSABLE_ENTITY)
    return see(f"admin/bulk/{bulk_id}")


@bp.get("/admin/bulk/<int:bulk_id>")
@requires(Permission.AUDIT, some=True, browser=True)
def progress(bulk_id: int) -> Response:
    """How far it has come, and what became of each version."""
    bulk = koschey().bulk.state(bulk_id)
    koschey().access.require(current_actor(), Permission.AUDIT, index=bulk.index)
    return html_page(
        "admin/bulk.html",
        part="admin/bulk_progress.html",
        bulk=bulk,
        page=koschey().bulk.results(bulk_id, at=request.args.get("at")),
    )


@bp.post("/admin/bulk/<int:bulk_id>")
@requires(Permission.REVIEW, some=True, browser=True)
def stop(bulk_id: int) -> Response:
    """Decide about nothing more."""
    index = koschey().bulk.state(bulk_id).index
    koschey().access.require(current_actor(), Permission.REVIEW, index=index)
    koschey().bulk.stop(bulk_id, actor=current_actor().audit_name)
    say("Stopped. What was decided until then stays decided.", "warning")
    return see(f"admin/bulk/{bulk_id}")


def _form(problem: KoscheyError | None = None, status: int = HTTPStatus.OK) -> Response:
    from koschey.services.deliberation import Verb

    tab, index, search = (
        _tab(),
        index_to_show(request.values.get("index")),
        request.values.get("q", "").strip(),
    )
    before = _before()
    page = koschey().review_queue.page(tab, index=index, search=search, before=before, limit=_PREVIEW)
    mine = shown_to_me(index, {row.project for row in page.rows})
    page = page._replace(rows=tuple(row for row in page.rows if row.project in mine))
    return html_page(
        "admin/bulk_form.html",
        status=status,
        tab=tab,
        index=index or "",
        search=search,
        before=before,
        page=page,
        verb=request.values.get("verb", Verb.APPROVE.value),
        verbs=list(Verb),
        reason=request.values.get("reason", ""),
        days=request.values.get("days", ""),
        problem=problem,
    )


def _tab() -> Tab:
    from koschey.services.review_queue import Tab

    try:
        return Tab(request.values.get("tab", ""))
    except ValueError:
        raise RequestInvalid(f"tab: one of {', '.join(Tab)}") from None


def _before() -> int:
    text = request.values.get("before", "")
    return int(text) if text.isdecimal() and len(text) <= 18 else now()
