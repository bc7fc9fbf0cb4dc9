"""The read side: which source owns a name, how fresh its page is, and the page itself, ready-made."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace

import structlog

from koschey.domain.names import NormalizedName
from koschey.domain.negotiation import Representation
from koschey.domain.page import ListedFile, ProjectPage, offers_metadata
from koschey.domain.simple_api import render_project
from koschey.errors import Busy, NameOwned, NotFound, StoreUnavailable, UpstreamError
from koschey.services.configuration import Configuration, IndexConfig, SourceConfig
from koschey.services.gate import Gate
from koschey.services.mirror import Mirror
from koschey.services.outages import Outages
from koschey.services.pages import CONTENT_TYPES, PageCache, ReadyPage, ready
from koschey.services.standing import Freshness, Standing, standing
from koschey.stores.database import now
from koschey.stores.lookup import FileLook, Lookup, NameLook, PageProject, PageRow, ProjectLook
from koschey.stores.models import ProjectState

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Why a look could not be made or recorded; a full disk must not take a stored page away either.
_NO_LOOK = (UpstreamError, Busy, StoreUnavailable)


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
        index, stands = self._due(index_name, name)
        if not stands.known:
            raise NotFound("project", name)
        self._submit(stands, name)
        key = _page_key(index, stands, name, representation, encoding, base_url)
        return self._cache.get_or_make(
            key, lambda: self._made(index, stands, name, representation, encoding, base_url)
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
        stands = standing(index, look, name, self._freshness)
        if not stands.known or stands.ask:
            return None
        page = self._cache.get(_page_key(index, stands, name, representation, encoding, base_url))
        if page is not None:
            self._submit(stands, name)
        return page

    def look(self, name: str) -> NameLook:
        """The one look at a name that a ready-made answer needs, with the configuration's number."""
        return self._lookup.name(name)

    def having(self, index_name: str, file: FileLook) -> tuple[IndexConfig, bool] | None:
        """The index, if the file's project is one that has the name in it, by what is stored.

        Returns:
            None for a file of another source's namesake, or one that a hosted file of its name stands for;
            else the index, and whether the hosted project that the file's is merged with is quarantined.

        Raises:
            NotFound: no such index.
        """
        index, stands = self._standing(index_name, file.name)
        place = next((p for p, part in enumerate(stands.parts) if part.project_id == file.project_id), None)
        if place is None:
            return None
        if place == 0:
            return index, False
        first = stands.parts[0]
        same = self._lookup.files_named(file.name, file.filename)
        if any(other.project_id == first.project_id for other in same):
            return None
        project = self._lookup.project(first.project_id)
        return index, project.status == "quarantined"

    def stands(self, index_name: str, name: NormalizedName) -> tuple[IndexConfig, Standing]:
        """Whose a name is in an index, looked for outside first where that is due.

        Raises:
            NotFound, UpstreamError, Busy: as ``project_page``.
        """
        index, stands = self._due(index_name, name)
        if not stands.known:
            raise NotFound("project", name)
        self._submit(stands, name)
        return index, stands

    def _standing(self, index_name: str, name: str) -> tuple[IndexConfig, Standing]:
        look = self._lookup.name(name)
        index = self._configuration.index(index_name, look.configuration)
        return index, standing(index, look, name, self._freshness)

    def _due(self, index_name: str, name: NormalizedName) -> tuple[IndexConfig, Standing]:
        """Where a name stands once everything that is due was asked."""
        index, stands = self._standing(index_name, name)
        if not stands.ask:
            return index, stands
        try:
            return index, self._asked(index, name, stands)
        except NameOwned:  # since it was looked up; this time nobody is asked
            return self._standing(index_name, name)

    def _asked(self, index: IndexConfig, name: NormalizedName, stands: Standing) -> Standing:
        """Have the mirror look at what is due, one source after the other until one owns the name.

        With a stored page, an upstream's failure leaves that; without one it is the answer. A 404 that no
        source said would let an installer go on to its next index, and a source further down must not win
        a name because one before it is silent.
        """
        look = self._lookup.name(name)
        for source in stands.ask:
            known = look.projects.get(source.id)
            fallback = known is not None and stands.owner is not None
            if fallback and self._outages.lasting(source.id, name):
                continue
            deadline = self._freshness.refresh_deadline if fallback else None
            try:
                self._look(source, name, known, deadline)
            except _NO_LOOK as error:
                if not fallback or isinstance(error, NameOwned):
                    raise
                continue
            look = self._lookup.name(name)
            found = look.projects.get(source.id)
            if found is not None and found.state != ProjectState.ABSENT:
                break
        index = self._configuration.index(index.name, look.configuration)
        return replace(standing(index, look, name, self._freshness), ask=(), behind=())

    def _look(
        self, source: SourceConfig, name: NormalizedName, known: ProjectLook | None, deadline: float | None
    ) -> None:
        try:
            self._mirror.look(source, name, seen=known.looked_at if known else None, deadline=deadline)
        except NameOwned:
            raise
        except _NO_LOOK as error:
            self._outages.failed(source.id, name)
            if known is not None:
                log.warning("page.stale", upstream=source.name, project=name, problem=str(error))
            raise
        self._outages.worked(source.id)

    def _submit(self, stands: Standing, name: str) -> None:
        for source in stands.behind:
            if not self._outages.lasting(source.id, name):
                self._refresh_behind(source.id, name)

    def is_out(self, source_id: int, name: NormalizedName) -> bool:
        """Whether a look would fail: the page, or several of its upstream, failed a moment ago."""
        return self._outages.lasting(source_id, name)

    def refresh(self, source_id: int, name: NormalizedName) -> None:
        """Look at a page behind an answer; a failure is logged and leaves what is stored."""
        look = self._lookup.name(name)
        self._configuration.indexes(number=look.configuration)
        source, known = self._configuration.source(source_id), look.projects.get(source_id)
        if source.paused:
            return
        with contextlib.suppress(*_NO_LOOK):  # a name that became the company's own meanwhile is one, too
            self._look(source, name, known, None)

    def _made(
        self,
        index: IndexConfig,
        stands: Standing,
        name: str,
        representation: Representation,
        encoding: str,
        base_url: str,
    ) -> ReadyPage:
        page, until = self.load(index, stands, name)
        body = render_project(page, representation, base_url)
        return ready(
            body,
            content_type=CONTENT_TYPES[representation],
            encoding=encoding,
            serial=page.serial,
            until=until,
        )

    def load(self, index: IndexConfig, stands: Standing, name: str) -> tuple[ProjectPage, int | None]:
        """The frozen page, and when one of its verdicts changes by itself.

        It has the stored files of which the gate says that they are visible; of two files of one name the
        first part's, even if that is deleted.
        """
        at = now()
        until: int | None = None
        files: list[ListedFile] = []
        named: set[str] = set()
        first: PageProject | None = None
        serial = 0 if stands.parts else stands.serial
        total = 0
        for part in stands.parts:
            project, rows = self._lookup.page(part.project_id)
            first, serial = first or project, max(serial, project.serial)
            judge = self._gate.judge(index, name, project, quarantined=first.status == "quarantined")
            for row in map(PageRow._make, rows):
                if row.filename in named or row.deleted_at is not None:
                    continue
                total += 1
                verdict = judge.verdict(row, at)
                if verdict.until is not None and (until is None or verdict.until < until):
                    until = verdict.until
                if verdict.visible:
                    files.append(_listed(row))
            if len(stands.parts) > 1:
                named.update(row[0] for row in rows)
        page = ProjectPage(
            name=name,
            serial=serial,
            files=tuple(files),
            status=first.status if first else "active",
            status_reason=first.status_reason if first else None,
            hidden=total - len(files),
        )
        return page, until


def _listed(row: PageRow) -> ListedFile:
    return ListedFile(
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


def _page_key(
    index: IndexConfig,
    stands: Standing,
    name: str,
    representation: Representation,
    encoding: str,
    base_url: str,
) -> tuple[object, ...]:
    """What a rendered page hangs on, besides time."""
    return (
        stands.mark(name),
        index.id,
        index.policy_version,
        representation,
        encoding,
        base_url,
    )
