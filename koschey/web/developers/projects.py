"""``/projects/…``: what there is of a project, how to install it, and asking for what is hidden."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from koschey.domain.decisions import canonical
from koschey.domain.names import NormalizedName
from koschey.domain.permissions import Permission
from koschey.errors import Conflict, Forbidden, RequestInvalid
from koschey.services.configuration import MAIN
from koschey.web.access import admitted, current_actor, requires
from koschey.web.current import base_url, koschey
from koschey.web.developers.addresses import moved, normalized, prefix, project_path
from koschey.web.developers.tools import install_lines
from koschey.web.people import back, html_page, say

if TYPE_CHECKING:
    from koschey.domain.why import Explanation
    from koschey.services.project_pages import ProjectPage

bp = Blueprint("projects", __name__)


@bp.get("/projects/<name>/", defaults={"index": MAIN})
@bp.get("/<index>/projects/<name>/")
@requires(Permission.READ, browser=True)
def project(index: str, name: str) -> Response:
    """A project: its newest version whole, and the list of all."""
    project = normalized(name)
    if project != name:
        return moved(f"../{project}/")
    page = koschey().project_pages.page(index, project, after=request.args.get("after"))
    return _shown(index, project, page, asked=None)


@bp.get("/projects/<name>/<version>/", defaults={"index": MAIN})
@bp.get("/<index>/projects/<name>/<version>/")
@requires(Permission.READ, browser=True)
def version(index: str, name: str, version: str) -> Response:
    """One version of a project."""
    project = normalized(name)
    if project != name:
        return moved(f"../../{project}/{version}/")
    page = koschey().project_pages.page(index, project, version)
    return _shown(index, project, page, asked=version)


@bp.get("/projects/<name>", defaults={"index": MAIN})
@bp.get("/<index>/projects/<name>")
@requires(Permission.READ, browser=True)
def without_slash(index: str, name: str) -> Response:
    """Pages end in a slash."""
    return moved(f"{normalized(name)}/")


@bp.post("/projects/<name>/<version>/ask", defaults={"index": MAIN})
@bp.post("/<index>/projects/<name>/<version>/ask")
@requires(Permission.ASK)
def ask(index: str, name: str, version: str) -> Response:
    """Ask for a version that is hidden."""
    actor = current_actor()
    if not actor.signed_in:
        raise Forbidden(Permission.ASK, "who asks for a version has to be signed in, to be told the answer")
    project, form = normalized(name), request.form
    try:
        asked = koschey().asks.ask(
            index,
            project,
            version,
            actor=actor.name,
            reason=form.get("reason", ""),
            email=form.get("email"),
        )
    except (RequestInvalid, Conflict) as error:
        status = HTTPStatus.CONFLICT if isinstance(error, Conflict) else HTTPStatus.UNPROCESSABLE_ENTITY
        page = koschey().project_pages.page(index, project, version)
        return _shown(index, project, page, asked=version, problem=str(error), form=form, status=status)
    others = asked.people - 1
    joined = f"; {others} other{'s ask' if others > 1 else ' asks'} for it, too" if others else ""
    say(f"You asked for {project} {version}{joined}.")
    return back(project_path(index, project, version))


@bp.post("/projects/<name>/<version>/take-back", defaults={"index": MAIN})
@bp.post("/<index>/projects/<name>/<version>/take-back")
@requires(Permission.ASK)
def take_back(index: str, name: str, version: str) -> Response:
    """Ask no more."""
    project = normalized(name)
    ask_id = request.form.get("ask", "")
    if not ask_id.isascii() or not ask_id.isdigit() or len(ask_id) > 18:
        raise RequestInvalid("which request: the form has its number")
    koschey().asks.take_back(int(ask_id), actor=current_actor().name)
    say(f"You ask no more for {project} {version}.")
    return back(project_path(index, project, version))


def page_of(index: str, project: NormalizedName, *, trouble: str, status: int) -> Response:
    """A project's page once more, with what was wrong with a form of those who look after it."""
    page = koschey().project_pages.page(index, project)
    return _shown(index, project, page, asked=None, trouble=trouble, status=status)


def _looks_after(index: str, project: str, why: Explanation) -> bool:
    """Whether the one who asks looks after the project, and it is where the index's uploads go."""
    if not (why.hosted and admitted(Permission.MANAGE, index, project)):
        return False
    return koschey().configuration.index(index).uploads_to.name == why.source


def _shown(
    index: str,
    project: str,
    page: ProjectPage,
    *,
    asked: str | None,
    problem: str = "",
    trouble: str = "",
    form: Mapping[str, str] | None = None,
    status: int = HTTPStatus.OK,
) -> Response:
    from koschey.services.projects import Status  # as in koschey.web.admin

    actor, services = current_actor(), koschey()
    shown = asked or page.version
    wish = page.asks.get(canonical(shown)) if shown else None
    mine = wish is not None and actor.signed_in and services.asks.has(wish.id, actor.name)
    base = base_url("" if index == MAIN else f"/{index}")
    if asked is not None and not page.why.known:
        status = HTTPStatus.NOT_FOUND
    return html_page(
        "developers/project.html",
        status=int(status),
        page=page,
        why=page.why,
        index=index,
        prefix=prefix(index),
        project=project,
        asked=asked,
        wish=wish,
        mine=mine,
        signed_in=actor.signed_in,
        base=base,
        lines=install_lines(f"{base}/simple/", project, page.version),
        problem=problem,
        trouble=trouble,
        manages=_looks_after(index, project, page.why),
        statuses=[word for word in Status if word is not Status.QUARANTINED],  # for administrators
        form=form or {},
    )
