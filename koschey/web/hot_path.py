"""Ready-made pages and stored files, answered in front of Flask's dispatch.

It answers only what the views would answer in the same words: it asks the same catalog and the same
``Files.find``, and so the same gate. Whatever needs waiting, a decision or an error goes the full way.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from koschey.domain.negotiation import choose_encoding, negotiate
from koschey.domain.page import offers_metadata
from koschey.domain.permissions import ANONYMOUS, Actor
from koschey.errors import KoscheyError
from koschey.server.heads import HotRequest
from koschey.services.access import Access
from koschey.services.authentication import Authentication
from koschey.services.catalog import Catalog
from koschey.services.configuration import MAIN
from koschey.services.files import Files
from koschey.services.pages import ReadyPage
from koschey.services.usage import Usage
from koschey.stores.blobs import BlobStore
from koschey.stores.lookup import FileLook
from koschey.web.files import CACHE_FILE, METADATA_TYPE, accel_location, file_headers
from koschey.web.requests import HOST
from koschey.web.simple import page_headers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_PAGE = re.compile(r"(?:/([a-z0-9-]+))?/simple/([a-z0-9]+(?:-[a-z0-9]+)*)/")
_FILE = re.compile(r"(?:/([a-z0-9-]+))?(/packages/[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60}/[A-Za-z0-9._+!-]+)")
#: Files up to this many bytes are read and sent at once.
_SMALL = 512 * 1024
_MEMO_ENTRIES = 4096


@dataclass(frozen=True)
class ReadyAnswer:
    """A whole answer. ``wire`` is status line and headers as bytes, without Date and the last CRLF."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    wire: bytes
    body: bytes


class HotPath:
    """Answers GET and HEAD of ready pages, and GET of files, or None for the full way.

    Files that are not small are answered here only if a proxy sends them for us.

    Attributes:
        inline: whether ``respond`` may be asked on an event loop: the look-up is a local file's.
    """

    def __init__(
        self,
        catalog: Catalog,
        files: Files,
        authentication: Authentication,
        access: Access,
        store: BlobStore,
        usage: Usage,
        *,
        inline: bool,
        public_url: str,
        trusted_proxies: int,
        accel_redirect: str = "",
    ) -> None:
        self.inline = inline
        self._accel_redirect = accel_redirect
        self._catalog = catalog
        self._files = files
        self._authentication = authentication
        self._access = access
        self._store = store
        self._usage = usage
        self._public_url = public_url.rstrip("/")
        self._trusted_proxies = trusted_proxies
        self._wires: dict[tuple[str, bool, bool], ReadyAnswer] = {}

    def respond(self, request: HotRequest) -> ReadyAnswer | None:
        """The answer to a request without a body or Range; None: ask the application."""
        base = self._base_url(request)
        return None if base is None else self._answer(request, base)

    def _answer(self, request: HotRequest, base: str) -> ReadyAnswer | None:
        page = _PAGE.fullmatch(request.target)
        try:
            if page is not None:
                return self._page(request, base, page[1] or MAIN, page[2])
            file = _FILE.fullmatch(request.target)
            if file is not None:
                return self._file(request, file[1] or MAIN, file[2])
        except KoscheyError:
            return None  # the views say it properly
        return None

    def _page(self, request: HotRequest, base: str, index: str, name: str) -> ReadyAnswer | None:
        representation = negotiate(request.accept or None)
        if representation is None:
            return None
        encoding = choose_encoding(request.accept_encoding or None)
        prefix = "" if index == MAIN else f"/{index}"
        look = self._catalog.look(name)
        reader = self._access.known_reader(
            request.headers.get("authorization"), index, name, look.configuration
        )
        if reader is None:
            return None
        open_to_all = reader.open_to_all
        page = self._catalog.ready_project_page(index, name, representation, encoding, base + prefix, look)  # type: ignore[arg-type]
        if page is None:
            return None
        if request.if_none_match:
            if page.etag in request.if_none_match:
                return self._page_answer(page, fresh=True, open_to_all=open_to_all)
            if "*" in request.if_none_match:
                return None
        answer = self._page_answer(page, fresh=False, open_to_all=open_to_all)
        return answer if request.method == "GET" else _bodiless(answer)

    def _page_answer(self, page: ReadyPage, *, fresh: bool, open_to_all: bool) -> ReadyAnswer:
        """Wire forms are remembered by ETag; the body stays the cache's, whose bound is in bytes."""
        key = (page.etag, fresh, open_to_all)
        known = self._wires.get(key)
        if known is None:
            headers = page_headers(page, open_to_all=open_to_all)
            if fresh:
                headers = [header for header in headers if header[0] != "Content-Encoding"]
            else:
                headers += [("Content-Type", page.content_type), ("X-Content-Type-Options", "nosniff")]
                headers += [("Content-Length", str(len(page.body)))]
            known = _made(HTTPStatus.NOT_MODIFIED if fresh else HTTPStatus.OK, headers, b"")
            if len(self._wires) >= _MEMO_ENTRIES:
                self._wires.clear()
            self._wires[key] = known
        if fresh:
            return known
        return ReadyAnswer(known.status, known.reason, known.headers, known.wire, page.body)

    def _file(self, request: HotRequest, index: str, path: str) -> ReadyAnswer | None:
        if request.if_none_match or request.method != "GET":
            return None
        if path.endswith(".metadata"):
            look, _ = self._found(request, index, path.removesuffix(".metadata"))
            if look is None:
                return None
            if not look.metadata_stored or look.metadata_sha256 is None:
                return None
            if not offers_metadata(look.filename, look.metadata_advertised):
                return None
            headers = {
                "Content-Type": METADATA_TYPE,
                "Cache-Control": CACHE_FILE,
                "ETag": f'"{look.metadata_sha256}"',
                "Accept-Ranges": "bytes",
                "X-Content-Type-Options": "nosniff",
            }
            return _sent(self._store.local_path(look.metadata_sha256), None, headers)
        look, actor = self._found(request, index, path)
        if look is None or look.stored_at is None or look.sha256 is None or look.size is None:
            return None
        path_here = self._store.local_path(look.sha256)
        if look.size <= _SMALL:
            answer = _sent(path_here, look.size, file_headers(look))
        elif self._accel_redirect:
            location = accel_location(self._accel_redirect, look.sha256)
            answer = _handed_over(path_here, look.size, file_headers(look) | {"X-Accel-Redirect": location})
        else:
            return None
        if answer is not None:
            self._usage.add(index, look.file_id, actor.name if actor.signed_in else self._client(request))
        return answer

    def _found(self, request: HotRequest, index: str, path: str) -> tuple[FileLook | None, Actor]:
        """The file, if it can be given as if to anybody, and who asks for it."""
        asking = ANONYMOUS

        def admit(look: FileLook) -> bool:
            nonlocal asking
            reader = self._access.known_reader(
                request.headers.get("authorization"), index, look.name, look.configuration
            )
            if reader is None:
                return False
            asking = reader.actor
            # A download goes on somebody's account, and a plug-in may know whose.
            return asking.signed_in or not self._authentication.asks_about_headers

        return self._files.find(index, path, admit), asking

    def _client(self, request: HotRequest) -> str:
        """The client's address as ``request.remote_addr`` gives it to a view."""
        if self._trusted_proxies:
            return self._forwarded(request, "x-forwarded-for") or request.client
        return request.client

    def _base_url(self, request: HotRequest) -> str | None:
        """What ``koschey.web.current.base_url`` gives for this request; None when that needs more thought."""
        scheme, host, prefix = "http", request.host, ""
        if self._trusted_proxies:
            scheme = self._forwarded(request, "x-forwarded-proto") or scheme
            host = self._forwarded(request, "x-forwarded-host") or host
            prefix = self._forwarded(request, "x-forwarded-prefix").rstrip("/")
        if not HOST.fullmatch(host):
            return None
        if self._public_url:
            return self._public_url
        # Werkzeug leaves a default port out.
        if prefix or scheme not in ("http", "https") or host.endswith((":80", ":443")):
            return None
        return f"{scheme}://{host}"

    def _forwarded(self, request: HotRequest, name: str) -> str:
        """What the outermost trusted proxy said, as Werkzeug's ProxyFix takes it."""
        values = [value.strip() for value in request.headers.get(name, "").split(",")]
        return values[-self._trusted_proxies] if len(values) >= self._trusted_proxies else ""

    def middleware(self, application: WSGIApplication) -> WSGIApplication:
        """The same in front of a WSGI application, for servers that know nothing of it."""

        def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            request = _from_environ(environ)
            if request is not None and HOST.fullmatch(request.host):
                prefix = environ.get("SCRIPT_NAME", "").rstrip("/")
                base = f"{environ['wsgi.url_scheme']}://{request.host}{prefix}"
                ready = self._answer(request, self._public_url or base)
                if ready is not None:
                    start_response(f"{ready.status} {ready.reason}", list(ready.headers))
                    return [ready.body]
            return application(environ, start_response)

        return answer


