"""A form that came when its session had ended: kept in the browser, and shown again after the log-in.

It lies in a signed cookie, so that it survives every way to log in, needs no script, and nothing of it is
with us. It says whose session that was, and nobody else gets to see it: what another one wrote, or planted in
the browser, is not for them to send. Nothing is done before the person sends it again, having seen what it
says. What is secret in a form, or may be, is not kept; it is typed again.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
from flask import Blueprint, Response, current_app, g, request

from koschey.server.forms import FORM_BYTES
from koschey.web import htmx, sessions
from koschey.web.access import Required, current_actor, declaration, public, signed_in_name
from koschey.web.current import koschey
from koschey.web.people import KEPT_FORM, html_page, prefers_html, say, see

bp = Blueprint("kept_form", __name__)

COOKIE = "koschey-form"
#: Names of fields whose values are no one's to keep; a test compares them with the templates.
SECRETS = frozenset({"password", "again", "token", "current", "new"})
#: Say where on a page, and when, a form was sent: nothing to look at.
_QUIET = frozenset({"onward", "once", "opened"})
#: Of a value: ``user:password@host``, with or without a scheme (a password may have any character in it), or
#: a token of ours. What only looks like it is typed again as well.
_SECRET = re.compile(r"//[^\r\n]*@|:\S*@|koschey_[0-9A-Za-z]{8}")
_PATH = KEPT_FORM
_FORM = "application/x-www-form-urlencoded"
_TOKEN = "csrf_token"  # noqa: S105 - the name of a field
_SECONDS = 1800
#: Of the cookie; browsers take 4,096 with its name and attributes.
_MOST_BYTES = 3600


class KeptForm(msgspec.Struct, array_like=True, frozen=True):
    """What was sent, where, and by whom."""

    user: str
    """Name of the user whose session it was, the only one who may see it."""
    action: str
    """The path to which it was sent, below ours, quoted."""
    page: str
    """Path and query of the page that it stood on; empty: not known."""
    fields: tuple[tuple[str, str], ...]
    """Name and value, as often as each came; what was, or may be, a secret has no value."""


def keep() -> Response | None:
    """The way on for a person whose form was refused for the lack of a session, with the form in their hands.

    None: it is no such form, it does not surely come from a page of ours, nobody knows whose it is, or it is
    too long to be kept, or does not say beforehand that it is short: then it is not read.
    """
    if not _comes_from_our_page() or not _is_for_who_is_signed_in() or not _is_short():
        return None
    user = signed_in_name() or sessions.ended_name()
    if not user:
        return None
    fields = [(name, value) for name, value in request.form.items(multi=True) if name != _TOKEN and value]
    told = tuple((name, "" if name in SECRETS or _SECRET.search(value) else value) for name, value in fields)
    form = KeptForm(user, _action(), page_of_form(), told)
    kept = _signer().dumps(msgspec.to_builtins(form))
    if len(kept) > _MOST_BYTES:
        return None
    g.form_is_kept = True
    answer = see(_PATH)
    if htmx.asks():
        answer.status_code = HTTPStatus.UNAUTHORIZED
    secure = current_app.session_interface.get_cookie_secure(current_app)
    answer.set_cookie(COOKIE, kept, max_age=_SECONDS, httponly=True, samesite="Lax", secure=secure)
    return answer


@bp.get(f"/{_PATH}")
@public("one's own: what one sent oneself, out of one's own browser, for who is signed in")
def kept() -> Response:
    """What was sent when the session had ended, to be looked at and sent again."""
    if not current_actor().signed_in:
        return see(f"login?next={quote(f'{request.script_root}/{_PATH}', safe='/')}")
    form = _kept()
    if form is None or form.user != current_actor().name:
        say("There is no form to send again: one that is short is kept for half an hour.", "warning")
        return forget(see("account"))
    return html_page("kept_form.html", form=form, quiet=_QUIET)


@bp.after_app_request
def _forget_what_was_sent(answer: Response) -> Response:
    if (
        request.method != "POST"
        or COOKIE not in request.cookies
        or answer.status_code >= HTTPStatus.BAD_REQUEST
    ):
        return answer
    if g.get("form_is_kept") or not _is_short():
        return answer
    form = _kept()
    if form is None or form.action != _action() or form.user != signed_in_name():
        return answer
    sent = request.form
    same = all(value in sent.getlist(name) for name, value in form.fields if value)
    return forget(answer) if same else answer


def page_of_form() -> str:
    """Path and query of the page that a form stands on, or a part of a page is for; empty: nobody knows."""
    parts = urlsplit(request.headers.get("HX-Current-URL") or request.headers.get("Referer") or "")
    if parts.netloc != request.host or not parts.path.startswith("/") or parts.path.startswith("//"):
        return ""
    return parts.path + (f"?{parts.query}" if parts.query else "")


def forget(answer: Response) -> Response:
    """The answer, with which the browser drops what it keeps."""
    if COOKIE in request.cookies:
        answer.delete_cookie(COOKIE)
    return answer


def _comes_from_our_page() -> bool:
    """Whether a browser says so: what another site could have written is not shown as one's own."""
    if request.headers.get("Authorization") or not (htmx.asks() or prefers_html()):
        return False
    came = request.headers.get("Sec-Fetch-Site")
    if came is not None:
        return came == "same-origin"
    return urlsplit(request.headers.get("Origin", "")).netloc == request.host


def _is_short() -> bool:
    """Whether it is a form that the server has received already: reading it takes neither time nor memory."""
    length = request.content_length
    if "Transfer-Encoding" in request.headers or length is None or length > FORM_BYTES:
        return False
    return request.mimetype == _FORM


def _action() -> str:
    return quote(request.path.lstrip("/"), safe="/+")


def _is_for_who_is_signed_in() -> bool:
    """Whether the form is one that needs somebody; logging in and setting up do not."""
    if request.method != "POST" or request.endpoint is None:
        return False
    return isinstance(declaration(current_app, request.endpoint), Required) or request.blueprint == "account"


def _kept() -> KeptForm | None:
    from itsdangerous import BadData

    try:
        data = _signer().loads(request.cookies.get(COOKIE, ""), max_age=_SECONDS)
        return msgspec.convert(data, KeptForm)
    except (BadData, msgspec.ValidationError):
        return None


def _signer() -> Any:
    from itsdangerous import URLSafeTimedSerializer  # no installer needs it

    return URLSafeTimedSerializer(koschey().secret_key, salt="koschey.kept-form")
