"""What every request and form is protected by: the session's cookie, CSRF tokens, headers of answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import LengthRequired, UnsupportedMediaType

from koschey.errors import Forgery, TooLarge
from koschey.server.forms import FORM_BYTES, FORM_TYPES
from koschey.web.access import Required, declaration

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
SESSION_COOKIE = "koschey-session"
_UNPROTECTED = "koschey_unprotected"


def init_app(app: Flask, *, secure: bool) -> None:
    """Register the protection with the application.

    Args:
        secure: whether people come by https only, so that the cookie never travels without.
    """
    app.config.update(
        SESSION_COOKIE_NAME=SESSION_COOKIE,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=secure,
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session
        WTF_CSRF_SSL_STRICT=False,  # Sec-Fetch-Site says it better than a Referer that may be left out
        WTF_CSRF_FIELD_NAME="csrf_token",
        WTF_CSRF_HEADERS=["X-CSRFToken"],
        WTF_CSRF_METHODS=["POST", "PUT", "PATCH", "DELETE"],
    )
    app.before_request(_refuse_forgeries)
    app.jinja_env.globals["csrf_token"] = _token


def unprotected[V: Callable[..., Any]](reason: str) -> Callable[[V], V]:
    """Declare that a view takes forms without a token, and why; not from other sites' pages all the same."""

    def declare(view: V) -> V:
        setattr(view, _UNPROTECTED, reason)
        return view

    return declare


def _refuse_forgeries() -> Response | None:
    """Have what changes something come from a form of this session, or from no browser.

    Fetch Metadata tells other sites' pages; a token tells the session. Clients that send neither a cookie nor
    what only browsers send (installers, twine) authenticate each request by a header.
    """
    if request.method in _SAFE or request.endpoint is None:
        return None
    came_from = request.headers.get("Sec-Fetch-Site")
    if came_from in ("cross-site", "same-site"):
        raise Forgery("another site's page asked for this; do it from Koschey's own pages")
    browser = came_from is not None or "Origin" in request.headers
    view = current_app.view_functions[request.endpoint]
    declared = declaration(current_app, request.endpoint)
    if isinstance(declared, Required) and not declared.cookies:
        return None  # no session counts there, and what Basic credentials a browser keeps is told above
    _check_size()
    if (browser or SESSION_COOKIE in request.cookies) and not hasattr(view, _UNPROTECTED):
        try:
            _check_token()
        except Forgery:
            from koschey.web import kept_form  # rarely wanted

            answer = kept_form.keep()  # a page of ours that is older than the session: they see it first
            if answer is None:
                raise
            return answer
    return None


def _check_size() -> None:
    """Refuse a form for which a thread would have to wait: the server receives others beforehand.

    Raises: TooLarge, LengthRequired (411), UnsupportedMediaType (415).
    """
    if "Transfer-Encoding" in request.headers:
        raise LengthRequired("a form says its length beforehand")
    length = request.content_length or 0
    if length > FORM_BYTES:
        raise TooLarge("bytes of a form", FORM_BYTES)
    if length and request.mimetype not in FORM_TYPES:
        raise UnsupportedMediaType(f"a form is one of {', '.join(sorted(FORM_TYPES))}")


def _token() -> str:
    """The token of this session, for forms."""
    from flask_wtf.csrf import generate_csrf  # with WTForms, which no installer needs

    token: str = generate_csrf()
    return token


def _check_token() -> None:
    """Raises: Forgery."""
    from flask_wtf.csrf import CSRFError, CSRFProtect  # as above

    try:
        CSRFProtect().protect()
    except CSRFError as error:
        problem = error.description or "the form has no token of this session"
        raise Forgery(f"{problem.rstrip('.')}: load the page again") from error
