"""``/admin/projects``: whose names are, what is said of them, and the life of the company's own."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from koschey.domain.names import NormalizedName
from koschey.domain.page import Microseconds
from koschey.domain.permissions import Permission
from koschey.domain.policy import DAY
from koschey.errors import Conflict, KoscheyError, NotFound, RequestInvalid
from koschey.stores.database import now
from koschey.web.access import configuration_number, requires
from koschey.web.admin.forms import TOLD, asked, given, number, submit, who
from koschey.web.admin.history import happenings
from koschey.web.current import koschey
from koschey.web.developers.addresses import normalized
from koschey.web.own_verbs import carry_out, told
from koschey.web.people import html_page

if TYPE_CHECKING:
    from koschey.services.names import NameOutcome

bp = Blueprint("admin_projects", __name__)

HOME = "admin/projects"
_EVENTS = 20
_EVENTS_READ = 200
_TABS = {"all": "All", "own": "The company's own", "unusual": "Archived or deprecated"}


@bp.get("/admin/projects")
@requires(Permission.AUDIT, browser=True)
def projects() -> Response:
    """Names in order."""
    from koschey.services.project_lists import Which

    tab, prefix = asked("show") or "all", asked("q") or ""
    if tab not in set(Which):
        raise RequestInvalid(f"show: one of {', '.join(Which)}")
    query = {} if tab == Which.ALL else {"show": tab}
    page = koschey().project_lists.page(Which(tab), prefix=prefix, at=asked("at"))
    return html_page(
        "admin/projects.html",
        part="admin/projects_list.html",
        page=page,
        tab=tab,
        tabs=_TABS,
        search=prefix,
        query=query | ({"q": prefix} if prefix else {}),
    )


@bp.get("/admin/trusted")
@requires(Permission.AUDIT, browser=True)
def trusted() -> Response:
    """What people trusted."""
    page = koschey().project_lists.trusted(at=asked("at"))
    return html_page("admin/trusted.html", part="admin/trusted_list.html", page=page, tabs=_TABS)


@bp.get("/admin/names")
@bp.get("/admin/names/<verb>")
@requires(Permission.AUDIT, browser=True)
def names(verb: str = "") -> Response:
    """Reservations, claims and mergers."""
    return _names()


@bp.post("/admin/names/reserve")
@requires(Permission.ADMIN, browser=True)
def reserve() -> Response:
    """Make every name that a glob matches the company's own; first what that would do."""
    return _about_names("reserve")


@bp.post("/admin/names/unreserve")
@requires(Permission.ADMIN, browser=True)
def unreserve() -> Response:
    """Take a reservation back."""
    return _about_names("unreserve")


@bp.get("/admin/projects/<name>")
@bp.get("/admin/projects/<name>/<verb>")
@requires(Permission.AUDIT, browser=True)
def project(name: str, verb: str = "") -> Response:
    """All about one name; a form's address, loaded again, is the same page."""
    return _project(normalized(name))


@bp.post("/admin/projects/<name>/trust")
@requires(Permission.REVIEW, browser=True)
def trust(name: str) -> Response:
    """Let what comes of it skip the hold."""

    def act(project: NormalizedName, reason: str) -> str:
        index, until = given("index"), _expiry()
        outcome = koschey().review.trust(project, index=index, reason=reason, actor=who(), expires_at=until)
        return "; ".join([f"{project} is trusted.", *outcome.notes])

    return _change(name, act)


@bp.post("/admin/projects/<name>/untrust")
@requires(Permission.REVIEW, browser=True)
def untrust(name: str) -> Response:
    """Take every trust in it back."""

    def act(project: NormalizedName, reason: str) -> str:
        koschey().review.untrust(project, reason=reason, actor=who())
        return f"{project} is trusted no more."

    return _change(name, act)


@bp.post("/admin/projects/<name>/<verb>")
@requires(Permission.ADMIN, browser=True)
def change(name: str, verb: str) -> Response:
    """Say whose the name is, or do something with the company's own project."""
    whose: dict[str, Callable[[NormalizedName, str], str]] = {
        "claim": _claim,
        "unclaim": _unclaim,
        "merge": _merge,
        "unmerge": _unmerge,
    }
    if verb in whose:
        return _preview(name, verb) if given("do") == "preview" else _change(name, whose[verb])
    return _change(name, lambda project, _: told(carry_out(verb, project, given("source"))))


