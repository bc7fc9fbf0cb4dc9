"""A plug-in: people log in by a link from the intranet, which signs their name for a minute.

``KOSCHEY_PLUGIN_INTRANET_URL`` is where the button leads, ``KOSCHEY_PLUGIN_INTRANET_KEY`` what the intranet
signs with: it sends the browser back to ``/login/intranet/back?said=…``, where ``said`` is
``itsdangerous.URLSafeTimedSerializer(key).dumps({"user": "anna", "groups": ["build"]})``.
"""

from __future__ import annotations

import os

from flask import Blueprint, Response, redirect, request
from itsdangerous import BadData, URLSafeTimedSerializer

from koschey.errors import Unauthenticated
from koschey.hookspecs import Identity, LogInPage, hookimpl
from koschey.web.access import public
from koschey.web.sign_in import finish


@hookimpl
def koschey_log_in_pages() -> list[LogInPage]:
    pages = Blueprint("intranet", __name__)
    pages.get("/")(go)
    pages.get("/back")(back)
    return [LogInPage(name="intranet", label="Log in by the intranet", blueprint=pages)]


@public("whoever logs in is nobody yet")
def go() -> Response:
    return redirect(os.environ["KOSCHEY_PLUGIN_INTRANET_URL"])  # type: ignore[return-value]


@public("whoever logs in is nobody yet")
def back() -> Response:
    signed = URLSafeTimedSerializer(os.environ["KOSCHEY_PLUGIN_INTRANET_KEY"])
    try:
        said = signed.loads(request.args.get("said", ""), max_age=60)
    except BadData:
        raise Unauthenticated(presented=True) from None
    return finish("intranet", Identity(name=said["user"], groups=frozenset(said["groups"])))
