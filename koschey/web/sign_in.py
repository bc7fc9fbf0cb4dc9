"""Logging in and out with a browser, and setting up the first admin."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, redirect, request

from koschey.domain.permissions import ANONYMOUS
from koschey.errors import Conflict, KoscheyError, RequestInvalid, TooManyAttempts, Unauthenticated
from koschey.hookspecs import Identity, LogInPage
from koschey.web import kept_form, sessions
from koschey.web.access import current_actor, public
from koschey.web.current import koschey
from koschey.web.peers import sign_in_request
from koschey.web.people import html_page

bp = Blueprint("sign_in", __name__)
_PAGES = "koschey_log_in_pages"


def init_app(app: Flask, pages: tuple[tuple[str, LogInPage], ...]) -> None:
    """Register the pages, with those of plug-ins (name of the plug-in, its page)."""
    app.register_blueprint(bp)
    app.extensions[_PAGES] = {page.name: (plugin, page) for plugin, page in pages}
    for _, page in pages:
        app.register_blueprint(page.blueprint, url_prefix=f"/login/{page.name}")


@bp.get("/login")
@public("whoever logs in is nobody yet")
def log_in() -> Response:
    """The log-in form."""
    return _form()


@bp.post("/login")
@public("whoever logs in is nobody yet")
def logged_in() -> Response:
    """Check a name and password, and begin a session."""
    username, password = request.form.get("username", ""), request.form.get("password", "")
    try:
        actor = koschey().authentication.log_in(username, password, sign_in_request())
    except (Unauthenticated, TooManyAttempts) as error:
        return _form(error, username)
    sessions.begin(actor)
    return _onward(request.form.get("next", ""))


@bp.post("/logout")
@public("whoever logs out has a session, or wants none")
def log_out() -> Response:
    """End the user's sessions, in every browser: the cookie of one alone could be a copy."""
    actor = sessions.session_actor()
    if actor is not None:
        koschey().accounts.end_sessions(actor.name, actor=actor.audit_name)
    sessions.end()
    return kept_form.forget(_onward(""))


@bp.get("/setup/<link>")
@public("the link is the secret, and there is no admin yet")
def set_up(link: str) -> Response:
    """The form that makes the first admin."""
    koschey().setup.check(link)
    return html_page("setup.html", problem="", username="")


@bp.post("/setup/<link>")
@public("the link is the secret, and there is no admin yet")
def make_admin(link: str) -> Response:
    """Make the first admin, and begin a session."""
    username, password = request.form.get("username", ""), request.form.get("password", "")
    try:
        if password != request.form.get("again", password):
            raise RequestInvalid("the two passwords are not the same")
        name = koschey().setup.redeem(link, username, password)
    except (RequestInvalid, Conflict) as error:
        answer = html_page("setup.html", problem=str(error), username=username)
        answer.status_code = HTTPStatus.BAD_REQUEST
        return answer
    sessions.begin(koschey().authentication.proved(name, sign_in_request()))
    return _onward(f"{request.script_root}/admin/")  # where the list of what is to be done first stands


@bp.get("/account/password/<link>")
@public("the link is the secret, and whoever has it has no password yet")
def choose_password(link: str) -> Response:
    """The form by which somebody chooses a password."""
    return html_page("choose_password.html", problem="", username=koschey().password_links.check(link))


@bp.post("/account/password/<link>")
@public("the link is the secret, and whoever has it has no password yet")
def password_chosen(link: str) -> Response:
    """Set the password, and begin a session."""
    password, links = request.form.get("password", ""), koschey().password_links
    username = links.check(link)
    try:
        if password != request.form.get("again", password):
            raise RequestInvalid("the two passwords are not the same")
        links.redeem(link, password)
    except RequestInvalid as error:
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        return html_page("choose_password.html", problem=str(error), username=username, status=status)
    sessions.begin(koschey().authentication.proved(username, sign_in_request()))
    return _onward("")


def finish(page: str, identity: Identity, onward: str = "") -> Response:
    """What a plug-in's log-in page ends in: a session for the one it vouches for, and a redirect.

    Args:
        page: name of the ``LogInPage``.
        onward: where to go then; anything but a path of ours is ignored.

    Raises:
        Unauthenticated: the user is disabled, or has a password here. PluginError: the identity is nonsense.
    """
    from flask import current_app

    plugin, _ = current_app.extensions[_PAGES][page]
    sessions.begin(koschey().authentication.vouched(plugin, identity))
    return _onward(onward)


def own_path(target: str) -> str | None:
    """A path of ours to go on to, or None for everything that a browser might take for another place."""
    if not target.startswith("/") or target.startswith(("//", "/\\")) or not target.isprintable():
        return None
    parts = urlsplit(target)
    return None if parts.scheme or parts.netloc or "\\" in target else target


def _onward(target: str) -> Response:
    answer = redirect(own_path(target) or f"{request.script_root}/", HTTPStatus.SEE_OTHER)
    answer.headers["Cache-Control"] = "no-store"
    assert isinstance(answer, Response)
    return answer


def _form(problem: KoscheyError | None = None, username: str = "") -> Response:
    from flask import current_app

    pages = [page for _, page in current_app.extensions[_PAGES].values()]
    onward = own_path(request.values.get("next", "")) or ""
    answer = html_page(
        "login.html",
        pages=pages,
        problem="" if problem is None else str(problem),
        username=username,
        onward=onward,
        actor=None if problem is not None or current_actor() == ANONYMOUS else current_actor(),
    )
    if isinstance(problem, TooManyAttempts):
        answer.status_code = HTTPStatus.TOO_MANY_REQUESTS
        answer.headers["Retry-After"] = str(max(1, round(problem.retry_after)))
    elif problem is not None:
        answer.status_code = HTTPStatus.UNAUTHORIZED
    return answer
