"""``/admin/access``: users, their passwords, sessions and groups."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, request

from koschey.domain.permissions import Permission, Role, account_name
from koschey.errors import Conflict, KoscheyError, NotFound, RequestInvalid
from koschey.web.access import current_actor, requires
from koschey.web.admin.access_grants import for_grants
from koschey.web.admin.forms import asked, given, one_of, submit, who
from koschey.web.current import base_url, koschey
from koschey.web.people import html_page

bp = Blueprint("admin_access", __name__)

HOME = "admin/access"
_ROLES = [role.value for role in Role]


@bp.get("/admin/access")
@requires(Permission.INSPECT, browser=True)
def users() -> Response:
    """Users by name."""
    return _users()


@bp.post("/admin/access")
@requires(Permission.ADMIN, browser=True)
def create() -> Response:
    """Add a user."""
    name = (given("name") or "").lower()

    def act() -> str:
        role = None if given("role") is None else one_of(Role, "role", "role")
        koschey().accounts.create(name, password=_password(needed=False), role=role, actor=who())
        return f"User {name} is added."

    return submit(act, _users, f"{HOME}/users/{name}")


@bp.get("/admin/access/users/<user>")
@bp.get("/admin/access/users/<user>/<verb>")
@requires(Permission.INSPECT, browser=True)
def user(user: str, verb: str = "") -> Response:
    """One of them; a form's address, loaded again, is the same page."""
    return _user(user)


@bp.post("/admin/access/users/<user>/password-link")
@requires(Permission.ADMIN, browser=True)
def password_link(user: str) -> Response:
    """Show a link by which the user chooses a password: once, here only."""
    try:
        path = koschey().password_links.make(user, actor=who())
    except Conflict as error:
        return _user(user, error, HTTPStatus.CONFLICT)
    return _user(user, link=base_url("") + path)


@bp.post("/admin/access/users/<user>/<verb>")
@requires(Permission.ADMIN, browser=True)
def change_user(user: str, verb: str) -> Response:
    """Do something with a user's account."""
    verbs = {
        "password": _set_password,
        "disable": _disable,
        "enable": _enable,
        "sign-out": _sign_out,
        "revoke-tokens": _revoke_all,
        "join": _join,
        "leave": _leave,
        "remove": _remove,
    }
    if verb not in verbs:
        raise NotFound("form", verb)
    onward = HOME if verb == "remove" else f"{HOME}/users/{user}"
    return submit(lambda: verbs[verb](user), lambda problem, status: _user(user, problem, status), onward)


def _set_password(user: str) -> str:
    koschey().accounts.set_password(user, _password(needed=True) or "", actor=who())
    return f"The password of {user} is set; their sessions have ended."


def _disable(user: str) -> str:
    _not_oneself(user)
    koschey().accounts.set_disabled(user, True, actor=who())  # noqa: FBT003 - the verb's object
    return f"{user} is kept out: password, tokens and sessions are worthless."


def _enable(user: str) -> str:
    koschey().accounts.set_disabled(user, False, actor=who())  # noqa: FBT003 - the verb's object
    return f"{user} may sign in again."


def _sign_out(user: str) -> str:
    koschey().accounts.end_sessions(user, actor=who())
    return f"{user} is signed out everywhere; tokens stay."


def _revoke_all(user: str) -> str:
    revoked = koschey().tokens.revoke_all(user, actor=who())
    return f"{revoked} tokens of {user} are revoked." if revoked != 1 else f"1 token of {user} is revoked."


def _join(user: str) -> str:
    group = given("group") or ""
    koschey().groups.join(group, user, actor=who())
    return f"{user} is in {group} now."


def _leave(user: str) -> str:
    group = given("group") or ""
    koschey().groups.leave(group, user, actor=who())
    return f"{user} is no more in {group}."


def _remove(user: str) -> str:
    _not_oneself(user)
    koschey().accounts.remove(user, actor=who())
    return f"User {user} is removed, with tokens and grants."


def _not_oneself(user: str) -> None:
    if account_name(user) == current_actor().name:
        raise Conflict("that is you: another administrator can do it, or koschey user at the command line")


def _password(*, needed: bool) -> str | None:
    """The password of the form, typed twice. Raises: RequestInvalid."""
    password = request.form.get("password", "")
    if password != request.form.get("again", ""):
        raise RequestInvalid("the two passwords are not the same")
    if not password and needed:
        raise RequestInvalid("type the new password, twice")
    return password or None


def _users(problem: KoscheyError | None = None, status: int = HTTPStatus.OK) -> Response:
    prefix = asked("q") or ""
    return html_page(
        "admin/access.html",
        part="admin/access_users.html",
        status=int(status),
        page=koschey().directory.users(prefix=prefix, at=asked("at")),
        search=prefix,
        query={"q": prefix} if prefix else {},
        roles=_ROLES,
        problem=problem,
        form=request.form,
    )


def _user(
    name: str, problem: KoscheyError | None = None, status: int = HTTPStatus.OK, *, link: str = ""
) -> Response:
    directory = koschey().directory
    account = directory.user(name)
    return html_page(
        "admin/access_user.html",
        status=int(status),
        user=account,
        link=link,
        grants=directory.grants(subject=account.name),
        tokens=directory.tokens(user=account.name, limit=20),
        problem=problem,
        myself=account.name == current_actor().name,
        **for_grants(),
    )
