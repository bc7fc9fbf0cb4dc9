"""The read side: which source owns a name, how fresh its page is, and the page itself, ready-made."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from koschey.domain.names import NormalizedName
from koschey.domain.negotiation import Representation
from koschey.domain.page import ListedFile, ProjectPage, offers_metadata
from koschey.domain.simple_api import render_project
from koschey.errors import Busy, NotFound, StoreUnavailable, UpstreamError
from koschey.services.configuration import Configuration, IndexConfig, SourceConfig
from koschey.services.gate import Gate
from koschey.services.mirror import CONFIRM_SECONDS, Mirror
from koschey.services.outages import Outages
from koschey.services.pages import CONTENT_TYPES, PageCache, ReadyPage, ready
from koschey.stores.database import now
from koschey.stores.lookup import Lookup, NameLook, PageRow, ProjectLook
from koschey.stores.models import ProjectState, SourceKind

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Why a look could not be made or recorded; a full disk must not take a stored page away either.
_NO_LOOK = (UpstreamError, Busy, StoreUnavailable)


@dataclass(frozen=True)
class Freshness:
    """Ages, in seconds, at which something is done about what is stored."""

    stale_seconds: float
    negative_seconds: float
    refresh_deadline: float


@dataclass(frozen=True)
class Standing:
    """Where a name stands in an index by what is stored."""

    owner: ProjectLook | None
    """The name in the first source that has it."""
    ask: tuple[SourceConfig, ...] = ()
    """Sources to ask before anything is answered, in order."""
    behind: tuple[SourceConfig, ...] = ()
    """Sources to ask behind the answer."""


class Catalog:
    """Answers for pages from what is stored, and has the mirror look where that is too old or not there."""

    def __init__(
        self,
        lookup: Lookup,
        configuration: Configuration,
        gate: Gate,
        mirror: Mirror,
        cache: PageCache,
        freshness: Freshness,
        refresh_behind: Callable[[int, str], None],
    ) -> None:
        self._lookup = lookup
        self._configuration = configuration
        self._gate = gate
        self._mirror = mirror
        self._cache = cache
        self._freshness = freshness
        self._refresh_behind = refresh_behind
        self._outages = Outages()

    def project_page(
        self,
        index_name: str,
        name: NormalizedName,
        representation: Representation,
        encoding: str,
        base_url: str,
    ) -> ReadyPage:
        """The page of a project, pulled or refreshed first where that is due.

        Args:
            base_url: scheme, host and prefix of the index for the URLs in the page, no slash at its end.

        Raises:
            NotFound: no such index, or every source says that it has no such project.
            UpstreamError, Busy: nothing is stored and a source could not be asked.
        """
        index, standing = self._standing(index_name, name)
        if standing.ask:
            standing = self._asked(index, name, standing)
        if standing.owner is None:
            raise NotFound("project", name)
        self._submit(standing, name)
        owner = standing.owner
        key = _page_key(index, owner, representation, encoding, base_url)
        return self._cache.get_or_make(
            key, lambda: self._made(index, owner, name, representation, encoding, base_url)
        )

    def ready_project_page(
        self,
        index_name: str,
        name: NormalizedName,
        representation: Representation,
        encoding: str,
        base_url: str,
        look: NameLook,
    ) -> ReadyPage | None:
        """The same when it can be had without waiting for anything; else None.

        Args:
            look: what ``look`` has just said of the name.
        """
        index = self._configuration.index(index_name, look.configuration)
        standing = _standing(index, look, self._freshness)
        if standing.owner is None or standing.ask:
            return None
        page = self._cache.get(_page_key(index, standing.owner, representation, encoding, base_url))
        if page is not None:
            self._submit(standing, name)
        return page

    def look(self, name: str) -> NameLook:
        """The one look at a name that a ready-made answer needs, with the configuration's number."""
        return self._lookup.name(name)

    def owning(self, index_name: str, name: str, project_id: int) -> IndexConfig | None:
        """The index, if that project is the one that has the name in it, by what is stored.

        Raises:
            NotFound: no such index.
        """
        index, standing = self._standing(index_name, name)
        return index if standing.owner is not None and standing.owner.project_id == project_id else None

    def owner(self, index_name: str, name: NormalizedName) -> tuple[IndexConfig, ProjectLook]:
        """The project that has a name in an index, looked for outside first where that is due.

        Raises:
            NotFound, UpstreamError, Busy: as ``project_page``.
        """
        index, standing = self._standing(index_name, name)
        if standing.ask:
            standing = self._asked(index, name, standing)
        if standing.owner is None:
            raise NotFound("project", name)
        self._submit(standing, name)
        return index, standing.owner

    def _standing(self, index_name: str, name: str) -> tuple[IndexConfig, Standing]:
        look = self._lookup.name(name)
        index = self._configuration.index(index_name, look.configuration)
        return index, _standing(index, look, self._freshness)

    def _asked(self, index: IndexConfig, name: NormalizedName, standing: Standing) -> Standing:
        """Have the mirror look at what is due, one source after the other until one owns the name.

        With a stored page, an upstream's failure leaves that; without one it is the answer. A 404 that no
        source said would let an installer go on to its next index, and a source further down must not win
        a name because one before it is silent.
        """
        look = self._lookup.name(name)
        for source in standing.ask:
            known = look.projects.get(source.id)
            fallback = known is not None and standing.owner is not None
            if fallback and self._outages.lasting(source.id, name):
                continue
            deadline = self._freshness.refresh_deadline if fallback else None
            try:
                self._look(source, name, known, deadline)
            except _NO_LOOK:
                if not fallback:
                    raise
                continue
            look = self._lookup.name(name)
            found = look.projects.get(source.id)
            if found is not None and found.state != ProjectState.ABSENT:
                break
        return Standing(_standing(index, look, self._freshness).owner)

    def _look(
        self, source: SourceConfig, name: NormalizedName, known: ProjectLook | None, deadline: float | None
    ) -> None:
        try:
            self._mirror.look(source, name, seen=known.looked_at if known else None, deadline=deadline)
        except _NO_LOOK as error:
            self._outages.failed(source.id, name)
            if known is not None:
                log.warning("page.stale", upstream=source.name, project=name, problem=str(error))
            raise
        self._outages.worked(source.id)

    def _submit(self, standing: Standing, name: str) -> None:
        for source in standing.behind:
            if not self._outages.lasting(source.id, name):
                self._refresh_behind(source.id, name)

    def refresh(self, source_id: int, name: NormalizedName) -> None:
        """Look at a page behind an answer; a failure is logged and leaves what is stored."""
        known = self._lookup.name(name).projects.get(source_id)
        with contextlib.suppress(*_NO_LOOK):
            self._look(self._configuration.source(source_id), name, known, None)

    def _made(
        self,
        index: IndexConfig,
        owner: ProjectLook,
        name: str,
        representation: Representation,
        encoding: str,
        base_url: str,
    ) -> ReadyPage:
        page, until = self.load(index, owner, name)
        body = render_project(page, representation, base_url)
        return ready(
            body,
            content_type=CONTENT_TYPES[representation],
            encoding=encoding,
            serial=page.serial,
            until=until,
        )

    def load(self, index: IndexConfig, owner: ProjectLook, name: str) -> tuple[ProjectPage, int | None]:
        """The frozen page, and when one of its verdicts changes by itself.

        It has the stored files of which the gate says that they are visible.
        """
        at = now()
        project, rows = self._lookup.page(owner.project_id)
        judge = self._gate.judge(index, name, project)
        until: int | None = None
        files = []
        for row in map(PageRow._make, rows):
            verdict = judge.verdict(row, at)
            if verdict.until is not None and (until is None or verdict.until < until):
                until = verdict.until
            if not verdict.visible:
                continue
            files.append(
                ListedFile(
                    filename=row.filename,
                    path=row.path,
                    version=row.version,
                    sha256=row.sha256,
                    size=row.size,
                    upload_time=row.upload_time,
                    requires_python=row.requires_python,
                    yanked=row.yanked_reason or bool(row.yanked),
                    core_metadata=offers_metadata(row.filename, row.metadata_advertised)
                    and (row.metadata_sha256 or bool(row.metadata_advertised)),
                    provenance=row.provenance_url is not None or row.provenance_sha256 is not None,
                )
            )
        page = ProjectPage(
            name=name,
            serial=project.serial,
            files=tuple(files),
            status=project.status,
            status_reason=project.status_reason,
            hidden=len(rows) - len(files),
        )
        return page, until


