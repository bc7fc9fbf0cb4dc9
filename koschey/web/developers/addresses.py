"""Addresses of pages in an index, and names as addresses spell them."""

from __future__ import annotations

from urllib.parse import quote

from flask import Response, request

from koschey.domain.names import NormalizedName, is_valid_name, normalize
from koschey.errors import NotFound
from koschey.services.configuration import MAIN


def prefix(index: str) -> str:
    """What stands before a page of an index, below ours: empty for ``main``, else ``<index>/``."""
    return "" if index == MAIN else f"{index}/"


def project_path(index: str, project: str, version: str | None = None) -> str:
    """The page of a project, or of one of its versions, below ours."""
    tail = "" if version is None else f"{quote(version, safe='+!')}/"
    return f"{prefix(index)}projects/{project}/{tail}"


def normalized(name: str) -> NormalizedName:
    """A project's name in an address. Raises: NotFound, it can be none."""
    if not is_valid_name(name):
        raise NotFound("project", name)
    return normalize(name)


def moved(target: str) -> Response:
    """A relative redirect to the right spelling of an address, its query kept."""
    query = request.query_string.decode("latin-1")
    location = f"{target}?{query}" if query else target
    return Response(status=301, headers={"Location": location, "Cache-Control": "no-store"})
