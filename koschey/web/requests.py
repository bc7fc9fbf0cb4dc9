"""What is done with every request: an id, a check of its host, and one log line."""

from __future__ import annotations

import re
import time
import uuid

import structlog
from flask import Flask, Response, g, request

from koschey.errors import NotFound, RequestInvalid

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

HOST = re.compile(r"[A-Za-z0-9._-]+(?::\d+)?|\[[0-9a-fA-F:.]+\](?::\d+)?")
#: Answers of these views are asked for every few seconds by machines.
_QUIET = frozenset({"health.healthz", "health.readyz", "metrics.metrics"})


def init_app(app: Flask) -> None:
    """Register the hooks with the application."""
    app.before_request(_begin)
    app.after_request(_end)
    app.teardown_request(_forget)


def _begin() -> None:
    g.started = time.monotonic()
    g.request_id = uuid.uuid4().hex[:16]
    structlog.contextvars.bind_contextvars(request_id=g.request_id)
    if not HOST.fullmatch(request.environ.get("HTTP_HOST", "localhost")):
        raise RequestInvalid("the Host header is not a host name")
    try:
        request.path.encode("latin-1", "ignore")
        request.environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        raise RequestInvalid("the path is not UTF-8") from None
    if "\0" in request.path:
        raise NotFound("page", request.path)  # PostgreSQL could not even look for it


def _end(answer: Response) -> Response:
    answer.headers["X-Request-ID"] = g.request_id
    answer.headers.setdefault("X-Content-Type-Options", "nosniff")
    # Caches make up a lifetime for what names none.
    answer.headers.setdefault("Cache-Control", "no-store")
    if request.endpoint not in _QUIET:
        log.info(
            "request",
            method=request.method,
            path=request.path,
            status=answer.status_code,
            client=request.remote_addr,
            milliseconds=round((time.monotonic() - g.started) * 1000, 2),
        )
    return answer


def _forget(_error: BaseException | None) -> None:
    structlog.contextvars.unbind_contextvars("request_id")
