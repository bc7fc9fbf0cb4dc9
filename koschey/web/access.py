"""Who asks, and what each route wants of them: declared beside the view, enforced before it runs.

The body of a request is not read before its sender was found to have the right.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, current_app, g, request

from koschey.domain.names import is_valid_name, normalize
from koschey.domain.permissions import ANONYMOUS, Actor, Permission
from koschey.errors import Forbidden, KoscheyError, RequestInvalid, Unauthenticated
from koschey.services.access import Access
from koschey.web.current import koschey
from koschey.web.peers import sign_in_request
from koschey.web.sessions import session_actor

_DECLARED = "koschey_access"
_NO_SECRETS = re.compile(rb"koschey_[0-9A-Za-z]{8}")


@dataclass(frozen=True)
class Required:
    """What a route asks for."""

    permission: Permission
    some: bool = False
    """For some names of the index, without one of some index: the view narrows down what it shows."""
    browser: bool = False
    """A page for people: a browser that is not signed in is led to the log-in page."""
    cookies: bool = True
    """Whether a session counts; programs have tokens."""


@dataclass(frozen=True)
class Public:
    """A route that asks for nothing; ``reason`` says why it may."""

    reason: str


Declaration = Required | Public


def requires[V: Callable[..., Any]](
    permission: Permission, *, some: bool = False, browser: bool = False, cookies: bool = True
) -> Callable[[V], V]:
    """Declare that a view needs a permission.

    It is asked for the view's argument ``index`` (without one: in every index) and for its argument ``name``
    or ``project`` in whatever spelling (without one: for every name). Below the blueprint's decorator.

    What changes something and is asked for by a browser needs a CSRF token as well
    (``koschey.web.protection``).

    Args:
        some: it is enough to have it for some names of the index, without one of some index; the view asks
            for each that it shows.
        browser: a page for people; a browser that is not signed in is led to the log-in page.
        cookies: whether a session counts.
    """

    def declare(view: V) -> V:
        setattr(view, _DECLARED, Required(permission, some, browser, cookies))
        return view

    return declare


def public[V: Callable[..., Any]](reason: str) -> Callable[[V], V]:
    """Declare that a view needs nobody, and why."""

    def declare(view: V) -> V:
        setattr(view, _DECLARED, Public(reason))
        return view

    return declare


def declaration(app: Flask, endpoint: str) -> Declaration | None:
    """What the view of an endpoint was declared to need; None: nobody said."""
    found = getattr(app.view_functions[endpoint], _DECLARED, None)
    assert found is None or isinstance(found, (Required, Public))
    return found


def current_actor() -> Actor:
    """Who makes the current request.

    Raises:
        Unauthenticated: there are credentials, and they are wrong.
    """
    actor = g.get("actor")
    if actor is None:
        try:
            actor = _authenticated()
        except KoscheyError as error:
            actor = error  # a plug-in that hangs is waited for once
        g.actor = actor
    if isinstance(actor, KoscheyError):
        raise actor
    assert isinstance(actor, Actor)
    return actor


def admitted(permission: Permission, index: str, name: str) -> bool:
    """Whether the one who asks has a permission for a normalised name in an index."""
    number = configuration_number()
    return koschey().access.answer(current_actor(), permission, index=index, name=name, number=number).allowed


def configuration_number() -> int:
    """The configuration's number as of this request: who may, and what pages offer, goes by one look."""
    if "configuration_number" not in g:
        g.configuration_number = koschey().access.number()
    number: int = g.configuration_number
    return number


def may(permission: Permission) -> bool:
    """Whether the one who asks has a permission for some name of some index: what pages offer goes by it."""
    access = koschey().access
    return _offered(
        lambda actor, number: any(
            access.names(actor, permission, index=one.name, number=number)
            for one in koschey().configuration.indexes(number=number)
        )
    )


def may_of_an_index(permission: Permission) -> bool:
    """Whether the one who asks has a permission for every name of some index."""
    access = koschey().access
    return _offered(
        lambda actor, number: any(
            access.answer(actor, permission, index=one.name, number=number).allowed
            for one in koschey().configuration.indexes(number=number)
        )
    )


