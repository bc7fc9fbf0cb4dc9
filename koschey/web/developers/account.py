"""``/account``: one's own tokens and password."""

from __future__ import annotations

import hmac
import secrets
from functools import partial
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, redirect, request

from koschey.domain.permissions import SCOPES, Actor, Kind, Permission, Scope
from koschey.errors import Conflict, Forbidden, RequestInvalid, Unauthenticated
from koschey.web.access import configuration_number, current_actor, public
from koschey.web.current import koschey
from koschey.web.peers import sign_in_request
from koschey.web.people import back, html_page, say
from koschey.web.sign_in import own_path

bp = Blueprint("account", __name__)

_OWN = "one's own: it asks for a session itself, and shows and changes nobody else's"


@bp.get("/account")
@public(_OWN)
def account() -> Response:
    """Who one is here, what one may do, and one's tokens."""
    if not current_actor().signed_in:
        return _to_log_in()
    return _page()


@bp.get("/account/tokens")
@bp.get("/account/password")
@public(_OWN)
def again() -> Response:
    """The address of a form that was sent, loaded again."""
    return back("account")


@bp.post("/account/tokens")
@public(_OWN)
def make_token() -> Response:
    """Make a token; it is shown in this answer and never again."""
    actor, form = _person(), request.form
    try:
        scopes = {Scope(word) for word in form.getlist("scope") if word in set(Scope)}
        days = form.get("days", "").strip()
        made = koschey().tokens.create(
            actor.name,
            scopes=scopes,
            projects=form.get("projects", "").replace(",", " ").split(),
            days=_days(days) if days else None,
            description=form.get("description", "").strip(),
            seed=_seed(actor, form.get("once", "")),
            actor=actor.audit_name,
        )
    except RequestInvalid as error:
        return _page(problem=str(error), form=form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    except Conflict as error:
        return _page(problem=str(error), form=form, status=HTTPStatus.CONFLICT)
    return _page(made=made.secret)


@bp.post("/account/tokens/<int:token_id>/revoke")
@public(_OWN)
def revoke_token(token_id: int) -> Response:
    """Make one of one's own tokens worthless."""
    actor = _person()
    if koschey().tokens.revoke(token_id, user=actor.name, actor=actor.audit_name):
        say(f"Token {token_id} is revoked: it is worthless from now on.")
    return back("account")


@bp.post("/account/password")
@public(_OWN)
def change_password() -> Response:
    """Set another password; every other session of the user ends."""
    actor, form = _person(), request.form
    services = koschey()
    try:
        services.authentication.confirm(actor, form.get("current", ""), sign_in_request())
    except Unauthenticated:
        return _page(password_problem="that is not your password now", status=HTTPStatus.UNPROCESSABLE_ENTITY)  # noqa: S106
    try:
        if form.get("new", "") != form.get("again", ""):
            raise RequestInvalid("the two passwords are not the same")
        services.accounts.set_password(actor.name, form.get("new", ""), actor=actor.audit_name)
    except RequestInvalid as error:
        return _page(password_problem=str(error), status=HTTPStatus.UNPROCESSABLE_ENTITY)
    say("Your password is changed; log in with it.")
    return _to_log_in()


def _person() -> Actor:
    """The one who is signed in, and not by a token: a token makes no tokens."""
    actor = current_actor()
    if not actor.signed_in:
        raise Unauthenticated
    if actor.kind is not Kind.USER:
        raise Forbidden("account", "a token cannot change its user's account; log in with a browser")
    return actor


def _page(status: int = HTTPStatus.OK, **values: Any) -> Response:
    services, actor, number = koschey(), current_actor(), configuration_number()
    names = partial(services.access.names, actor, number=number)
    may = {
        index.name: [word for word in Permission if names(word, index=index.name)]
        for index in services.configuration.indexes(number=number)
    }
    form = values.pop("form", None) or {}
    return html_page(
        "developers/account.html",
        status=int(status),
        actor=actor,
        has_password=actor.kind is Kind.USER and services.directory.user(actor.name).has_password,
        tokens=services.tokens.list(actor.name, limit=100),
        rights=may,
        scopes={scope.value: sorted(SCOPES[scope]) for scope in Scope},
        form=form,
        once=secrets.token_hex(),
        **values,
    )


def _seed(actor: Actor, once: str) -> bytes | None:
    """Of the token that a form makes, the same however often it is sent; None: the form does not say."""
    if not once:
        return None
    return hmac.digest(koschey().secret_key.encode(), f"token\0{actor.name}\0{once}".encode(), "sha256")


def _to_log_in() -> Response:
    onward = own_path(request.path) or "/"
    answer = redirect(f"{request.script_root}/login?next={onward}", HTTPStatus.SEE_OTHER)
    answer.headers["Cache-Control"] = "no-store"
    assert isinstance(answer, Response)
    return answer


def _days(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise RequestInvalid("expires after: a number of days") from None
