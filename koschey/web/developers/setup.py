"""``/setup``: how tools are told of an index."""

from __future__ import annotations

from flask import Blueprint, Response

from koschey.domain.permissions import ANONYMOUS, Permission
from koschey.services.configuration import MAIN
from koschey.stores.models import SourceKind
from koschey.web.access import current_actor, requires
from koschey.web.current import base_url, koschey
from koschey.web.developers.addresses import prefix
from koschey.web.developers.tools import setup_lines
from koschey.web.people import html_page

bp = Blueprint("setup", __name__)


@bp.get("/setup", defaults={"index": MAIN})
@bp.get("/<index>/setup")
@requires(Permission.READ, some=True, browser=True)
def setup(index: str) -> Response:
    """Configuration of each tool for an index, with its real address."""
    services = koschey()
    found = services.configuration.index(index)
    base = base_url(found.prefix)
    private = not services.access.names(ANONYMOUS, Permission.READ, index=index).everything
    name = "koschey" if index == MAIN else index
    lines = setup_lines(f"{base}/simple/", f"{base}/legacy/", name=name, private=private)
    return html_page(
        "developers/setup.html",
        index=index,
        indexes=[each.name for each in services.configuration.indexes()],
        prefix=prefix(index),
        private=private,
        hosted=any(source.kind is SourceKind.HOSTED for source in found.sources),
        signed_in=current_actor().signed_in,
        lines=lines,
    )
