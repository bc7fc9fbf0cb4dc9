"""Uploads: ``POST /legacy/`` and its other addresses, and what clients ask beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import structlog
from flask import Blueprint, Response, request

from koschey.domain.permissions import Permission
from koschey.errors import KoscheyError, TooLarge
from koschey.services.configuration import MAIN
from koschey.web import simple
from koschey.web.access import current_actor, requires
from koschey.web.current import koschey

if TYPE_CHECKING:
    from koschey.services.uploads import Received

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

bp = Blueprint("upload", __name__)


# Each address is an endpoint of its own: of one endpoint, Flask would redirect the one to the other, and
# clients do not send an upload twice.
@bp.post("/", endpoint="root", defaults={"index": MAIN})
@bp.post("/legacy/", endpoint="main", defaults={"index": MAIN})
@bp.post("/<index>/legacy/")
@requires(Permission.UPLOAD, some=True, cookies=False)
def upload(index: str) -> Response:
    """Take a file in; whoever may upload nothing was refused before."""
    try:
        received = _received(index)
    except KoscheyError as error:
        log.warning("upload.refused", index=index, actor=current_actor().audit_name, reason=str(error))
        raise
    text = "stored\n" if received == "new" else "this very file is here already\n"
    return Response(text, content_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"})


@bp.get("/+simple/<name>/", endpoint="page_beside_root", defaults={"index": MAIN})
@bp.get("/legacy/+simple/<name>/", endpoint="page_beside_main", defaults={"index": MAIN})
@bp.get("/<index>/legacy/+simple/<name>/")
@requires(Permission.READ)
def page_beside(index: str, name: str) -> Response:
    """The project's page where hatch looks for it: below the address of uploads, as with devpi."""
    return simple.project(index, name)


def _received(index: str) -> Received:
    # Heavy, and not wanted by a worker that takes no uploads.
    from koschey.domain.upload_form import name_of, submission
    from koschey.web.multipart import MAX_FIELD_BYTES, Sink, read_form

    uploads, actor = koschey().uploads, current_actor()
    most = koschey().settings.max_upload_bytes
    if (request.content_length or 0) > most + MAX_FIELD_BYTES:
        raise TooLarge("bytes of a file", most)

    def begin(fields: Mapping[str, Sequence[str]], filename: str | None) -> None:
        uploads.begin(index, name_of(fields, filename), actor)

    with uploads.incoming() as incoming:
        form = read_form(request.stream, request.content_type or "", Sink(begin, incoming.write, most))
        incoming.finish()
        return uploads.receive(index, submission(form.fields, form.filename), incoming, actor)
