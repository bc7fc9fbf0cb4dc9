"""What Koschey asks an upstream for: a project's page, a file, a document beside a file."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from koschey.domain.names import NormalizedName
from koschey.domain.page import UpstreamPage
from koschey.domain.upstream_root import RootListing
from koschey.errors import NameOwned, UpstreamInvalid, UpstreamUnavailable
from koschey.upstream.endpoint import Endpoint
from koschey.upstream.manners import Tally
from koschey.upstream.reading import read_page, read_root

if TYPE_CHECKING:  # an index that serves what it has needs no HTTP client, nor its megabytes
    from koschey.upstream.answer import Answer
    from koschey.upstream.session import OutgoingSession

#: Constant, as is Accept-Encoding: an upstream's cache may keep one page for each combination.
ACCEPT_PAGE = (
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
)


@dataclass(frozen=True)
class PageFetched:
    """The upstream's page, and the ETag that it came with."""

    page: UpstreamPage
    etag: str | None
    date: float | None = field(default=None, compare=False)
    """What the upstream's clock said, in seconds since 1970, as far as it tells."""


@dataclass(frozen=True)
class PageUnchanged:
    """304: the page is what it was when we stored its ETag."""


@dataclass(frozen=True)
class PageMissing:
    """404 or 410: the upstream has no such project."""

    date: float | None = field(default=None, compare=False)
    """As of ``PageFetched``."""


PageOutcome = PageFetched | PageUnchanged | PageMissing


@dataclass(frozen=True)
class RootFetched:
    """The upstream's root list, its ETag, and how many bytes it took on the wire."""

    listing: RootListing
    etag: str | None
    size: int


@dataclass(frozen=True)
class RootUnchanged:
    """304: the root list is what it was when we stored its ETag."""


RootOutcome = RootFetched | RootUnchanged


@dataclass(frozen=True)
class Permit:
    """For which names an upstream may be asked, looked up for many at once; good for a moment."""

    upstream: str
    names: frozenset[str]
    until: float
    """``time.monotonic``."""

    def covers(self, upstream: str, name: str) -> bool:
        """Whether it still says that this may be asked for."""
        return upstream == self.upstream and name in self.names and time.monotonic() < self.until


#: A condition is made of it, where ``*`` matches every page and a comma is another tag.
_ENTITY_TAG = re.compile(r"(?:W/)?\"[ !#-~\x80-\xff]{0,510}\"|(?!W/)[!#-)+\-./0-~]{1,512}").fullmatch

#: As long as one name's look at the door may lie before its request at the worst: a slow connection's start.
_PERMIT_SECONDS = 1.0


