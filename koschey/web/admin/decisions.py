"""The form that decides about versions: what it would do, then a reason, then what became of each."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from koschey.domain.names import normalize
from koschey.domain.page import Microseconds
from koschey.domain.permissions import Permission
from koschey.domain.policy import DAY
from koschey.errors import Conflict, KoscheyError, RequestInvalid
from koschey.stores.database import now
from koschey.web.access import current_actor, requires
from koschey.web.admin.scope import everywhere, indexes_with, require_review
from koschey.web.current import koschey
from koschey.web.people import html_page, say, see

if TYPE_CHECKING:
    from koschey.services.deliberation import Case, Result, Verb

bp = Blueprint("decisions", __name__)

MOST = 200
LIST = "#list"
_LONGEST_EXTENSION = 3650
_DONE = {
    "approve": "approved",
    "reject": "rejected",
    "extend": "held for longer",
    "recheck": "to be checked again",
}


@bp.get("/admin/decide")
@requires(Permission.REVIEW, some=True, browser=True)
def ask() -> Response:
    """The form, with what the decision would do."""
    return _form()


@bp.post("/admin/decide")
@requires(Permission.REVIEW, some=True, browser=True)
def decide() -> Response:
    """Do it; the form again, with what is wrong, when it cannot be done."""
    verb, cases, index = verb_of(), _cases(), request.form.get("index") or None
    for name in {case.project for case in cases}:
        require_review(name, index)
    try:
        results = koschey().deliberation.carry_out(
            verb,
            cases,
            index=index,
            reason=request.form.get("reason", ""),
            actor=current_actor().audit_name,
            until=until_of(),
            opened=opened(),
        )
    except RequestInvalid as error:
        return _form(error, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    failed = [result for result in results if result.state != "done"]
    if len(failed) == len(results):
        return _form(Conflict(failed[0].words), status=HTTPStatus.CONFLICT, failed=failed)
    _tell(verb, results, failed)
    onward = _onward()
    return see(onward, part=LIST if onward.partition("?")[0] == "admin/quarantine" else "")


def _form(
    problem: KoscheyError | None = None, *, status: int = HTTPStatus.OK, failed: list[Result] | None = None
) -> Response:
    verb, cases = verb_of(), _cases()
    allowed = indexes_with(Permission.REVIEW)
    index = request.values.get("index") or (None if everywhere(Permission.REVIEW) else allowed[0])
    for name in {case.project for case in cases}:
        require_review(name, index)
    return html_page(
        "admin/decide.html",
        part="admin/decide_form.html",
        status=status,
        verb=verb,
        cases=cases,
        effect=koschey().deliberation.effect(verb, cases, index=index),
        index=index or "",
        indexes=allowed,
        everywhere=everywhere(Permission.REVIEW),
        reason=request.values.get("reason", ""),
        days=request.values.get("days", ""),
        problem=problem,
        failed=failed or [],
        onward=_onward(),
        opened=opened() or now(),
    )


def verb_of() -> Verb:
    """What a form says is to be done. Raises: RequestInvalid."""
    from koschey.services.deliberation import Verb

    try:
        return Verb(request.values.get("verb", ""))
    except ValueError:
        raise RequestInvalid(f"verb: one of {', '.join(Verb)}") from None


def _cases() -> list[Case]:
    """Each as ``project==version@sighting``; as it was seen, so that a decision is about that."""
    from koschey.services.deliberation import Case

    found = []
    for text in dict.fromkeys(request.values.getlist("case")):
        about, _, seen = text.rpartition("@")
        name, separator, version = about.partition("==")
        if not separator:
            raise RequestInvalid("case: project==version@sighting, as the queue gives it")
        found.append(Case(normalize(name), version, seen or None))
    if not 1 <= len(found) <= MOST:
        raise RequestInvalid(f"select versions first, {MOST} at the most")
    return found


def until_of() -> Microseconds | None:
    """When an extended hold ends, by a form's days; None: when somebody decides. Raises: RequestInvalid."""
    days = request.form.get("days", "").strip()
    if not days:
        return None
    if not days.isdecimal() or not 1 <= int(days) <= _LONGEST_EXTENSION:
        raise RequestInvalid(f"days: a whole number from 1 to {_LONGEST_EXTENSION:,}, or nothing")
    return now() + int(days) * DAY


def opened() -> Microseconds | None:
    """When a form was loaded, which tells it from others of its kind; None: it does not say."""
    text = request.values.get("opened", "")
    return int(text) if text.isdecimal() and len(text) <= 18 else None


def _onward() -> str:
    """Where the form was opened: an address below ours, nobody else's."""
    onward = request.values.get("onward", "")
    inside = onward.startswith("admin/") and not any(part in onward for part in ("//", "\\", ".."))
    return onward if inside else "admin/quarantine"


def _tell(verb: Verb, results: list[Result], failed: list[Result]) -> None:
    done = [result for result in results if result.state == "done"]
    about = f"{done[0].case.project} {done[0].case.version}" if len(done) == 1 else f"{len(done)} versions"
    say(f"{about}: {_DONE[verb]}.", "done")
    for result in done:
        if result.words and len(done) == 1:
            say(result.words, "warning")
    for result in failed[:5]:
        say(result.words, "error")
    if len(failed) > 5:
        say(f"{len(failed) - 5} more were left as they are: somebody changed them meanwhile", "error")
