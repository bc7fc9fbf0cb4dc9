"""Files under ``/packages/…``, the documents beside them, and ``/integrity/…`` (PEP 658, 710, 740)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import msgspec
from flask import Blueprint, Response, request

from koschey.domain.names import content_type, is_valid_name, normalize
from koschey.domain.negotiation import INTEGRITY_JSON, accepts_integrity
from koschey.domain.permissions import Permission
from koschey.errors import BlobMissing, NotAcceptable, NotFound, Unauthenticated
from koschey.services.configuration import MAIN
from koschey.services.files import ArrivingFile, StoredFile
from koschey.stores.lookup import FileLook
from koschey.web.access import admitted, current_actor, requires
from koschey.web.bodies import file_body
from koschey.web.current import base_url, koschey
from koschey.web.ranges import Selected, Unsatisfiable, selected_range

bp = Blueprint("files", __name__)

#: Long, but not ``immutable``: the quarantine may recall a file.
CACHE_FILE = "private, max-age=2592000"
METADATA_TYPE = "text/plain; charset=utf-8"


class Part(NamedTuple):
    """The bytes that the client asked for."""

    status: int
    start: int
    length: int
    size: int


@bp.get("/packages/<path:rest>", defaults={"index": MAIN})
@bp.get("/<index>/packages/<path:rest>")
@requires(Permission.READ, some=True)
def package(index: str, rest: str) -> Response:
    """A file, or a document beside it: ``.metadata``, ``.provenance_url.json``, ``.record.json``."""
    path = f"/packages/{rest}"
    for suffix, answer in _BESIDE.items():
        if path.endswith(suffix):
            return answer(index, _found(index, path.removesuffix(suffix)))
    return _file(index, _found(index, path))


@bp.get("/integrity/<project>/<version>/<filename>/provenance", defaults={"index": MAIN})
@bp.get("/<index>/integrity/<project>/<version>/<filename>/provenance")
@requires(Permission.READ)
def provenance(index: str, project: str, version: str, filename: str) -> Response:
    """The provenance document of a file (PEP 740)."""
    if not is_valid_name(project):
        raise NotFound("project", project)
    if not accepts_integrity(request.headers.get("Accept")):
        raise NotAcceptable((INTEGRITY_JSON,))
    look = koschey().files.find_named(index, normalize(project), version, filename)
    return _document(koschey().documents.provenance(look), INTEGRITY_JSON, "private, no-cache")


def _found(index: str, path: str) -> FileLook:
    """The file, if the one who asks may know of it.

    To somebody who is not signed in and may not read every name, what is not there and what is not theirs
    are the same: a challenge.
    """
    try:
        return koschey().files.find(index, path, lambda look: admitted(Permission.READ, index, look.name))
    except NotFound:
        names = koschey().access.names(current_actor(), Permission.READ, index=index)
        if current_actor().signed_in or names.everything:
            raise
        raise Unauthenticated from None


def file_headers(look: FileLook) -> dict[str, str]:
    """Headers of a file, whatever part of it is sent."""
    headers = {
        "Content-Type": content_type(look.filename),
        "Cache-Control": CACHE_FILE,
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
    }
    if look.sha256 is not None:
        headers["ETag"] = f'"{look.sha256}"'
    return headers


def accel_location(prefix: str, sha256: str) -> str:
    """What nginx is told to send in our place: a blob of the folder, below ``prefix``."""
    return "/".join((prefix.rstrip("/"), sha256[:2], sha256[2:4], sha256))


def _file(index: str, look: FileLook) -> Response:
    headers = file_headers(look)
    if look.sha256 is not None and request.if_none_match.contains_weak(look.sha256):
        return Response(status=304, headers=headers)
    if request.method == "HEAD" and look.size is not None:
        return _answer(_part(look.size, look.sha256), headers, ())
    opened = koschey().files.open(look)
    if isinstance(opened, StoredFile):
        try:
            return _counted(index, look, opened.size, _stored(opened, headers))
        except BlobMissing:
            opened = koschey().files.again(look)
    return _counted(index, look, opened.size, _arriving(opened, headers))


def _counted(index: str, look: FileLook, size: int | None, answer: Response) -> Response:
    """The answer, put on record as a download if the file begins with it.

    A proxy or store that Koschey hands the request over to honours its Range as Koschey would.
    """
    begins = request.method == "GET" and answer.status_code in (200, 206, 302)
    if begins and (size is None or _part(size, look.sha256).start == 0):
        koschey().usage.add(index, look.file_id, _who())
    return answer


def _who() -> str:
    """On whose account a download goes: the user's, or else the client's address."""
    actor = current_actor()
    return actor.name if actor.signed_in else request.remote_addr or ""


def _stored(stored: StoredFile, headers: dict[str, str]) -> Response:
    settings = koschey().settings
    look = stored.look
    assert look.sha256 is not None
    if stored.path is not None and settings.accel_redirect:
        headers["X-Accel-Redirect"] = accel_location(settings.accel_redirect, look.sha256)
        return Response(headers=headers)
    if stored.path is None and settings.presigned_seconds and _plain_for_stores(stored.size):
        link = koschey().files.presigned_url(stored, headers["Content-Type"], settings.presigned_seconds)
        # On our own host a client would send its password along to the store.
        if link is not None and urlsplit(link).hostname != urlsplit(request.host_url).hostname:
            return Response(status=302, headers={"Location": link, "Cache-Control": "no-store"})
    part = _part(stored.size, look.sha256)
    return _answer(part, headers, _body(stored, part))


def _plain_for_stores(size: int) -> bool:
    """Whether every S3 store answers this request as we would.

    They differ on If-Range, several ranges, and ranges that are malformed or begin behind the end.
    """
    if request.method != "GET" or "If-Range" in request.headers:
        return False
    wanted = request.headers.get("Range")
    return wanted is None or isinstance(selected_range(wanted, size), Selected)


def _body(stored: StoredFile, part: Part) -> Iterable[bytes]:
    if part.length == 0 or request.method == "HEAD":
        return ()
    if stored.path is None:
        return koschey().files.chunks(stored, part.start, part.length)
    try:
        return file_body(stored.path, part.start, part.length)
    except FileNotFoundError:
        assert stored.look.sha256 is not None
        raise BlobMissing(stored.look.sha256) from None


def _arriving(arriving: ArrivingFile, headers: dict[str, str]) -> Response:
    """A file on its way in: what goes wrong now breaks the transfer, it never completes a wrong file."""
    follower = arriving.follower
    if arriving.size is None:
        return Response(follower, headers=headers, direct_passthrough=True)
    try:
        part = _part(arriving.size, arriving.look.sha256)
        follower.select(part.start, part.length)
        return _answer(part, headers, follower)
    except BaseException:
        follower.close()
        raise


def _part(size: int, sha256: str | None) -> Part:
    """What of ``size`` bytes to send, by Range and If-Range (RFC 9110 section 14)."""
    wanted = request.headers.get("Range")
    condition = request.headers.get("If-Range")
    if wanted is None or (condition is not None and condition != f'"{sha256}"'):
        return Part(200, 0, size, size)
    chosen = selected_range(wanted, size)
    if chosen is None:
        return Part(200, 0, size, size)
    if isinstance(chosen, Unsatisfiable):
        return Part(416, 0, 0, size)
    return Part(206, chosen.start, chosen.length, size)


def _answer(part: Part, headers: dict[str, str], body: Iterable[bytes]) -> Response:
    answer = Response(body, status=part.status, headers=headers, direct_passthrough=True)
    answer.headers["Content-Length"] = str(part.length)
    if part.status == 206:
        answer.headers["Content-Range"] = f"bytes {part.start}-{part.start + part.length - 1}/{part.size}"
    elif part.status == 416:
        answer.headers["Content-Range"] = f"bytes */{part.size}"
        answer.headers["Cache-Control"] = "no-store"
    return answer


def _document(body: bytes, kind: str, cache: str) -> Response:
    etag = hashlib.sha256(body).hexdigest()
    headers = {"Content-Type": kind, "Cache-Control": cache, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
    if kind == INTEGRITY_JSON:
        headers["Vary"] = "Accept"
    if request.if_none_match.contains_weak(etag):
        return Response(status=304, headers=headers)
    part = _part(len(body), etag)
    return _answer(part, headers, (body[part.start : part.start + part.length],))


def _metadata(_index: str, look: FileLook) -> Response:
    return _document(koschey().documents.metadata(look), METADATA_TYPE, CACHE_FILE)


def _provenance_url(index: str, look: FileLook) -> Response:
    """PEP 710's record, as an installer would write it for this file: exactly two keys."""
    if look.sha256 is None:
        raise NotFound("digest of file", look.filename)
    url = base_url("" if index == MAIN else f"/{index}") + quote(look.path, safe="/+!")
    record = {"url": url, "archive_info": {"hashes": {"sha256": look.sha256}}}
    return _document(msgspec.json.encode(record), "application/json", "private, no-cache")


def _record(index: str, look: FileLook) -> Response:
    record = koschey().files.record(index, look)
    return _document(msgspec.json.encode(record), "application/json", "private, no-cache")


_BESIDE = {".metadata": _metadata, ".provenance_url.json": _provenance_url, ".record.json": _record}
