"""``/admin/access``: users, groups, grants, tokens, and why somebody may or may not."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request

from koschey.domain.permissions import Answer, Permission, Role, account_name
from koschey.errors import Conflict, KoscheyError, NotFound, RequestInvalid
from koschey.web.access import current_actor, requires
from koschey.web.admin.forms import asked, given, one_of, submit
from koschey.web.current import base_url, koschey
from koschey.web.people import html_page, say, see

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
        koschey().accounts.create(name, password=_password(needed=False), role=role, actor=_who())
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
        path = koschey().password_links.make(user, actor=_who())
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
        koschey().groups.create(name, actor=_who())
        return f"Group {name} is added."

    return submit(act, _groups, f"{HOME}/groups/{name}")


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
    services, who = koschey(), (given("user") or "").lower()

    def act() -> str:
        if verb == "join":
            joined = services.groups.join(group, who, actor=_who())
            return f"{who} is in {group} now." if joined else f"{who} was in {group} already."
        if verb == "leave":
            services.groups.leave(group, who, actor=_who())
            return f"{who} is no more in {group}."
        if verb == "remove":
            services.groups.remove(group, actor=_who())
            return f"Group {group} is removed, with what was granted to it."
        raise NotFound("form", verb)

    onward = f"{HOME}/groups" if verb == "remove" else f"{HOME}/groups/{group}"
    return submit(act, lambda problem, status: _group(group, problem, status), onward)


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
        given_now = koschey().grants.add(role, subject, index=given("index"), pattern=pattern, actor=_who())
        return f"{subject} is {role} now." if given_now else f"{subject} was {role} there already."

    return submit(act, _grants, f"{HOME}/grants")


@bp.post("/admin/access/grants/remove")
@requires(Permission.ADMIN, browser=True)
def take_back() -> Response:
    """Take a role back."""

    def act() -> str:
        row = koschey().directory.grant(_number("grant"))
        koschey().grants.remove(
            Role(row.role), row.subject, index=row.index, pattern=row.pattern, actor=_who()
        )
        return f"{row.subject} is {row.role} there no more."

    onward = given("onward") or ""
    at_user = onward.startswith(("users/", "groups/")) and ".." not in onward
    return submit(act, _grants, f"{HOME}/{onward if at_user else 'grants'}")


@bp.get("/admin/access/tokens")
@requires(Permission.INSPECT, browser=True)
def tokens() -> Response:
    """Tokens, the newest first; their secrets are nowhere."""
    services, owner = koschey(), asked("user")
    return html_page(
        "admin/access_tokens.html",
        part="admin/access_tokens_list.html",
        page=services.directory.tokens(user=owner, at=asked("at")),
        query={} if owner is None else {"user": owner},
        owner=owner or "",
    )


@bp.post("/admin/access/tokens/<int:token_id>/revoke")
@requires(Permission.ADMIN, browser=True)
def revoke(token_id: int) -> Response:
    """Make a token worthless."""
    if koschey().tokens.revoke(token_id, actor=_who()):
        say(f"Token {token_id} is revoked: it is worthless from now on.")
    return see(f"{HOME}/tokens")


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


def _set_password(user: str) -> str:
    koschey().accounts.set_password(user, _password(needed=True) or "", actor=_who())
    return f"The password of {user} is set; their sessions have ended."


def _disable(user: str) -> str:
    _not_oneself(user)
    koschey().accounts.set_disabled(user, True, actor=_who())  # noqa: FBT003 - the verb's object
    return f"{user} is kept out: password, tokens and sessions are worthless."


def _enable(user: str) -> str:
    koschey().accounts.set_disabled(user, False, actor=_who())  # noqa: FBT003 - the verb's object
    return f"{user} may sign in again."


def _sign_out(user: str) -> str:
    koschey().accounts.end_sessions(user, actor=_who())
    return f"{user} is signed out everywhere; tokens stay."


def _revoke_all(user: str) -> str:
    revoked = koschey().tokens.revoke_all(user, actor=_who())
    return f"{revoked} tokens of {user} are revoked." if revoked != 1 else f"1 token of {user} is revoked."


def _join(user: str) -> str:
    group = given("group") or ""
    koschey().groups.join(group, user, actor=_who())
    return f"{user} is in {group} now."


def _leave(user: str) -> str:
    group = given("group") or ""
    koschey().groups.leave(group, user, actor=_who())
    return f"{user} is no more in {group}."


def _remove(user: str) -> str:
    _not_oneself(user)
    koschey().accounts.remove(user, actor=_who())
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


def _number(name: str) -> int:
    text = given(name) or ""
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise RequestInvalid(f"which {name}: the form has its number")
    return int(text)


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
        **_for_grants(),
    )


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
        **_for_grants(),
    )


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
        **_for_grants(),
    )


def _for_grants() -> dict[str, Any]:
    return {"roles": _ROLES, "indexes": _indexes(), "form": request.form}


def _indexes() -> list[str]:
    return [index.name for index in koschey().configuration.indexes()]


def _who() -> str:
    return current_actor().audit_name
