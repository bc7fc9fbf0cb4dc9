"""``/search``: projects by a part of their name."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, request

from koschey.domain.permissions import Permission
from koschey.errors import RequestInvalid
from koschey.services.configuration import MAIN
from koschey.web.access import configuration_number, current_actor, requires
from koschey.web.current import koschey
from koschey.web.developers.addresses import prefix
from koschey.web.people import html_page

bp = Blueprint("search", __name__)


@bp.get("/search", defaults={"index": MAIN})
@bp.get("/<index>/search")
@requires(Permission.READ, some=True, browser=True)
def search(index: str) -> Response:
    """What an index lists of projects whose name, or a part of it, begins with what was typed."""
    services, typed = koschey(), request.args.get("q", "").strip()
    number = configuration_number()
    services.configuration.index(index, number)
    names = services.access.names(current_actor(), Permission.READ, index=index, number=number)
    found, problem = None, ""
    if typed:
        try:
            found = services.search.find(index, typed, names, after=request.args.get("after"), number=number)
        except RequestInvalid as error:
            problem = str(error)
    indexes = [each.name for each in services.configuration.indexes(number=number)]
    return html_page(
        "developers/search.html",
        part="developers/found.html",
        status=HTTPStatus.UNPROCESSABLE_ENTITY if problem else HTTPStatus.OK,
        index=index,
        indexes=indexes,
        prefix=prefix(index),
        typed=typed,
        found=found,
        problem=problem,
    )
