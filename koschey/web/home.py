"""The front page: which indexes there are, and the lines that use them."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, send_from_directory

from koschey.domain.permissions import Permission
from koschey.web.access import current_actor, public
from koschey.web.current import base_url, koschey
from koschey.web.people import html_page


def blueprint(static_folder: Path) -> Blueprint:
    """The front page and the static files."""
    bp = Blueprint("home", __name__)

    @bp.get("/static/<path:filename>")
    @public("style sheets and pictures of the pages that say that one has to sign in")
    def static(filename: str) -> Response:
        return send_from_directory(static_folder, filename)

    @bp.get("/")
    @public("it shows the indexes in which the one who asks may read")
    def front() -> Response:
        actor = current_actor()
        indexes = [
            {"name": index.name, "url": f"{base_url(index.prefix)}/simple/"}
            for index in koschey().configuration.indexes()
            if koschey().access.names(actor, Permission.READ, index=index.name)
        ]
        return html_page("home.html", indexes=indexes)

    return bp