def may_everywhere(permission: Permission) -> bool:
    """Whether the one who asks has a permission for every name in every index."""
    return _offered(lambda actor, number: koschey().access.answer(actor, permission, number=number).allowed)


def _offered(answer: Callable[[Actor, int], bool]) -> bool:
    """What ``answer`` says of the one who asks, by the configuration's number; False where that failed.

    On the page that says so it must not fail for the same reason, nor wait again.
    """
    if g.get("nothing_to_offer"):
        return False
    try:
        return answer(current_actor(), configuration_number())
    except KoscheyError:
        g.nothing_to_offer = True
        return False


def signed_in_name() -> str:
    """Who makes the current request; empty for nobody, or nobody known."""
    try:
        actor = current_actor()
    except KoscheyError:  # also on the page that says that the credentials are wrong
        return ""
    return actor.name if actor.signed_in else ""


def depends_on_actor(answer: Response) -> Response:
    """The answer, marked as one that others may not get: it was given because of who asked."""
    vary = [part.strip() for part in answer.headers.get("Vary", "").split(",") if part.strip()]
    answer.headers["Vary"] = ", ".join([*vary, "Authorization", "Cookie"])
    answer.headers.setdefault("Cache-Control", "private, no-cache")
    return answer


def init_app(app: Flask) -> None:
    """Ask before every view."""
    app.before_request(_guard)
    app.after_request(_mark)


def _authenticated() -> Actor:
    """Credentials of the request itself come first, then what a plug-in sees in it, then the session."""
    authentication = koschey().authentication
    authorization = request.headers.get("Authorization")
    if authorization:
        return authentication.authenticate(authorization, sign_in_request())
    actor = authentication.by_headers(sign_in_request()) if authentication.asks_about_headers else None
    if actor is None and g.get("cookies_count", True):
        actor = session_actor()
    return actor or ANONYMOUS


def _guard() -> Response | None:
    if _NO_SECRETS.search(request.query_string):
        raise RequestInvalid("a token does not belong into a URL, which is logged; send it as a password")
    if request.endpoint is None:
        return None  # no route: 404
    declared = declaration(current_app, request.endpoint)
    if declared is None:
        raise Forbidden("nobody", f"the route {request.endpoint} does not say who may use it")
    if isinstance(declared, Public):
        return None
    try:
        _enforce(declared)
    except Unauthenticated:
        from koschey.web import kept_form  # it imports this module

        to = kept_form.keep()
        if to is None and declared.browser and not request.headers.get("Authorization"):
            to = _log_in_page()
        if to is None:
            raise
        return to
    return None


def _log_in_page() -> Response | None:
    """The way to the log-in page for a browser, or a part of a page, and back; None: whoever asks is none."""
    from koschey.web.kept_form import page_of_form  # they import this module
    from koschey.web.people import prefers_html

    target = f"{request.script_root}/login"
    if request.headers.get("HX-Request"):
        page = quote(page_of_form(), safe="/")
        headers = {"HX-Redirect": f"{target}?next={page}" if page else target}
        return Response(status=HTTPStatus.UNAUTHORIZED, headers=headers)
    if not prefers_html() or request.method not in ("GET", "HEAD"):
        return None
    onward = quote(request.script_root + request.full_path.rstrip("?"), safe="/")
    return Response(
        status=HTTPStatus.SEE_OTHER,
        headers={"Location": f"{target}?next={onward}", "Cache-Control": "no-store"},
    )


def _enforce(declared: Required) -> None:
    g.cookies_count = declared.cookies
    arguments = request.view_args or {}
    index = arguments.get("index")
    raw = arguments.get("name", arguments.get("project"))
    name = normalize(raw) if raw is not None and is_valid_name(raw) else None
    actor = current_actor()
    access: Access = koschey().access
    some = declared.some or (raw is not None and name is None)
    number = configuration_number()  # after the actor was found: a plug-in's word may have changed it
    if not (declared.some and index is None and may(declared.permission)):
        access.require(actor, declared.permission, index=index, name=name, some=some, number=number)
    if declared.permission is Permission.READ:
        g.depends_on_actor = not access.open_to_all(index, name, number)


def _mark(answer: Response) -> Response:
    return depends_on_actor(answer) if g.get("depends_on_actor") else answer
