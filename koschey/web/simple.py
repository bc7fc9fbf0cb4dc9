"""The Simple API (PEP 503, 691): root and project pages of each index."""

from __future__ import annotations

from flask import Blueprint, Response, request

from koschey.domain.names import NormalizedName, is_valid_name, normalize
from koschey.domain.negotiation import OFFERED, Representation, choose_encoding, negotiate
from koschey.domain.permissions import Permission
from koschey.errors import NotAcceptable, NotFound
from koschey.services.configuration import MAIN
from koschey.services.pages import ReadyPage
from koschey.services.root_list import ReadyFile
from koschey.web.access import current_actor, requires
from koschey.web.bodies import file_body
from koschey.web.current import base_url, koschey

bp = Blueprint("simple", __name__)


@bp.get("/simple/", defaults={"index": MAIN})
@bp.get("/<index>/simple/")
@requires(Permission.READ, some=True)
def root(index: str) -> Response:
    """The names that an index knows, as far as the one who asks may read them."""
    representation, encoding = _wanted()
    names = koschey().access.names(current_actor(), Permission.READ, index=index)
    page = koschey().root_list.page(index, representation, encoding, names, _is_known)
    return page_answer(page) if isinstance(page, ReadyPage) else _file_answer(page)


@bp.get("/simple/<name>/", defaults={"index": MAIN})
@bp.get("/<index>/simple/<name>/")
@requires(Permission.READ)
def project(index: str, name: str) -> Response:
    """The page of one project; every other spelling of its name redirects to the normalised one."""
    normalized = _known_form(name)
    if normalized != name:
        return _moved(f"../{normalized}/")
    representation, encoding = _wanted()
    prefix = "" if index == MAIN else f"/{index}"
    page = koschey().catalog.project_page(index, normalized, representation, encoding, base_url(prefix))
    return page_answer(page)


@bp.get("/pypi/<name>/json", defaults={"index": MAIN, "version": None})
@bp.get("/<index>/pypi/<name>/json", defaults={"version": None})
@bp.get("/pypi/<name>/<version>/json", defaults={"index": MAIN})
@bp.get("/<index>/pypi/<name>/<version>/json")
@requires(Permission.READ)
def project_json(index: str, name: str, version: str | None) -> Response:
    """The project, or one version, in the form of the JSON API, for mirrors and older tools."""
    normalized = _known_form(name)
    if normalized != name:
        return _moved(f"../{normalized}/json" if version is None else f"../../{normalized}/{version}/json")
    prefix = "" if index == MAIN else f"/{index}"
    encoding = choose_encoding(request.headers.get("Accept-Encoding"))
    return page_answer(koschey().project_json.page(index, normalized, version, encoding, base_url(prefix)))


@bp.get("/simple", defaults={"index": MAIN})
@bp.get("/<index>/simple")
@requires(Permission.READ, some=True)
def root_without_slash(index: str) -> Response:
    """Pages end in a slash (PEP 503)."""
    koschey().configuration.index(index)
    return _moved("simple/")


@bp.get("/simple/<name>", defaults={"index": MAIN})
@bp.get("/<index>/simple/<name>")
@requires(Permission.READ)
def project_without_slash(index: str, name: str) -> Response:
    """Pages end in a slash, under the normalised name."""
    return _moved(f"{_known_form(name)}/")


def page_answer(page: ReadyPage) -> Response:
    """A ready page, or 304 when the client has it."""
    answer = Response(page.body, content_type=page.content_type)
    for name, value in page_headers(page):
        answer.headers[name] = value
    if _is_known(page.etag):
        answer.set_data(b"")
        _make_unmodified(answer)
    return answer


def _file_answer(page: ReadyFile) -> Response:
    """The same for a page that lies in a file, which goes past this process's memory."""
    answer = Response(content_type=page.content_type)
    for name, value in page_headers(page):
        answer.headers[name] = value
    if page.path is None:
        _make_unmodified(answer)
        return answer
    length = page.path.stat().st_size
    if request.method != "HEAD":
        answer.response = file_body(page.path, 0, length)
        answer.direct_passthrough = True
    answer.headers["Content-Length"] = str(length)
    return answer


def _is_known(etag: str) -> bool:
    """Whether the client has that page; a proxy that compresses weakens the ETag."""
    return request.if_none_match.contains_weak(etag.strip('"'))


def _make_unmodified(answer: Response) -> None:
    answer.status_code = 304
    answer.headers.pop("Content-Length", None)
    answer.headers.pop("Content-Encoding", None)


def page_headers(page: ReadyPage | ReadyFile, *, open_to_all: bool = True) -> list[tuple[str, str]]:
    """Headers of a page besides its type and length, the same for 200 and 304.

    ``open_to_all``: whether everybody may read it, so that it does not depend on who asks.
    """
    headers = [
        ("ETag", page.etag),
        ("Cache-Control", "private, no-cache"),
        ("Vary", "Accept, Accept-Encoding" + ("" if open_to_all else ", Authorization, Cookie")),
        ("X-PyPI-Last-Serial", str(page.serial)),
    ]
    if page.encoding != "identity":
        headers.append(("Content-Encoding", page.encoding))
    return headers


def _known_form(name: str) -> NormalizedName:
    if not is_valid_name(name):
        raise NotFound("project", name)
    return normalize(name)


def _wanted() -> tuple[Representation, str]:
    representation = negotiate(request.headers.get("Accept"), request.args.get("format"))
    if representation is None:
        raise NotAcceptable(OFFERED)
    return representation, choose_encoding(request.headers.get("Accept-Encoding"))


def _moved(target: str) -> Response:
    """A relative redirect that keeps the query; scheme, host and mount prefix are the client's own.

    ``no-store``: pip would keep a 301 for ever.
    """
    query = request.query_string.decode("latin-1")
    location = f"{target}?{query}" if query else target
    return Response(status=301, headers={"Location": location, "Cache-Control": "no-store"})
