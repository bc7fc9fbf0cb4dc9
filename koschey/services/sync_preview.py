"""What a sync would keep: projects, files and bytes, before anything is stored."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

from koschey.domain.filters import Mode, wanted
from koschey.services.configuration import SourceConfig
from koschey.services.keeping import Keeping, KeepSpec, tried
from koschey.services.sync import Sync
from koschey.services.sync_choosing import Choosing, Scope
from koschey.services.sync_known import KnownProjects
from koschey.services.sync_progress import Progress
from koschey.upstream.client import RootFetched, UpstreamClient

#: Names that are shown.
_EXAMPLES = 20


class SyncPreview:
    """Counts, and asks an upstream for no more than its root list."""

    def __init__(
        self,
        progress: Progress,
        known: KnownProjects,
        sync: Sync,
        keeping: Keeping,
        choosing: Choosing,
        client: UpstreamClient,
        *,
        root_deadline: float,
    ) -> None:
        self._progress = progress
        self._known = known
        self._sync = sync
        self._keeping = keeping
        self._choosing = choosing
        self._client = client
        self._root_deadline = root_deadline

    def of(self, upstream: str, spec: KeepSpec | None = None, *, seconds: float = math.inf) -> dict[str, Any]:
        """What the next syncs keep of an upstream, as plain values.

        Args:
            spec: what would be changed of its mode and filters before.
            seconds: so long the root list is waited for, and files are counted: what was counted by then is
                told, and ``whole`` is false.

        Files and bytes are counted of projects whose page is known; ``estimated`` has those of all projects,
        as if the others were like them.

        Raises:
            NotFound: no such upstream. UpstreamError: its root list is needed and could not be had.
        """
        source = tried(self._sync.source(upstream), spec or KeepSpec())
        ends = time.monotonic() + seconds
        scope = self._choosing.scope(source)
        by_root = self._choosing.by_root(source, scope, self._progress.state(source.id))
        kept, unlisted = self._kept(source, scope, by_root=by_root, seconds=seconds)
        storing = {name for name in kept if scope.stores(name)} if source.mode is Mode.FULL else kept
        known, counted, files, size, unsized, stored = self._counted(source, kept, storing, ends)
        share = len(storing) / counted if counted else 0.0
        says = (
            f"{len(kept):,} projects, of which {known:,} are known; these have {files:,} files that would be "
            f"kept, {size:,} bytes ({stored:,} files are stored already)"
        )
        whole = time.monotonic() < ends
        if not whole:
            says += "; time was up, and so many were counted"
        if 0 < counted < len(storing):
            says += f"; all of them about {files * share:,.0f} files, {size * share:,.0f} bytes"
        return {
            "upstream": upstream,
            "mode": str(source.mode),
            "root_list": by_root,
            "projects": len(kept),
            "known": known,
            "left_out": unlisted,
            "whole": whole,
            "files": files,
            "bytes": size,
            "unsized": unsized,
            "stored": stored,
            "estimated": {"files": round(files * share), "bytes": round(size * share)},
            "stores_files": source.mode is Mode.FULL,
            "examples": sorted(kept)[:_EXAMPLES],
            "says": says if source.mode is Mode.FULL else says + "; the mode stores no files by itself",
        }

    def _kept(
        self, source: SourceConfig, scope: Scope, *, by_root: bool, seconds: float
    ) -> tuple[set[str], int]:
        """The names that are kept, and how many of the root list are not."""
        known = {name for name in self._names(source) if scope.follows(name)}
        if not by_root:
            return known | {name for name in scope.names if scope.keeps(name)}, 0
        assert source.endpoint is not None
        deadline = min(self._root_deadline, seconds)
        outcome = self._client.root_list(source.endpoint, etag=None, deadline=deadline)
        assert isinstance(outcome, RootFetched)
        listed = outcome.listing.serials
        kept = {name for name in listed if name in known or scope.keeps(name)}
        return kept, len(listed) - len(kept)

    def _names(self, source: SourceConfig) -> Iterator[str]:
        after = ""
        while batch := self._known.by_name(source.id, after):
            after = batch[-1].name
            yield from (project.name for project in batch if project.present)

    def _counted(
        self, source: SourceConfig, kept: set[str], storing: set[str], ends: float
    ) -> tuple[int, int, int, int, int, int]:
        """How many projects are known, and how many whose files count; of these the files, bytes, files
        without a size, stored ones."""
        names = self._keeping.names(source.id)
        after = known = counted = files = size = unsized = stored = 0
        while time.monotonic() < ends and (rows := self._known.by_id(source.id, after)):
            after = rows[-1][0]
            for project_id, name in rows:
                if name not in kept:
                    continue
                known += 1
                if name not in storing:
                    continue
                counted += 1
                listed = self._known.files(project_id)
                for file in wanted(source.filters, listed, names.get(name)):
                    files += 1
                    size += file.size or 0
                    unsized += file.size is None
                    stored += file.stored
        return known, counted, files, size, unsized, stored
