"""Pages and root lists read out of answers, in whichever form they came."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from koschey.domain.names import NormalizedName
from koschey.domain.page import UpstreamPage
from koschey.domain.upstream_fields import serial as serial_of
from koschey.domain.upstream_page import PageInvalid, parse_html, parse_json
from koschey.domain.upstream_root import RootListing, parse_root_html, parse_root_json
from koschey.errors import UpstreamInvalid
from koschey.upstream.endpoint import Endpoint

if TYPE_CHECKING:  # as in koschey.upstream.client
    from koschey.upstream.answer import Answer

_JSON_TYPES = ("application/vnd.pypi.simple.v1+json", "application/json")
_HTML_TYPES = ("text/html", "application/vnd.pypi.simple.v1+html", "application/xhtml+xml")


def read_root(endpoint: Endpoint, answer: Answer, *, most: int, ends: float) -> RootListing:
    """The root list in an answer, of ``most`` bytes; until ``ends`` (``time.monotonic``).

    Raises:
        UpstreamUnavailable, UpstreamTimeout: it does not come whole.
        UpstreamInvalid: it must not be believed.
    """
    try:
        listing = _root(endpoint, answer, most, ends)
    except PageInvalid as error:
        raise UpstreamInvalid(endpoint.name, f"its root list is not usable: {error}") from error
    if listing.serial is None:
        listing.serial = serial_of(answer.headers.get("X-PyPI-Last-Serial"))
    return listing


def _root(endpoint: Endpoint, answer: Answer, most: int, ends: float) -> RootListing:
    content_type, charset = _typed(answer)
    if content_type in _JSON_TYPES:
        return parse_root_json(answer.read(most))
    if content_type in _HTML_TYPES:
        chunks = answer.limited(most)
        return parse_root_html(chunks, charset=charset, expired=lambda: time.monotonic() > ends)
    raise UpstreamInvalid(
        endpoint.name, f"its root list is {content_type or 'of no type'}, not a simple API page"
    )


def read_page(
    endpoint: Endpoint, name: NormalizedName, answer: Answer, *, most: int, ends: float
) -> UpstreamPage:
    """A project's page in an answer. Arguments and errors: as for ``read_root``."""
    try:
        page = _page(endpoint, name, answer, most, ends)
    except PageInvalid as error:
        raise UpstreamInvalid(endpoint.name, f"its page of {name} is not usable: {error}") from error
    serial = serial_of(answer.headers.get("X-PyPI-Last-Serial"))
    return page if page.serial is not None or serial is None else _with_serial(page, serial)


def _page(endpoint: Endpoint, name: NormalizedName, answer: Answer, most: int, ends: float) -> UpstreamPage:
    content_type, charset = _typed(answer)
    body = answer.read(most)

    def expired() -> bool:
        return time.monotonic() > ends

    if content_type in _JSON_TYPES:
        return parse_json(body, answer.url, name, expired=expired)
    if content_type in _HTML_TYPES:
        chunks = (body[i : i + 65536] for i in range(0, len(body), 65536))
        return parse_html(chunks, answer.url, name, charset=charset, expired=expired)
    raise UpstreamInvalid(
        endpoint.name, f"its page of {name} is {content_type or 'of no type'}, not a simple API page"
    )


def _typed(answer: Answer) -> tuple[str, str | None]:
    """Media type and charset of an answer."""
    content_type, _, parameters = answer.headers.get("Content-Type", "").partition(";")
    return content_type.strip().lower(), parameters.partition("charset=")[2].strip().strip('"') or None


def _with_serial(page: UpstreamPage, serial: int) -> UpstreamPage:
    return UpstreamPage(
        name=page.name,
        files=page.files,
        serial=serial,
        status=page.status,
        status_reason=page.status_reason,
        refused=page.refused,
    )
