"""htmx: what a page tells it, and how a view knows that it asks.

Each address answers with its full page, or, when htmx asks, with the part of it that the page includes; so
every link and form works without a script. https://htmx.org/docs/
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import msgspec
from flask import request

from koschey.settings import Settings

#: For ``<meta name="htmx-config">``. Nothing that a page holds is ever run, and nobody else is asked; what
#: has been left is loaded again rather than kept; 422 and 409 are forms that say what is wrong.
CONFIG = msgspec.json.encode(
    {
        "allowEval": False,
        "allowScriptTags": False,
        "selfRequestsOnly": True,
        "includeIndicatorStyles": False,
        "historyCacheSize": 0,
        "refreshOnHistoryMiss": True,
        "responseHandling": [
            {"code": "204", "swap": False},
            {"code": "[23]..", "swap": True},
            {"code": "(409|422)", "swap": True},
            {"code": "[45]..", "swap": False, "error": True},
        ],
    }
).decode()

_ROOT = re.compile(r"\./|(?:\.\./){1,8}")


def asks() -> bool:
    """Whether htmx asks for a part of a page; for a page that is gone from its history it wants the whole."""
    return "HX-Request" in request.headers and "HX-History-Restore-Request" not in request.headers


def page_root() -> str:
    """The way up from the address of the page that the answer is for to ours: ``../../``, or ``./``.

    Relative, so that it holds below any prefix and behind any proxy. What htmx puts into a page stands at
    that page's address, not at the one that was asked; the page's script says which way up that is.
    """
    told = request.headers.get("X-Root", "")
    if asks() and _ROOT.fullmatch(told):
        return told
    return "../" * (request.path.count("/") - 1) or "./"


def script_source(settings: Settings) -> str:
    """Where htmx may come from, as a content security policy says it; empty: from nowhere."""
    return settings.htmx_url if urlsplit(settings.htmx_url).netloc else ""