def _preview(name: str, verb: str) -> Response:
    """What it would do to a name in each index, with the form that does it."""
    project, reason = normalized(name), given("reason") or ""
    where = {"index": given("index")} if verb in ("claim", "unclaim") else {}
    say_of: Any = getattr(koschey().names, verb)
    try:
        outcome = say_of(project, **where, reason=reason, actor=who(), preview=True)
    except TOLD as error:
        wrong = HTTPStatus.CONFLICT if isinstance(error, Conflict) else HTTPStatus.UNPROCESSABLE_ENTITY
        return _project(project, error, wrong)
    return _project(project, outcome=outcome)


def _claim(name: NormalizedName, reason: str) -> str:
    outcome = koschey().names.claim(name, index=given("index"), reason=reason, actor=who())
    return "; ".join([f"{name} is the company's own now.", *outcome.notes])


def _unclaim(name: NormalizedName, reason: str) -> str:
    koschey().names.unclaim(name, index=given("index"), reason=reason, actor=who())
    return f"The claim of {name} is taken back."


def _merge(name: NormalizedName, reason: str) -> str:
    outcome = koschey().names.merge(name, reason=reason, actor=who())
    return "; ".join([f"{name} shows the upstream's files as well.", *outcome.notes])


def _unmerge(name: NormalizedName, reason: str) -> str:
    koschey().names.unmerge(name, reason=reason, actor=who())
    return f"{name} shows the company's own files only."


def _change(name: str, act: Callable[[NormalizedName, str], str]) -> Response:
    project = normalized(name)
    return submit(
        lambda: act(project, given("reason") or ""),
        lambda problem, status: _project(project, problem, status),
        f"{HOME}/{project}",
    )


def _about_names(verb: str) -> Response:
    """Preview first; the form that is then shown saves."""
    pattern, index, reason = given("pattern") or "", given("index"), given("reason") or ""
    do: Any = getattr(koschey().names, verb)
    if request.form.get("do") != "save":
        try:
            outcome = do(pattern, index=index, reason=reason, actor=who(), preview=True)
        except KoscheyError as error:
            return _names(error, HTTPStatus.UNPROCESSABLE_ENTITY)
        return _names(outcome=outcome, verb=verb)

    def act() -> str:
        outcome = do(pattern, index=index, reason=reason, actor=who())
        words = "reserved" if verb == "reserve" else "reserved no more"
        return "; ".join([f"{outcome.pattern} is {words}.", *outcome.notes])

    return submit(act, lambda problem, status: _names(problem, status), "admin/names")


def _expiry() -> Microseconds | None:
    days = number("days", "days")
    if days is None:
        return None
    if not 0 < days <= 36_500:
        raise RequestInvalid("days: more than 0, or nothing for ever")
    return now() + round(days * DAY)


def _names(
    problem: KoscheyError | None = None,
    status: int = HTTPStatus.OK,
    *,
    outcome: object = None,
    verb: str = "reserve",
) -> Response:
    return html_page(
        "admin/names.html",
        status=int(status),
        rules=koschey().names.rules(),
        indexes=_indexes(),
        outcome=outcome,
        verb=verb,
        form=request.form,
        problem=problem,
        tabs=_TABS,
    )


def _project(
    name: NormalizedName,
    problem: KoscheyError | None = None,
    status: int = HTTPStatus.OK,
    *,
    outcome: NameOutcome | None = None,
) -> Response:
    from koschey.services.audit import EventFilter
    from koschey.services.projects import Status

    services = koschey()
    try:
        about = services.own_projects.about(name, number=configuration_number())
    except NotFound:
        if problem is None:
            raise
        about = {"rules": [], "trust": [], "indexes": [], "hosted": []}
    found = services.audit.page(EventFilter(project=name), limit=_EVENTS_READ)
    return html_page(
        "admin/project.html",
        status=int(status),
        name=name,
        about=about,
        known=services.project_lists.project(name),
        held=services.project_lists.held_by_index(name),
        clients=services.project_lists.clients(name),
        indexes=_indexes(),
        statuses=list(Status),
        problem=problem,
        outcome=outcome,
        form=request.form,
        events=happenings(found.page.rows)[:_EVENTS],
    )


def _indexes() -> list[str]:
    return [index.name for index in koschey().configuration.indexes(number=configuration_number())]
