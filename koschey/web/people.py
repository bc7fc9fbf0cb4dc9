"""What people read: HTML from our templates with nothing from elsewhere in it, and words in a status line."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import msgspec
from flask import Flask, Response, flash, get_flashed_messages, make_response, render_template, request

from koschey.domain.permissions import Permission
from koschey.web import access, filters, htmx, navigation
from koschey.web.assets import Assets
from koschey.web.current import koschey

THEMES = ("auto", "light", "dark")
THEME_COOKIE = "koschey-theme"
#: The page of ``koschey.web.kept_form``, below ours.
KEPT_FORM = "account/form"


def init_app(app: Flask, assets: Assets) -> None:
    """Give templates their filters and the names of static files."""
    app.jinja_env.globals["asset"] = assets.name
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    filters.init_app(app)


def html_page(template: str, *, part: str | None = None, status: int = 200, **values: Any) -> Response:
    """A page of the template, or only the part of it that htmx asks for.

    Templates know ``root``, the way up from the page's address to ours, besides ``values``. They extend
    ``layout.html``.

    Args:
        part: the template of what the page includes and htmx gets alone; None: htmx gets the page.
    """
    partly = part is not None and htmx.asks()
    settings = koschey().settings
    common = {
        "root": htmx.page_root(),
        "contact": settings.contact,
        "theme": theme(),
        "htmx": {"url": settings.htmx_url, "integrity": settings.htmx_integrity, "config": htmx.CONFIG},
        "account": access.signed_in_name(),
        "at": lambda path: request.path == f"/{path}",
        "may": lambda name: access.may(Permission(name)),
        "may_all": lambda name: access.may_everywhere(Permission(name)),
        "navigation": partial(navigation.places, request.path),
        "messages": partial(get_flashed_messages, with_categories=True),
        "partly": partly,
    }
    body = render_template("part.html" if partly else template, **common, part=part, **values)
    answer = make_response(body, status)
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["Content-Security-Policy"] = content_policy()
    answer.headers["Referrer-Policy"] = "same-origin"
    answer.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    answer.headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
    answer.vary.add("HX-Request")
    answer.vary.add("Cookie")
    return answer


def content_policy() -> str:
    """What a page may load: our own files, and htmx from where the settings say; nothing inline."""
    scripts = " ".join(filter(None, ("'self'", htmx.script_source(koschey().settings))))
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def see(to: str, *, part: str = "") -> Response:
    """See another page, an address below ours, after a form.

    Args:
        part: the selector of what changes of the page that the form was on, when that is the one to see; htmx
            then loads no more, and whoever was in a list stays where they were. Empty: the whole page.
    """
    location = htmx.page_root() + to
    if htmx.asks() and part:
        place = {"path": location, "target": part, "swap": "innerHTML"}
        told = {"HX-Location": msgspec.json.encode(place).decode(), "HX-Trigger": "decided"}
        return Response(status=HTTPStatus.NO_CONTENT, headers=told)
    if htmx.asks():
        return Response(status=HTTPStatus.NO_CONTENT, headers={"HX-Redirect": location})
    return Response(status=HTTPStatus.SEE_OTHER, headers={"Location": location, "Cache-Control": "no-store"})


def back(to: str) -> Response:
    """See another page after a form: the one that the form was on, or ``to``, an address below ours.

    ``Referer`` is believed as far as its path goes, so that nobody is led elsewhere.
    """
    came = urlsplit(request.headers.get("Referer", ""))
    kept = came.path.endswith(f"/{KEPT_FORM}")  # it would ask once more whether to send what was sent
    ours = came.netloc == request.host and came.path.startswith("/") and not came.path.startswith("//")
    if ours and not kept:
        location = came.path + (f"?{came.query}" if came.query else "")
    else:
        location = htmx.page_root() + to
    return Response(status=HTTPStatus.SEE_OTHER, headers={"Location": location, "Cache-Control": "no-store"})


def say(text: str, kind: str = "done") -> None:
    """Have the next page, or this part of one, announce something. ``kind``: done, warning or error."""
    flash(filters.sentence(text) if kind == "error" else text, kind)


def theme() -> str:
    """What the reader chose: ``light``, ``dark``, or ``auto``, which follows their system."""
    chosen = request.cookies.get(THEME_COOKIE, "")
    return chosen if chosen in THEMES else THEMES[0]


def prefers_html() -> bool:
    """Whether the client is a browser: it asks for HTML, and for no JSON."""
    accept = request.headers.get("Accept", "")
    return "text/html" in accept and "json" not in accept


def reason_phrase(text: str) -> str:
    """Text fit for a status line (RFC 9112 section 4): latin-1 without control characters, not too long."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return printable.encode("latin-1", "replace").decode("latin-1")[:400].strip() or "Error"
