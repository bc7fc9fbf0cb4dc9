"""``/admin/access/groups``: groups and who is in them."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, request

from koschey.domain.permissions import Permission
from koschey.errors import KoscheyError, NotFound
from koschey.web.access import requires
from koschey.web.admin.access_grants import for_grants
from koschey.web.admin.forms import asked, given, submit, who
from koschey.web.current import koschey
from koschey.web.people import html_page

bp = Blueprint("admin_access_groups", __name__)

HOME = "admin/access/groups"


@bp.get("/admin/access/groups")
@requires(Permission.INSPECT, browser=True)
def groups() -> Response:
    """Groups by name."""
    return _groups()


@bp.post("/admin/access/groups")
@requires(Permission.ADMIN, browser=True)
def create_group() -> Response:
    """Add a group."""
    name = (given("name") or "").lower()

    def act() -> str:
        koschey().groups.create(name, actor=who())
        return f"Group {name} is added."

    return submit(act, _groups, f"{HOME}/{name}")


@bp.get("/admin/access/groups/<group>")
@bp.get("/admin/access/groups/<group>/<verb>")
@requires(Permission.INSPECT, browser=True)
def group(group: str, verb: str = "") -> Response:
    """One of them, with its members."""
    return _group(group)


@bp.post("/admin/access/groups/<group>/<verb>")
@requires(Permission.ADMIN, browser=True)
def change_group(group: str, verb: str) -> Response:
    """Put somebody into it, take somebody out, or delete it."""
    services, member = koschey(), (given("user") or "").lower()

    def act() -> str:
        if verb == "join":
            joined = services.groups.join(group, member, actor=who())
            return f"{member} is in {group} now." if joined else f"{member} was in {group} already."
        if verb == "leave":
            services.groups.leave(group, member, actor=who())
            return f"{member} is no more in {group}."
        if verb == "remove":
            services.groups.remove(group, actor=who())
            return f"Group {group} is removed, with what was granted to it."
        raise NotFound("form", verb)

    onward = HOME if verb == "remove" else f"{HOME}/{group}"
    return submit(act, lambda problem, status: _group(group, problem, status), onward)


def _groups(problem: KoscheyError | None = None, status: int = HTTPStatus.OK) -> Response:
    page = koschey().directory.groups(at=asked("at"))
    form = request.form
    return html_page("admin/access_groups.html", status=int(status), page=page, problem=problem, form=form)


def _group(name: str, problem: KoscheyError | None = None, status: int = HTTPStatus.OK) -> Response:
    directory = koschey().directory
    found = directory.group(name)
    return html_page(
        "admin/access_group.html",
        status=int(status),
        group=found,
        grants=directory.grants(subject=f"group:{found.name}"),
        problem=problem,
        **for_grants(),
    )