class UpstreamClient:
    """Pages and files of upstreams, within limits; see ``OutgoingSession`` for the rules of the door.

    Whatever it is asked for, it asks for a name; those that are the company's own never leave.

    Args:
        connect: makes the session, with the first request.
        permitted: for which of some normalised names an upstream may be asked, by its name and those.

    Raises:
        NameOwned: each method, when it may not; nothing was sent.
    """

    def __init__(
        self,
        connect: Callable[[], OutgoingSession],
        *,
        permitted: Callable[[str, Sequence[str]], frozenset[str]],
        max_page_bytes: int,
        max_document_bytes: int,
        max_root_bytes: int = 256 * 2**20,
    ) -> None:
        self._connect = connect
        self._permitted = permitted
        self._connected: OutgoingSession | None = None
        self._connecting = threading.Lock()
        self._max_page_bytes = max_page_bytes
        self._max_document_bytes = max_document_bytes
        self._max_root_bytes = max_root_bytes
        self.tally = Tally()
        """What requests came to that nobody else counts: pages and files that clients wait for."""

    @property
    def _session(self) -> OutgoingSession:
        with self._connecting:
            if self._connected is None:
                self._connected = self._connect()
            return self._connected

    def close(self) -> None:
        """Let go of the connections."""
        if self._connected is not None:
            self._connected.close()

    def project_page(
        self,
        endpoint: Endpoint,
        name: NormalizedName,
        *,
        etag: str | None,
        deadline: float,
        past_caches: bool = False,
        apart: bool = False,
        permit: Permit | None = None,
        tally: Tally | None = None,
    ) -> PageOutcome:
        """Ask for a project's page, on the condition that it changed since ``etag``.

        Args:
            deadline: seconds for everything, parsing included.
            past_caches: ask caches on the way to look anew: what they had was stale.
            apart: see ``OutgoingSession.open``.
            permit: of who asks for many; without one, or past its time, the name is looked up.
            tally: counts what the request came to; None: the client's own does.

        Raises:
            UpstreamUnavailable, UpstreamTimeout, UpstreamRefused: no answer that says anything.
            UpstreamInvalid: an answer that must not be believed.
        """
        self._guard(endpoint, name, permit)
        ends = time.monotonic() + deadline
        headers = {"Accept": ACCEPT_PAGE}
        if etag:
            headers["If-None-Match"] = etag
        if past_caches:
            headers["Cache-Control"] = "no-cache"
        url = f"{endpoint.url}{quote(name, safe='')}/"
        with self._session.open(
            endpoint, url, headers=headers, deadline=deadline, apart=apart, tally=tally or self.tally
        ) as answer:
            if answer.status == 304 and etag:
                return PageUnchanged()
            if answer.status in (404, 410):
                return PageMissing(_clock(answer))
            _expect_ok(endpoint, answer)
            page = read_page(endpoint, name, answer, most=self._max_page_bytes, ends=ends)
            return PageFetched(page, _entity_tag(answer), _clock(answer))

    def root_list(
        self,
        endpoint: Endpoint,
        *,
        etag: str | None,
        deadline: float,
        rest: float | None = None,
        tally: Tally | None = None,
    ) -> RootOutcome:
        """Ask for the root list, on the condition that it changed since ``etag``. Tens of megabytes.

        Args:
            deadline: seconds for everything, parsing included.
            rest: see ``OutgoingSession.open``.

        Raises:
            UpstreamUnavailable, UpstreamTimeout, UpstreamRefused: no answer that says anything.
            UpstreamInvalid: an answer that must not be believed.
        """
        ends = time.monotonic() + deadline
        headers = {"Accept": ACCEPT_PAGE}
        if etag:
            headers["If-None-Match"] = etag
        with self._session.open(
            endpoint, endpoint.url, headers=headers, deadline=deadline, rest=rest, tally=tally or self.tally
        ) as answer:
            if answer.status == 304 and etag:
                return RootUnchanged()
            _expect_ok(endpoint, answer)
            listing = read_root(endpoint, answer, most=self._max_root_bytes, ends=ends)
            return RootFetched(listing, _entity_tag(answer), answer.received)

    def document(
        self,
        endpoint: Endpoint,
        url: str,
        *,
        name: str,
        accept: str,
        sha256: str | None,
        deadline: float,
        tally: Tally | None = None,
    ) -> bytes | None:
        """A small document beside a file (metadata, provenance); None when the upstream has none.

        Args:
            name: of the file's project, normalised.

        Raises:
            UpstreamInvalid: over the size limit, or not of the digest ``sha256``; and as project_page.
        """
        self._guard(endpoint, name)
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        with self._session.open(
            endpoint, url, headers=headers, deadline=deadline, tally=tally or self.tally
        ) as answer:
            if answer.status in (404, 410):
                return None
            _expect_ok(endpoint, answer)
            body = answer.read(self._max_document_bytes)
        if sha256 is not None and (actual := hashlib.sha256(body).hexdigest()) != sha256:
            name = url.partition("?")[0].rpartition("/")[2]  # a query may be a key to the file
            raise UpstreamInvalid(endpoint.name, f"{name} has sha256 {actual}, the page promised {sha256}")
        return body

    @contextmanager
    def file(
        self,
        endpoint: Endpoint,
        url: str,
        *,
        name: str,
        start: int,
        validator: str | None,
        deadline: float,
        rest: float | None = None,
        apart: bool = False,
        permit: Permit | None = None,
        tally: Tally | None = None,
    ) -> Iterator[Answer]:
        """Open a file's bytes, from ``start`` on if the upstream can (then the status is 206).

        Args:
            name: of the file's project, normalised.
            validator: strong ETag of the first part, so that a changed file is not glued to an old half.
            rest, apart: see ``OutgoingSession.open``.
            permit: as for ``project_page``.
        """
        self._guard(endpoint, name, permit)
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            if validator:
                headers["If-Range"] = validator
        with self._session.open(
            endpoint,
            url,
            headers=headers,
            deadline=deadline,
            decode=False,
            rest=rest,
            apart=apart,
            tally=tally or self.tally,
        ) as answer:
            yield answer

    def small_file(
        self,
        endpoint: Endpoint,
        url: str,
        *,
        name: str,
        size: int,
        deadline: float,
        rest: float | None = None,
        apart: bool = False,
        permit: Permit | None = None,
        tally: Tally | None = None,
    ) -> bytes | int | None:
        """A small file of that size, whole; 404 or 410 when it is gone; None: ``file`` is to be asked.

        Args: as for ``file``.
        """
        self._guard(endpoint, name, permit)
        return self._session.whole(
            endpoint, url, size, deadline=deadline, rest=rest, apart=apart, tally=tally or self.tally
        )

    def permit(self, endpoint: Endpoint, names: Sequence[str]) -> Permit:
        """For who asks for many: which of the names may be asked for in the next moment."""
        until = time.monotonic() + _PERMIT_SECONDS
        return Permit(endpoint.name, self._permitted(endpoint.name, names), until)

    def _guard(self, endpoint: Endpoint, name: str, permit: Permit | None = None) -> None:
        """The last line: who asks has looked whose the name is, and may have been wrong or too early."""
        if permit is not None and permit.covers(endpoint.name, name):
            return
        if name not in self._permitted(endpoint.name, [name]):
            raise NameOwned(endpoint.name, name)


def _entity_tag(answer: Answer) -> str | None:
    """ETag (RFC 9110 section 8.8.3), also without its quotes, as some send it; None for what is not one."""
    etag = answer.headers.get("ETag", "")
    return etag if _ENTITY_TAG(etag) else None


def _clock(answer: Answer) -> float | None:
    """What the sender's clock says now: Date (RFC 9110), and how old it is (Age, RFC 9111)."""
    date, age = answer.headers.get("Date"), answer.headers.get("Age", "0")
    try:
        return None if date is None else parsedate_to_datetime(date).timestamp() + int(age[:9])
    except (ValueError, OverflowError):
        return None


def _expect_ok(endpoint: Endpoint, answer: Answer) -> None:
    if answer.status != 200:
        raise UpstreamUnavailable(
            endpoint.name, f"answered {answer.status} for {answer.url.partition('?')[0]}"
        )
