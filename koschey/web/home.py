"""The front page: which indexes there are, and the lines that use them."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response

from koschey.web.current import base_url, koschey
from koschey.web.people import html_page


def blueprint(static_folder: Path) -> Blueprint:
    """The front page and the static files."""
    bp = Blueprint("home", __name__, static_folder=str(static_folder), static_url_path="/static")

    @bp.get("/")
    def front() -> Response:
        indexes = [
            {"name": index.name, "url": f"{base_url(index.prefix)}/simple/"}
            for index in koschey().configuration.indexes()
        ]
        return html_page("home.html", indexes=indexes)

    return bp
