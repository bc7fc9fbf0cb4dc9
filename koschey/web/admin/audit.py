"""``/admin/audit``: who changed what, when and why; also to take away."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING

import msgspec
from flask import Blueprint, Response, stream_with_context

from koschey.domain.explanation import iso
from koschey.domain.page import Microseconds
from koschey.domain.permissions import Permission
from koschey.errors import RequestInvalid
from koschey.web.access import requires
from koschey.web.admin.forms import asked
from koschey.web.current import koschey
from koschey.web.people import html_page

if TYPE_CHECKING:
    from koschey.services.audit import AuditEvent, EventFilter

bp = Blueprint("admin_audit", __name__)

_FIELDS = ("project", "index", "actor", "action", "subject")
#: Where a spreadsheet would begin a formula (OWASP, CSV injection): in front, full-width signs too, and
#: behind what a spreadsheet of another country, or whoever imports the file, takes for the end of a cell.
_FORMULA = re.compile(r"(?:^|(?<=[;|\t\r\n]))(?=[ \"']*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])")


@bp.get("/admin/audit")
@requires(Permission.AUDIT, browser=True)
def audit() -> Response:
    """Events that fit, the newest first."""
    wanted, query = _wanted()
    found = koschey().audit.page(wanted, at=asked("at"))
    return html_page(
        "admin/audit.html",
        part="admin/audit_list.html",
        found=found,
        query=query,
        indexes=[index.name for index in koschey().configuration.indexes()],
    )


@bp.get("/admin/audit.csv")
@requires(Permission.AUDIT, browser=True)
def as_csv() -> Response:
    """The same as a table, all of it."""
    wanted, _ = _wanted()
    return _download(_csv(koschey().audit.all(wanted)), "text/csv; charset=utf-8", "audit.csv")


@bp.get("/admin/audit.jsonl")
@requires(Permission.AUDIT, browser=True)
def as_jsonl() -> Response:
    """The same as JSON, one event on each line."""
    wanted, _ = _wanted()
    return _download(_jsonl(koschey().audit.all(wanted)), "application/jsonl", "audit.jsonl")


def _wanted() -> tuple[EventFilter, dict[str, str]]:
    """What the address asks for, and that part of its query."""
    from koschey.services.audit import EventFilter

    query = {name: value for name in (*_FIELDS, "since") if (value := asked(name)) is not None}
    said = {name: query[name] for name in _FIELDS if name in query}
    return EventFilter(**said, since=_since(query.get("since"))), query


def _since(text: str | None) -> Microseconds | None:
    """A date, or days back such as ``7d``. Raises: RequestInvalid."""
    if text is None:
        return None
    try:
        if text.endswith("d") and text[:-1].isdigit() and len(text) < 6:
            moment = datetime.now(UTC) - timedelta(days=int(text[:-1]))
        else:
            moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise RequestInvalid("since: a date such as 2026-01-31, or days back such as 7d") from None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000_000)


def _csv(events: Iterable[AuditEvent]) -> Iterator[str]:
    from koschey.services.audit import AuditEvent

    line = io.StringIO()
    writer = csv.writer(line)
    writer.writerow(AuditEvent.__struct_fields__)
    for event in events:
        values = msgspec.structs.asdict(event) | {"at": iso(event.at)}
        writer.writerow([_inert(value) for value in values.values()])
        if line.tell() > 60_000:
            yield line.getvalue()
            line.seek(0)
            line.truncate()
    yield line.getvalue()


def _inert(value: object) -> object:
    """A cell that no spreadsheet runs."""
    return _FORMULA.sub("'", value) if isinstance(value, str) else value


def _jsonl(events: Iterable[AuditEvent]) -> Iterator[bytes]:
    encode = msgspec.json.encode
    piece: list[bytes] = []
    for event in events:
        piece.append(encode(msgspec.structs.asdict(event) | {"at": iso(event.at)}) + b"\n")
        if len(piece) == 200:
            yield b"".join(piece)
            piece = []
    yield b"".join(piece)


def _download[T: (str, bytes)](body: Iterator[T], kind: str, filename: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{filename}"', "Cache-Control": "no-store"}
    first = next(body)  # so that what is wrong is answered as an error, not by half of a file
    return Response(stream_with_context(chain((first,), body)), content_type=kind, headers=headers)
