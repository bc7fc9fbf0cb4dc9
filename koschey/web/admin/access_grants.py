"""``/admin/access/grants``: who has which role where; ``/explain``: why somebody may or may not."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request

from koschey.domain.permissions import Answer, Permission, Role
from koschey.errors import KoscheyError, NotFound, RequestInvalid
from koschey.web.access import requires
from koschey.web.admin.forms import asked, given, one_of, submit, who
from koschey.web.current import koschey
from koschey.web.people import html_page

bp = Blueprint("admin_access_grants", __name__)

HOME = "admin/access"


@bp.get("/admin/access/grants")
@bp.get("/admin/access/grants/remove")
@requires(Permission.INSPECT, browser=True)
def grants() -> Response:
    """Grants, the newest first."""
    return _grants()


@bp.post("/admin/access/grants")
@requires(Permission.ADMIN, browser=True)
def grant() -> Response:
    """Give a role."""

    def act() -> str:
        role, subject = one_of(Role, "role", "role"), given("subject") or ""
        pattern = given("pattern") or "*"
        given_now = koschey().grants.add(role, subject, index=given("index"), pattern=pattern, actor=who())
        return f"{subject} is {role} now." if given_now else f"{subject} was {role} there already."

    return submit(act, _grants, f"{HOME}/grants")


@bp.post("/admin/access/grants/remove")
@requires(Permission.ADMIN, browser=True)
def take_back() -> Response:
    """Take a role back."""

    def act() -> str:
        row = koschey().directory.grant(_number("grant"))
        koschey().grants.remove(
            Role(row.role), row.subject, index=row.index, pattern=row.pattern, actor=who()
        )
        return f"{row.subject} is {row.role} there no more."

    onward = given("onward") or ""
    at_user = onward.startswith(("users/", "groups/")) and ".." not in onward
    return submit(act, _grants, f"{HOME}/{onward if at_user else 'grants'}")


@bp.get("/admin/access/explain")
@requires(Permission.INSPECT, browser=True)
def explain() -> Response:
    """Whether somebody may do something, and by which grant or plug-in."""
    subject, answer, problem = asked("subject"), None, None
    try:
        if subject is not None:
            answer = _answer(subject)
    except (NotFound, RequestInvalid) as error:
        problem = error
    return html_page(
        "admin/access_explain.html",
        part="admin/access_answer.html",
        status=HTTPStatus.UNPROCESSABLE_ENTITY if problem else HTTPStatus.OK,
        answer=answer,
        problem=problem,
        query=request.args,
        permissions=list(Permission),
        indexes=_indexes(),
    )


def _answer(subject: str) -> Answer:
    words, index = {word.value: word for word in Permission}, asked("index")
    permission = words.get(request.args.get("permission", ""))
    if permission is None:
        raise RequestInvalid("permission: choose one")
    if index is not None:
        koschey().configuration.index(index)
    return koschey().access.explain(subject, permission, index=index, name=asked("name"))


def _number(name: str) -> int:
    text = given(name) or ""
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise RequestInvalid(f"which {name}: the form has its number")
    return int(text)


def _grants(problem: KoscheyError | None = None, status: int = HTTPStatus.OK) -> Response:
    subject = asked("subject")
    return html_page(
        "admin/access_grants.html",
        part="admin/access_grants_list.html",
        status=int(status),
        page=koschey().directory.grants(subject=subject, at=asked("at")),
        query={} if subject is None else {"subject": subject},
        subject=subject or "",
        problem=problem,
        **for_grants(),
    )


def for_grants() -> dict[str, Any]:
    """What the form that gives a role offers."""
    return {"roles": [role.value for role in Role], "indexes": _indexes(), "form": request.form}


def _indexes() -> list[str]:
    return [index.name for index in koschey().configuration.indexes()]
