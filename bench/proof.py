"""Proof that an answer is right, once, before it is put under load: load proves nothing but speed."""

from __future__ import annotations

import gzip
import hashlib
from typing import NamedTuple

from bench import pages
from bench.load import Answer, Connection
from bench.pages import Link
from bench.processes import BenchError


class PageForm(NamedTuple):
    """A representation of a page: its media type, and ``gzip`` or ``identity``."""

    media_type: str
    encoding: str

    @property
    def headers(self) -> dict[str, str]:
        """The request's headers that ask for it."""
        return {"Accept": self.media_type, "Accept-Encoding": self.encoding}


JSON = PageForm(pages.JSON, "identity")
JSON_GZIP = PageForm(pages.JSON, "gzip")
HTML = PageForm(pages.HTML, "identity")
HTML_GZIP = PageForm(pages.HTML, "gzip")


def page(connection: Connection, project: str, form: PageForm = JSON) -> tuple[Answer, list[Link]]:
    """A project's page and the files that it lists, in that form and no other.

    Raises:
        BenchError: another status, type or encoding, or the body is no such page.
    """
    answer = connection.get(f"/simple/{project}/", form.headers)
    _status(answer, 200)
    encoding = answer.headers.get("content-encoding", "identity")
    content_type = answer.headers.get("content-type", "")
    if encoding != form.encoding or content_type.partition(";")[0] != form.media_type:
        raise BenchError(f"{answer.url} came as {content_type!r}, {encoding}; asked for {form}")
    try:
        body = gzip.decompress(answer.body) if encoding == "gzip" else answer.body
        return answer, pages.read(content_type, body, answer.url)
    except (ValueError, OSError) as error:
        raise BenchError(f"{answer.url} is no page: {error!r}") from error


def same_files(expected: list[Link], actual: list[Link], project: str) -> None:
    """Raises: BenchError when two servers list different files, or digests, for ``project``."""
    if {(link.filename, link.sha256) for link in expected} != {
        (link.filename, link.sha256) for link in actual
    }:
        raise BenchError(
            f"{project}: {len(expected)} files are expected, and {len(actual)}, or others, are listed"
        )


def not_modified(connection: Connection, known: Answer, form: PageForm) -> dict[str, str]:
    """The headers that ask again for the page ``known``; proven to be answered with a 304.

    Raises:
        BenchError: no ETag, or another answer.
    """
    etag = known.headers.get("etag")
    if not etag:
        raise BenchError(f"{known.url} has no ETag")
    headers = form.headers | {"If-None-Match": etag}
    answer = connection.get(known.url, headers)
    _status(answer, 304)
    if answer.headers.get("etag") != etag or answer.body:
        raise BenchError(f"{known.url}: a 304 with ETag {answer.headers.get('etag')} and not {etag}")
    return headers


def file(connection: Connection, link: Link) -> Answer:
    """The file of a link, with the right bytes. Raises: BenchError."""
    answer = connection.get(link.url)
    _status(answer, 200)
    if hashlib.sha256(answer.body).hexdigest() != link.sha256:
        raise BenchError(f"{answer.url}: {len(answer.body)} bytes with another digest than the page promised")
    return answer


def wheel(connection: Connection, origin: str, project: str) -> Link:
    """The newest wheel on a project's page.

    Raises:
        BenchError: the page is none, or the link leads to another origin.
    """
    _, links = page(connection, project)
    newest = [link for link in links if link.filename.endswith(".whl")][-1]
    if not newest.url.startswith(f"{origin}/"):
        raise BenchError(f"{project}: a link leads away from {origin}, to {newest.url}")
    return newest


def _status(answer: Answer, expected: int) -> None:
    if answer.status != expected:
        raise BenchError(f"{answer.url}: status {answer.status} and not {expected}: {answer.body[:200]!r}")