def _made(status: HTTPStatus, headers: Iterable[tuple[str, str]], body: bytes) -> ReadyAnswer:
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}\r\n",
        *(f"{name}: {value}\r\n" for name, value in headers),
    ]
    return ReadyAnswer(status.value, status.phrase, tuple(headers), "".join(lines).encode("latin-1"), body)


def _bodiless(answer: ReadyAnswer) -> ReadyAnswer:
    return ReadyAnswer(answer.status, answer.reason, answer.headers, answer.wire, b"")


def _sent(path: Path | None, size: int | None, headers: dict[str, str]) -> ReadyAnswer | None:
    """A whole small file from this machine's disk."""
    if path is None:
        return None
    try:
        # Bare calls: on this path, pathlib and a file object would take longer than the file system.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            length = os.fstat(descriptor).st_size
            body = os.read(descriptor, length) if length <= _SMALL else b""
        finally:
            os.close(descriptor)
    except OSError:
        return None
    if len(body) != (length if size is None else size):
        return None
    return _made(HTTPStatus.OK, [*headers.items(), ("Content-Length", str(len(body)))], body)


def _handed_over(path: Path | None, size: int, headers: dict[str, str]) -> ReadyAnswer | None:
    """A whole file that the proxy in front of us sends."""
    if path is None:
        return None
    try:
        there = os.stat(path)  # noqa: PTH116 - see _sent
    except OSError:
        return None
    if there.st_size != size:
        return None
    return _made(HTTPStatus.OK, [*headers.items(), ("Content-Length", "0")], b"")


def _from_environ(environ: WSGIEnvironment) -> HotRequest | None:
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD") or environ.get("QUERY_STRING"):
        return None
    if "HTTP_RANGE" in environ:
        return None
    authorization = environ.get("HTTP_AUTHORIZATION")
    return HotRequest(
        method=environ["REQUEST_METHOD"],
        target=environ.get("PATH_INFO", ""),
        host=environ.get("HTTP_HOST", ""),
        accept=environ.get("HTTP_ACCEPT", ""),
        accept_encoding=environ.get("HTTP_ACCEPT_ENCODING", ""),
        if_none_match=environ.get("HTTP_IF_NONE_MATCH", ""),
        headers={} if authorization is None else {"authorization": authorization},
        client=environ.get("REMOTE_ADDR", ""),
    )
