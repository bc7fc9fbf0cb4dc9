"""``/why/…``: why a project's versions can be installed or not, for people and machines."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
from flask import Blueprint, Response, request

from koschey.domain.names import NormalizedName, is_valid_name, normalize
from koschey.domain.permissions import Permission
from koschey.errors import NotFound
from koschey.services.configuration import MAIN
from koschey.web.access import requires
from koschey.web.current import base_url, koschey
from koschey.web.people import html_page, reason_phrase

if TYPE_CHECKING:
    from koschey.domain.why import Explanation

bp = Blueprint("why", __name__)

_JSON = "application/json"


@bp.get("/why/<project>", defaults={"index": MAIN})
@bp.get("/<index>/why/<project>")
@requires(Permission.READ, browser=True)
def project(index: str, project: str) -> Response:
    """A project's versions in an index."""
    name = _normalized(project)
    if name != project:
        return _moved(name)
    return _answer(koschey().explanations.project(index, name, after=request.args.get("after")))


@bp.get("/why/<project>/<version>", defaults={"index": MAIN})
@bp.get("/<index>/why/<project>/<version>")
@requires(Permission.READ, browser=True)
def version(index: str, project: str, version: str) -> Response:
    """One version with its files."""
    name = _normalized(project)
    if name != project:
        return _moved(f"../{name}/{quote(version, safe='+!')}")
    return _answer(koschey().explanations.version(index, name, version, after=request.args.get("after")))


def why_url(index: str, project: str, version: str | None = None) -> str:
    """Absolute URL of the explanation of a project, or of one of its versions."""
    prefix = "" if index == MAIN else f"/{index}"
    tail = "" if version is None else f"/{quote(version, safe='+!')}"
    return f"{base_url(prefix)}/why/{project}{tail}"


def _normalized(name: str) -> NormalizedName:
    if not is_valid_name(name):
        raise NotFound("project", name)
    return normalize(name)


def _answer(explanation: Explanation) -> Response:
    from koschey.domain.explaining import for_readers  # as in koschey.web.admin

    explanation = for_readers(explanation)
    if _wants_json():
        answer = Response(msgspec.json.encode(explanation), content_type=_JSON)
        answer.headers["Cache-Control"] = "no-store"
    else:
        answer = html_page("why.html", why=explanation, prefix=_prefix(explanation.index))
    answer.vary.add("Accept")
    if explanation.version is not None and not explanation.known:
        answer.status = f"{HTTPStatus.NOT_FOUND.value} {reason_phrase(explanation.sentence)}"
    return answer


def _prefix(index: str) -> str:
    return "" if index == MAIN else f"{index}/"


def _wants_json() -> bool:
    """By ``?format=json`` or the Accept header; a client that takes anything may be a person's."""
    wanted = request.args.get("format")
    if wanted is not None:
        return wanted.strip().lower() in ("json", _JSON)
    return request.accept_mimetypes.best_match(["text/html", _JSON]) == _JSON


def _moved(target: str) -> Response:
    """A relative redirect to the normalised name, as the pages of the Simple API make theirs."""
    if request.path.endswith("/"):
        target = f"../{target}"
    query = request.query_string.decode("latin-1")
    location = f"{target}?{query}" if query else target
    return Response(status=301, headers={"Location": location, "Cache-Control": "no-store"})
