"""The front page: which indexes there are, and the lines that use them."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, make_response, render_template

from koschey.web.current import base_url, koschey


def blueprint(static_folder: Path) -> Blueprint:
    """The front page and the static files."""
    bp = Blueprint("home", __name__, static_folder=str(static_folder), static_url_path="/static")

    @bp.get("/")
    def front() -> Response:
        indexes = [
            {"name": index.name, "url": f"{base_url(index.prefix)}/simple/"}
            for index in koschey().configuration.indexes()
        ]
        answer = make_response(render_template("home.html", indexes=indexes))
        answer.headers["Cache-Control"] = "no-store"
        answer.headers["Content-Security-Policy"] = (
            "default-src 'none'; style-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return answer

    return bp
