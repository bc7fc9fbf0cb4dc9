"""Errors to answers: the one table that turns domain errors into statuses.

A client may read any of three places: pip prints the reason phrase, uv the ``title`` and ``detail`` of
problem+json (RFC 9457), a person the text.
"""

from __future__ import annotations

import re
from http import HTTPStatus

import msgspec
import structlog
from flask import Flask, Response, g
from werkzeug.exceptions import HTTPException

from koschey import errors
from koschey.domain.explanation import iso
from koschey.domain.permissions import Permission
from koschey.plugins import PluginError
from koschey.web import htmx
from koschey.web.access import may_everywhere
from koschey.web.filters import sentence
from koschey.web.people import html_page, prefers_html, reason_phrase
from koschey.web.why import why_url

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: The first row whose class matches decides.
STATUSES: tuple[tuple[type[errors.KoscheyError], HTTPStatus], ...] = (
    (errors.Unauthenticated, HTTPStatus.UNAUTHORIZED),
    (errors.Forbidden, HTTPStatus.FORBIDDEN),
    (errors.TooManyAttempts, HTTPStatus.TOO_MANY_REQUESTS),
    (errors.NotFound, HTTPStatus.NOT_FOUND),
    (errors.NotAcceptable, HTTPStatus.NOT_ACCEPTABLE),
    (errors.FileHidden, HTTPStatus.FORBIDDEN),
    (errors.UploadForbidden, HTTPStatus.FORBIDDEN),
    (errors.TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (errors.Forgery, HTTPStatus.FORBIDDEN),
    (errors.Conflict, HTTPStatus.CONFLICT),
    (errors.RequestInvalid, HTTPStatus.BAD_REQUEST),
    (errors.NameUnsettled, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.NameOwned, HTTPStatus.NOT_FOUND),
    (errors.UpstreamTimeout, HTTPStatus.GATEWAY_TIMEOUT),
    (errors.UpstreamError, HTTPStatus.BAD_GATEWAY),
    (errors.DigestMismatch, HTTPStatus.BAD_GATEWAY),
    (PluginError, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.Busy, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.StoreUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.KoscheyError, HTTPStatus.INTERNAL_SERVER_ERROR),
)
_RETRY_AFTER_SECONDS = 5
_LONGEST_WAIT_SECONDS = 120
_PROBLEM = "application/problem+json"
#: What ends the sentence, or closes a bracket around the address, is not of it.
_ADDRESS = re.compile(r"https?://[^\s'\"]+(?<![.,:;)\]>])")


class Problem(msgspec.Struct, omit_defaults=True):
    """problem+json (RFC 9457)."""

    title: str
    status: int
    detail: str
    request_id: str = ""
    code: str = ""
    """A short word for machines that stays the same when the sentence is put better."""


class HiddenProblem(Problem, omit_defaults=True):
    """Why a file may not be had, with where to read more (``help_url``) and when it ends by itself."""

    help_url: str = ""
    state: str = ""
    rule: str = ""
    clears_at: str | None = None


def status_of(error: errors.KoscheyError) -> HTTPStatus:
    """The status that an error becomes.

    One that says when to come again is 503 if it is the outside's: with a 502, clients read no Retry-After.
    """
    if isinstance(error, errors.UpstreamUnavailable) and error.retry_after is not None:
        return HTTPStatus.SERVICE_UNAVAILABLE
    return next(status for kind, status in STATUSES if isinstance(error, kind))


def problem_answer(status: HTTPStatus, detail: str, code: str = "") -> Response:
    """An answer that says the same in the reason phrase, in problem+json, or as a page for browsers."""
    request_id = g.get("request_id", "")
    if prefers_html():
        answer = html_page(
            "problem.html", phrase=status.phrase, code=status.value, detail=detail, request_id=request_id
        )
    else:
        said = sentence(detail) if htmx.asks() else detail  # the page's script announces it as it is
        problem = Problem(
            title=status.phrase, status=status.value, detail=said, request_id=request_id, code=code
        )
        answer = Response(msgspec.json.encode(problem), content_type=_PROBLEM)
    answer.status = f"{status.value} {reason_phrase(detail)}"
    answer.headers["Cache-Control"] = "no-store"
    answer.vary.add("Accept")
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        answer.headers["Retry-After"] = str(_RETRY_AFTER_SECONDS)
    return answer


def hidden_answer(error: errors.FileHidden) -> Response:
    """403 for a file that is not visible: the sentence in the reason phrase, and where to read more."""
    status = HTTPStatus.FORBIDDEN
    help_url = why_url(error.index, error.project, error.version)
    if prefers_html():
        answer = html_page("why_hidden.html", error=error, clears_at=iso(error.clears_at), help_url=help_url)
    else:
        problem = HiddenProblem(
            title=status.phrase,
            status=status.value,
            detail=str(error),
            request_id=g.get("request_id", ""),
            help_url=help_url,
            state=error.state,
            rule=error.rule,
            clears_at=iso(error.clears_at),
        )
        answer = Response(msgspec.json.encode(problem), content_type=_PROBLEM)
        answer.headers["Cache-Control"] = "no-store"
    answer.status = f"{status.value} {reason_phrase(error.reason)}"
    answer.vary.add("Accept")
    return answer


def init_app(app: Flask) -> None:
    """Register the table with the application."""
    app.register_error_handler(errors.FileHidden, hidden_answer)
    app.register_error_handler(errors.KoscheyError, _koschey_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)


def _koschey_error(error: errors.KoscheyError) -> Response:
    status = status_of(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request.failed", error=type(error).__name__, problem=str(error), status=status.value)
    answer = problem_answer(status, _told(error), getattr(error, "code", ""))
    if isinstance(error, errors.Unauthenticated):
        answer.headers["WWW-Authenticate"] = 'Basic realm="Koschey"'
        answer.headers["Vary"] = "Accept, Authorization"
    asked_for = getattr(error, "retry_after", None)
    if asked_for is not None:
        # Installers wait as long as they are told, several times, and say nothing meanwhile.
        answer.headers["Retry-After"] = str(min(max(1, round(asked_for)), _LONGEST_WAIT_SECONDS))
    return answer


def _told(error: errors.KoscheyError) -> str:
    """What is said of an error. Where an upstream is, and behind it, is known to those who look after it."""
    if not isinstance(error, errors.UpstreamError | errors.NameUnsettled) or may_everywhere(Permission.AUDIT):
        return str(error)
    if type(error) is errors.UpstreamRefused:
        return f"upstream {error.upstream}: it leads to where Koschey does not go; the log has the reason"
    return _ADDRESS.sub("its address", str(error))


def _http_error(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or 500)
    answer = problem_answer(status, error.description or status.phrase)
    answer.status = f"{status.value} {status.phrase}"  # Werkzeug's description is too long for a status line
    for name, value in error.get_headers():
        if name.lower() in ("allow", "www-authenticate", "retry-after"):
            answer.headers[name] = value
    return answer


def _unexpected(error: Exception) -> Response:
    log.exception("request.crashed", exc_info=error)
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    detail = "Koschey failed in a way that nobody foresaw; the log has it by its id"
    try:
        return problem_answer(status, detail)
    except Exception as again:
        log.exception("request.crashed", exc_info=again)
        return Response(f"{detail}\n", status, content_type="text/plain; charset=utf-8")