def _page_key(
    index: IndexConfig, owner: ProjectLook, representation: Representation, encoding: str, base_url: str
) -> tuple[object, ...]:
    """What a rendered page hangs on, besides time."""
    return (
        owner.project_id,
        owner.serial,
        index.id,
        index.policy_version,
        representation,
        encoding,
        base_url,
    )


def _standing(index: IndexConfig, look: NameLook, freshness: Freshness) -> Standing:
    """Sources are taken in order; the first that has the name owns it, whatever comes behind."""
    at = now()
    ask: list[SourceConfig] = []
    behind: list[SourceConfig] = []
    for source in index.sources:
        known = look.projects.get(source.id)
        if source.kind is SourceKind.HOSTED:
            if known is not None and known.state == ProjectState.PRESENT:
                return Standing(known)
            continue
        if known is None:
            ask.append(source)
            continue
        age = (at - (known.looked_at or 0)) / 1e6
        if known.state == ProjectState.ABSENT:
            if age > freshness.negative_seconds:
                ask.append(source)
            continue
        refresh_seconds = source.refresh_seconds
        if known.missing_since is not None:
            refresh_seconds = min(refresh_seconds, CONFIRM_SECONDS)
        if age > max(freshness.stale_seconds, refresh_seconds):
            ask.append(source)
        elif age > refresh_seconds:
            behind.append(source)
        return _with_owner(known, ask, behind, look)
    return Standing(None, tuple(ask))


def _with_owner(
    owner: ProjectLook, ask: list[SourceConfig], behind: list[SourceConfig], look: NameLook
) -> Standing:
    """An earlier source whose remembered 404 ran out is asked behind the answer, a new one before it."""
    first = [s for s in ask if s.id == owner.source_id or s.id not in look.projects]
    later = [s for s in ask if s not in first]
    return Standing(owner, tuple(first), (*later, *behind))
