"""The front page: which indexes there are, and the lines that use them; and how pages look in a browser."""

from __future__ import annotations

from flask import Blueprint, Response, request

from koschey.domain.permissions import Permission
from koschey.errors import RequestInvalid
from koschey.web.access import configuration_number, current_actor, public
from koschey.web.current import base_url, koschey
from koschey.web.people import THEME_COOKIE, THEMES, back, html_page
from koschey.web.protection import unprotected

bp = Blueprint("home", __name__)

_YEAR = 365 * 86_400


@bp.get("/")
@public("it shows the indexes in which the one who asks may read")
def front() -> Response:
    """The indexes, with the lines that use them."""
    actor, number = current_actor(), configuration_number()
    indexes = [
        {"name": index.name, "url": f"{base_url(index.prefix)}/simple/"}
        for index in koschey().configuration.indexes(number=number)
        if koschey().access.names(actor, Permission.READ, index=index.name, number=number)
    ]
    return html_page("home.html", indexes=indexes)


@bp.post("/theme")
@unprotected("people choose before they have a session")
@public("it changes nothing but the browser of the one who asks")
def theme() -> Response:
    """Remember in the browser whether pages are light or dark."""
    chosen = request.form.get("theme", "")
    if chosen not in THEMES:
        raise RequestInvalid(f"theme: one of {', '.join(THEMES)}")
    answer = back("")
    answer.set_cookie(THEME_COOKIE, chosen, max_age=_YEAR, httponly=True, samesite="Lax")
    return answer
