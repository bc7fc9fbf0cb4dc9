"""``/projects/NAME/manage/VERB``: those who publish a project yank, delete, restore and archive it."""

from __future__ import annotations

import msgspec
from flask import Blueprint, Response, request

from koschey.domain.permissions import Permission
from koschey.errors import KoscheyError, NotFound
from koschey.services.configuration import MAIN
from koschey.web import htmx
from koschey.web.access import requires
from koschey.web.admin.forms import submit
from koschey.web.current import koschey
from koschey.web.developers.addresses import moved, normalized, prefix, project_path
from koschey.web.developers.projects import page_of
from koschey.web.own_verbs import VERBS, carry_out, told
from koschey.web.people import prefers_html

bp = Blueprint("publishing", __name__)


@bp.post("/projects/<name>/manage/<verb>", defaults={"index": MAIN})
@bp.post("/<index>/projects/<name>/manage/<verb>")
@requires(Permission.MANAGE)
def manage(index: str, name: str, verb: str) -> Response:
    """Do something with the project where the index's uploads go; programs are told in JSON what came."""
    project = normalized(name)
    if verb not in VERBS:
        raise NotFound("verb", verb, VERBS)
    source = koschey().configuration.index(index).uploads_to.name
    if prefers_html() or htmx.asks():

        def again(problem: KoscheyError, status: int) -> Response:
            return page_of(index, project, trouble=str(problem), status=status)

        gone = verb == "delete" and request.form.get("whole") == "1"
        to = f"{prefix(index)}search" if gone else project_path(index, project)
        return submit(lambda: told(carry_out(verb, project, source)), again, to)
    outcome = carry_out(verb, project, source)
    answer = Response(msgspec.json.encode(outcome), content_type="application/json")
    answer.headers["Cache-Control"] = "no-store"
    return answer


@bp.get("/projects/<name>/manage/<verb>", defaults={"index": MAIN})
@bp.get("/<index>/projects/<name>/manage/<verb>")
@requires(Permission.READ, browser=True)
def again(index: str, name: str, verb: str) -> Response:
    """A form's address, loaded again, leads to its page."""
    return moved("../")
