"""Whether the process lives, and whether it can work."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from koschey.web.access import public
from koschey.web.current import koschey

bp = Blueprint("health", __name__)


@bp.get("/healthz")
@public("whoever watches the process has no account, and it says nothing")
def healthz() -> Response:
    """200 while the process answers; touches nothing."""
    answer = Response("ok\n", content_type="text/plain; charset=utf-8")
    answer.headers["Cache-Control"] = "no-store"
    return answer


@bp.get("/readyz")
@public("whoever watches the process has no account, and it names no more than four parts")
def readyz() -> Response:
    """200 when database, schema, store and queue can be used, else 503 with what cannot."""
    parts = koschey().health.check()
    answer = jsonify(parts)
    answer.status_code = 200 if all(state == "ok" for state in parts.values()) else 503
    answer.headers["Cache-Control"] = "no-store"
    return answer
