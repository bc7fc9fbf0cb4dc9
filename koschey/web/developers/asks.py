"""``/requests``: what somebody asked for; ``/admin/requests``: what reviewers are asked for."""

from __future__ import annotations

from flask import Blueprint, Response, request

from koschey.domain.permissions import Permission
from koschey.errors import RequestInvalid
from koschey.web.access import current_actor, requires
from koschey.web.current import koschey
from koschey.web.people import back, html_page, say

bp = Blueprint("asks", __name__)


@bp.get("/requests")
@requires(Permission.READ, some=True, browser=True)
def mine() -> Response:
    """What the one who asks wanted, and what became of it."""
    actor = current_actor()
    asks = koschey().asks.of(actor.name) if actor.signed_in else []
    return html_page("developers/requests.html", asks=asks, signed_in=actor.signed_in)


@bp.get("/admin/requests")
@requires(Permission.AUDIT, some=True, browser=True)
def everybodys() -> Response:
    """Requests in a state, the newest first, with the people behind each."""
    from koschey.domain.asks import AskState

    states = {state.value: state for state in AskState}
    state = states.get(request.args.get("state", ""), AskState.OPEN)
    before = request.args.get("before", "")
    page = koschey().asks.page(state=state, before=_number(before) if before else None, limit=25)
    allowed = [ask for ask in page.asks if _concerns(Permission.AUDIT, ask.index, ask.project)]
    people = {ask.id: koschey().asks.people(ask.id) for ask in allowed}
    return html_page(
        "admin/requests.html",
        part="admin/requests_part.html",
        asks=allowed,
        people=people,
        older=page.next,
        state=state.value,
        states=list(states),
    )


@bp.post("/admin/requests/<int:ask_id>/refuse")
@requires(Permission.REVIEW, some=True)
def refuse(ask_id: int) -> Response:
    """Say no to everybody who made a request."""
    services, actor = koschey(), current_actor()
    asked = services.asks.get(ask_id)
    services.access.require(actor, Permission.REVIEW, index=asked.index, name=asked.project)
    try:
        services.asks.refuse(ask_id, actor=actor.audit_name, reason=request.form.get("reason", ""))
    except RequestInvalid as error:
        say(str(error), "error")
    else:
        say(f"Refused: {asked.project} {asked.version} stays as it is.")
    return back("admin/requests")


def _concerns(permission: Permission, index: str, name: str) -> bool:
    return koschey().access.answer(current_actor(), permission, index=index, name=name).allowed


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise RequestInvalid("before: the number of a request")
    return int(text)
