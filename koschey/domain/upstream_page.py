"""An upstream's project page, in JSON or HTML, as data: each part is checked, nothing of its text is kept.

One bad entry costs that file and no other. What is no page of the project at all is
:class:`PageInvalid`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from packaging.utils import NormalizedName, canonicalize_name

from koschey.domain import upstream_fields as fields
from koschey.domain.html_links import Link, LinkParser, decoded
from koschey.domain.names import FILE_EXTENSIONS, MAX_FILENAME, Spellings, version_of
from koschey.domain.page import Refusal, UpstreamFile, UpstreamPage


class PageInvalid(ValueError):
    """What came is not a page of the project; ``problem`` says why, without quoting it."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(problem)


class _Entry(msgspec.Struct, rename="kebab", gc=False):
    """An entry of ``files`` (PEP 691, 700, 714, 740)."""

    filename: str
    url: str
    hashes: dict[str, str] = {}
    requires_python: str | None = None
    size: int | None = None
    upload_time: str | None = None
    yanked: bool | str | None = None
    core_metadata: bool | dict[str, str] | None = None
    dist_info_metadata: bool | dict[str, str] | None = None
    provenance: str | None = None


class _Named(msgspec.Struct):
    """Of an entry that cannot be read, whose it is; its other values are passed over unread."""

    filename: str


class _Meta(msgspec.Struct):
    api_version: str = msgspec.field(name="api-version")
    serial: Any = msgspec.field(name="_last-serial", default=None)


class _Page[E](msgspec.Struct):
    """A page whose ``files`` are entries, or raw text that is decoded one by one."""

    meta: _Meta
    name: str
    files: list[E]
    versions: Any = None
    project_status: Any = msgspec.field(name="project-status", default=None)


_whole_page = msgspec.json.Decoder(_Page[_Entry])
_frame = msgspec.json.Decoder(_Page[msgspec.Raw])
_entry = msgspec.json.Decoder(_Entry)
_named = msgspec.json.Decoder(_Named)

#: Commas in the JSON: some 80,000 files with all fields. A value may take 100 times the memory of its text.
_MOST_VALUES = 1_000_000
_MOST_REFUSED = 10_000

#: What msgspec raises for what cannot be decoded: of bytes that are not UTF-8 the codec's own error.
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError)

_FRAGMENT_DIGEST = re.compile(r"(?:^|&)([a-z0-9_]+)=([0-9A-Za-z]+)")


def parse_json(
    body: bytes, page_url: str, name: NormalizedName, *, expired: Callable[[], bool] = lambda: False
) -> UpstreamPage:
    """The page of project ``name`` in the JSON of PEP 691, as fetched from ``page_url``.

    Arguments:
        expired: asked every thousand files; True stops the work.

    Raises:
        PageInvalid: not JSON, not API version 1, too deep, too long, of another project; or out of time.
    """
    page = _decoded(body)
    _check_version(page.meta.api_version)
    if canonicalize_name(page.name) != name:
        raise PageInvalid("it is the page of another project")
    versions = page.versions if isinstance(page.versions, list) else []
    # A longer version is no file's; caches would keep it.
    files = _Files(page_url, name, (v for v in versions if isinstance(v, str) and len(v) <= MAX_FILENAME))
    entries: Sequence[_Entry | msgspec.Raw] = page.files
    for number, entry in enumerate(entries):
        if number % 1000 == 999 and expired():
            raise PageInvalid("it could not be read in time")
        if isinstance(entry, _Entry):
            files.add(entry)
        else:
            files.add_raw(entry)
    marker = page.project_status if isinstance(page.project_status, dict) else {}
    return files.page(page.meta.serial, marker.get("status"), marker.get("reason"))


def parse_html(
    chunks: Iterable[bytes],
    page_url: str,
    name: NormalizedName,
    *,
    charset: str | None = None,
    expired: Callable[[], bool],
) -> UpstreamPage:
    """The page of project ``name`` in the HTML of PEP 503.

    Arguments:
        chunks: the body as it arrives.
        charset: what the Content-Type says.
        expired: asked every few kilobytes; True stops the work.

    Raises:
        PageInvalid: the time was up, or this is no HTML, not API version 1, or no page of an index.
    """
    parser = LinkParser()
    begun = False
    for text in decoded(chunks, charset):
        if expired():
            raise PageInvalid("it did not arrive and could not be read in time")
        begun = _begins_like_html(text, begun=begun)
        _fed(parser.feed, text)
    _fed(parser.close)
    if not begun:
        raise PageInvalid("it is empty")
    if "repository-version" in parser.meta:
        _check_version(parser.meta["repository-version"])
    files = _Files(_base(page_url, parser.base), name, ())
    for link in parser.links:
        if entry := _entry_of(link):
            files.add(entry)
    page = files.page(None, parser.meta.get("project-status"), parser.meta.get("project-status-reason"))
    if not (page.files or page.refused or parser.meta or _is_folder(parser.links)):
        # A sign-in form or an error page, sent as a success: it would take all files away.
        raise PageInvalid("it has no link to a file and does not say that it is a page of an index")
    return page


