"""What people read: HTML from our templates with nothing from elsewhere in it, and words in a status line."""

from __future__ import annotations

from typing import Any

from flask import Response, make_response, render_template, request

from koschey.web.current import koschey

_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def html_page(template: str, **values: Any) -> Response:
    """A page of the template; it knows ``root``, the way up from the page's address to ours.

    Relative, so that it holds below any prefix and behind any proxy.
    """
    root = "../" * (request.path.count("/") - 1) or "./"
    answer = make_response(render_template(template, root=root, contact=koschey().settings.contact, **values))
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["Content-Security-Policy"] = _POLICY
    return answer


def prefers_html() -> bool:
    """Whether the client is a browser: it asks for HTML, and for no JSON."""
    accept = request.headers.get("Accept", "")
    return "text/html" in accept and "json" not in accept


def reason_phrase(text: str) -> str:
    """Text fit for a status line (RFC 9112 section 4): latin-1 without control characters, not too long."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return printable.encode("latin-1", "replace").decode("latin-1")[:400].strip() or "Error"
