"""A version under review: why it is hidden, what changed, what it is made of, what was said about it."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from flask import Blueprint, Response, request

from koschey.domain.decisions import canonical
from koschey.domain.names import NormalizedName, is_valid_name, normalize
from koschey.domain.permissions import Permission
from koschey.errors import Conflict, KoscheyError, NotFound, RequestInvalid
from koschey.services.configuration import MAIN
from koschey.web.access import configuration_number, current_actor, may, requires
from koschey.web.admin.history import Happening, happenings
from koschey.web.admin.scope import index_to_show, indexes_with, require_review, require_sight
from koschey.web.current import koschey
from koschey.web.people import html_page, say, see

if TYPE_CHECKING:
    from koschey.services.cases import Case

bp = Blueprint("version", __name__)

_EVENTS = 30
_EVENTS_READ = 300
_WISHES = frozenset({"ask.made", "ask.taken_back"})


@bp.get("/admin/quarantine/<project>/<version>")
@requires(Permission.AUDIT, browser=True, some=True)
def version(project: str, version: str) -> Response:
    """Everything about one version, as one index sees it."""
    name, index = _name(project), _index()
    require_sight(name, index)
    explanations = koschey().explanations
    case = explanations.case(index, name)
    why = explanations.of_version(case, version, after=request.args.get("after"))
    if not why.known:
        raise NotFound("version", f"{name}=={version}", why.near)
    spelled = why.versions[0].version or version
    queued = koschey().review_queue.version(name, spelled, number=configuration_number())
    return html_page(
        "admin/version.html",
        why=why,
        version=why.versions[0],
        queued=queued,
        about=f"{name}=={spelled}@{queued.seen if queued else ''}",
        compared=koschey().comparisons.of(case, spelled, request.args.get("file")),
        events=_timeline(case, spelled),
        index=index,
        indexes=indexes_with(Permission.AUDIT),
        decides=may(Permission.REVIEW),
        here=f"admin/quarantine/{name}/{spelled}",
        opened=request.args.get("open", ""),
    )


@bp.get("/admin/quarantine/<project>/<version>/changes")
@requires(Permission.AUDIT, browser=True, some=True)
def changes(project: str, version: str) -> Response:
    """What changed, alone: asked for again until it is there."""
    name, index = _name(project), _index()
    require_sight(name, index)
    case = koschey().explanations.case(index, name)
    compared = koschey().comparisons.of(case, version, request.args.get("file"))
    return html_page(
        "admin/changes_page.html",
        part="admin/changes.html",
        compared=compared,
        index=index,
        project=name,
        version_text=version,
        here=f"admin/quarantine/{name}/{version}",
        opened=request.args.get("open", ""),
    )


@bp.get("/admin/approve-plan")
@requires(Permission.REVIEW, some=True, browser=True)
def plan() -> Response:
    """What is to be approved so that a version can be installed."""
    return _plan()


@bp.post("/admin/approve-plan")
@requires(Permission.REVIEW, some=True, browser=True)
def approve_plan() -> Response:
    """Approve all of that, if it still is what was shown."""
    name, version, index = _about()
    found = koschey().closure.plan(name, version, index=index, include_failed=_flag("failed"))
    for needed in found.versions:
        require_review(needed.name, index)
    try:
        if request.form.get("shown") != _shown(found.versions):
            raise Conflict("it needs something else by now; look again")
        reason = request.form.get("reason", "")
        koschey().review.approve_plan(found, index=index, reason=reason, actor=current_actor().audit_name)
    except (RequestInvalid, Conflict) as error:
        wrong = isinstance(error, RequestInvalid)
        return _plan(error, HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.CONFLICT)
    say(f"{name} {version} and what it needs: {len(found.versions)} versions are approved.")
    return see(f"admin/quarantine/{name}/{version}?index={index}")


@bp.get("/admin/revert")
@requires(Permission.REVIEW, some=True, browser=True)
def ask_revert() -> Response:
    """The form that takes a decision back."""
    return _revert_form()


@bp.post("/admin/revert")
@requires(Permission.REVIEW, some=True, browser=True)
def revert() -> Response:
    """Take a decision back, by another one."""
    name, version, _ = _about()
    require_review(name, koschey().review.index_of(_decision()))
    try:
        koschey().review.revert(
            name,
            reason=request.form.get("reason", ""),
            actor=current_actor().audit_name,
            decision_id=_decision(),
        )
    except RequestInvalid as error:
        return _revert_form(error, HTTPStatus.UNPROCESSABLE_ENTITY)
    except (Conflict, NotFound) as error:
        return _revert_form(error, HTTPStatus.CONFLICT)
    say(f"Decision {_decision()} is taken back.")
    return see(f"admin/quarantine/{name}/{version}")


def _timeline(case: Case, version: str) -> list[Happening]:
    """What happened lately to this version, or to all of them, in the indexes that one may look into."""
    allowed = {None, *indexes_with(Permission.AUDIT)}
    own = {file.filename for file, _ in case.releases[version]}
    own |= {case.name, f"{case.name}=={version}", f"{case.name}=={canonical(version)}", ""}
    events = koschey().audit.events(project=case.name, limit=_EVENTS_READ)
    seen = [event for event in events if event.index in allowed]
    told = [event for event in seen if event.action not in _WISHES]  # the page says how many they are
    return happenings(event for event in told if (event.subject or "") in own)[:_EVENTS]


def _plan(problem: KoscheyError | None = None, status: int = HTTPStatus.OK) -> Response:
    name, version, index = _about()
    require_review(name, index)
    found = koschey().closure.plan(name, version, index=index, include_failed=_flag("failed"))
    return html_page(
        "admin/plan.html",
        status=status,
        plan=found,
        project=name,
        version=version,
        index=index,
        failed=_flag("failed"),
        shown=_shown(found.versions),
        reason=request.values.get("reason", ""),
        problem=problem,
    )


def _revert_form(problem: KoscheyError | None = None, status: int = HTTPStatus.OK) -> Response:
    name, version, _ = _about()
    return html_page(
        "admin/revert.html",
        status=status,
        project=name,
        version=version,
        decision=_decision(),
        reason=request.values.get("reason", ""),
        problem=problem,
    )


def _shown(versions: object) -> str:
    """A short mark of a plan: approved is what was shown, or nothing."""
    return hashlib.sha256(msgspec.json.encode(versions)).hexdigest()[:24]


def _name(project: str) -> NormalizedName:
    if not is_valid_name(project):
        raise NotFound("project", project)
    return normalize(project)


def _index() -> str:
    return index_to_show(request.values.get("index")) or MAIN


def _about() -> tuple[NormalizedName, str, str]:
    version = request.values.get("version", "")
    if not version:
        raise RequestInvalid("version: which one?")
    return _name(request.values.get("project", "")), version, _index()


def _flag(name: str) -> bool:
    return request.values.get(name) == "1"


def _decision() -> int:
    text = request.values.get("decision", "")
    if not text.isdecimal() or len(text) > 18:
        raise RequestInvalid("decision: its number")
    return int(text)