class _Files:
    """Collects what is believed of a page and what is not."""

    def __init__(self, page_url: str, project: NormalizedName, versions: Iterable[str]) -> None:
        self._page_url = page_url
        self._project = project
        self._versions = Spellings(versions)
        self._files: dict[str, UpstreamFile] = {}
        self._refused: list[Refusal] = []

    def add(self, entry: _Entry) -> None:
        try:
            file = self._checked(entry)
        except fields.FieldInvalid as error:
            self._refuse(entry.filename, str(error))
            return
        first = self._files.setdefault(file.filename, file)
        if first is not file and not _same_bytes(first, file):
            self._refuse(file.filename, "the page lists this name twice, for different files")

    def add_raw(self, raw: msgspec.Raw) -> None:
        """An entry of a page in which some entry is malformed."""
        try:
            entry = _entry.decode(raw)
        except (*UNREADABLE, RecursionError) as error:
            self._refuse(_filename_in(raw), f"its entry is malformed: {error}")
            return
        self.add(entry)

    def page(self, serial: object, status: object, reason: object) -> UpstreamPage:
        return UpstreamPage(
            name=self._project,
            files=tuple(self._files.values()),
            serial=fields.serial(serial),
            status=fields.status(status),
            status_reason=fields.clean(reason),
            refused=tuple(self._refused),
        )

    def _checked(self, entry: _Entry) -> UpstreamFile:
        filename = entry.filename
        fields.check_filename(self._project, filename)
        sha256, digest = fields.digests(entry.hashes)
        sidecar = entry.dist_info_metadata if entry.core_metadata is None else entry.core_metadata  # PEP 714
        return UpstreamFile(
            filename=filename,
            url=fields.resolved_url(self._page_url, entry.url),
            version=version_of(self._project, filename, self._versions),
            sha256=sha256,
            digest=digest,
            size=fields.size(entry.size),
            upload_time=fields.upload_time(entry.upload_time),
            requires_python=fields.requires_python(entry.requires_python),
            yanked=fields.yanked(entry.yanked),
            core_metadata=fields.core_metadata(sidecar),
            provenance=fields.provenance(entry.provenance),
        )

    def _refuse(self, filename: str, problem: str) -> None:
        if len(self._refused) >= _MOST_REFUSED:
            raise PageInvalid("it lists too much that cannot be believed")
        self._refused.append(Refusal((fields.clean(filename) or "")[:255], problem))


def _decoded(body: bytes) -> _Page[_Entry] | _Page[msgspec.Raw]:
    if body.count(b",") > _MOST_VALUES:
        raise PageInvalid("it is longer than a page of an index may be")
    try:
        try:
            return _whole_page.decode(body)
        except UNREADABLE:
            return _frame.decode(body)
    except RecursionError:
        raise PageInvalid("its JSON is nested too deep") from None
    except msgspec.ValidationError as error:
        raise PageInvalid(f"it is no page of an index: {error}") from None
    except UNREADABLE:
        html = body[:64].lstrip().startswith(b"<")
        raise PageInvalid("it is HTML, labelled as JSON" if html else "it is not JSON") from None


def _filename_in(raw: msgspec.Raw) -> str:
    try:
        return _named.decode(raw).filename
    except (*UNREADABLE, RecursionError):
        return ""


def _same_bytes(first: UpstreamFile, second: UpstreamFile) -> bool:
    same_digest = (first.sha256, first.digest) == (second.sha256, second.digest)
    return same_digest and (first.sha256 is not None or first.url == second.url)


def _check_version(version: str) -> None:
    """PEP 629: only the major number tells whether a page can be understood."""
    major, _, minor = version.strip().partition(".")
    if not (major.isdigit() and minor.isdigit()):
        raise PageInvalid("its API version cannot be read")
    if major != "1":
        raise PageInvalid("its API version is not 1")


def _begins_like_html(text: str, *, begun: bool) -> bool:
    start = "" if begun else text.lstrip()[:1]
    if start and start != "<":
        raise PageInvalid("it is not HTML")
    return begun or bool(start)


def _fed(step: Callable[..., None], *text: str) -> None:
    try:
        step(*text)
    except ValueError as error:
        raise PageInvalid(f"its HTML cannot be read: {error}") from None


def _base(page_url: str, href: str | None) -> str:
    """What relative links stand on; nothing when ``<base>`` is no web address, so that they are refused."""
    if href is None:
        return page_url
    try:
        return fields.resolved_url(page_url, href.strip())
    except fields.FieldInvalid:
        return ""


def _entry_of(link: Link) -> _Entry | None:
    """A link as the entry that it would be in JSON; None when it leads to no distribution."""
    attributes = link.attributes
    url = attributes["href"].strip()
    named = (link.text, fields.filename_in_url(url))
    filename = next((name for name in named if name.lower().endswith(FILE_EXTENSIONS)), None)
    if filename is None:
        return None
    sidecar = attributes.get("data-core-metadata", attributes.get("data-dist-info-metadata"))
    return _Entry(
        filename=filename,
        url=url,
        hashes=_fragment_digests(url.partition("#")[2]),
        requires_python=attributes.get("data-requires-python"),
        yanked=(attributes["data-yanked"] or True) if "data-yanked" in attributes else None,
        core_metadata=None if sidecar is None else _sidecar(sidecar),
        provenance=attributes.get("data-provenance"),
    )


def _fragment_digests(fragment: str) -> dict[str, str]:
    return dict(_FRAGMENT_DIGEST.findall(fragment))


def _sidecar(value: str) -> bool | dict[str, str]:
    """PEP 658: ``sha256=<hex>`` of the sidecar, or ``true``."""
    return value == "true" or _fragment_digests(value)


def _is_folder(links: Sequence[Link]) -> bool:
    """Whether there are links, and only such as every folder listing has: the parent, sort orders."""
    return bool(links) and all(link.attributes["href"].strip().startswith((".", "?", "#")) for link in links)
