"""Choosing which projects a sync looks at: by the upstream's root list, or name by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Any

import structlog

from koschey.domain.filters import Mode, chosen
from koschey.domain.page import Microseconds
from koschey.domain.root_diff import RootDiff, Why, shrunk
from koschey.errors import UpstreamInvalid
from koschey.failpoints import failpoint
from koschey.services.configuration import SourceConfig
from koschey.services.keeping import Keeping
from koschey.services.sync_due import DueProjects
from koschey.services.sync_known import KnownProjects
from koschey.services.sync_pass import PATIENCE
from koschey.services.sync_progress import Counted, Progress, count
from koschey.stores.database import Database, now
from koschey.upstream.client import RootFetched, UpstreamClient
from koschey.upstream.manners import Tally

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: What one conditional request is taken to cost, in bytes of a root list.
_REQUEST_BYTES = 4_096
#: What a root list is taken to have until one was seen: as the largest public one has.
_ROOT_BYTES = 40_000_000
#: A root list is compared anew at least so often (microseconds), whatever its ETag says.
_RECONCILED: Microseconds = 86_400_000_000
#: So many serials may be committed out of order: what changed by the last ones is looked at once more.
_OVERLAP = 20
#: Pages that no serial made us look at are looked at again after so long (microseconds).
_OLD_PAGE: Microseconds = 30 * 86_400_000_000
#: So many of those in one sync.
_OLD_AT_ONCE = 500


@dataclass(frozen=True)
class Scope:
    """Of which names a sync speaks."""

    source: SourceConfig
    names: frozenset[str]
    """Those of lists and seeds."""
    names_given: bool
    owned: Callable[[str], bool]
    """Whether a name is the company's own, and never asked outside."""

    def keeps(self, name: str) -> bool:
        """Whether a name is kept without having been asked for."""
        source = self.source
        if source.mode in (Mode.PROXY, Mode.KNOWN) and name not in self.names:
            return False
        return chosen(
            source.filters, name, named=name in self.names, names_given=self.names_given
        ) and not self.owned(name)

    def stores(self, name: str) -> bool:
        """Whether files of a name that is followed are stored without being asked for, in mode ``full``."""
        return chosen(self.source.filters, name, named=name in self.names, names_given=self.names_given)

    def follows(self, name: str) -> bool:
        """Whether a name that is known is kept in step: unless the filters exclude it."""
        return chosen(self.source.filters, name, named=True, names_given=False) and not self.owned(name)


class Choosing:
    """Writes down what is due."""

    def __init__(
        self,
        database: Database,
        progress: Progress,
        due: DueProjects,
        kept: Keeping,
        client: UpstreamClient,
        *,
        root_deadline: float,
    ) -> None:
        self._database = database
        self._progress = progress
        self._due = due
        self._known = KnownProjects(database)
        self._kept = kept
        self._client = client
        self._root_deadline = root_deadline

    def scope(self, source: SourceConfig) -> Scope:
        """Of which names a sync of that upstream speaks."""
        names = frozenset(self._kept.names(source.id))
        return Scope(source, names, bool(names), self._kept.owned(source.id))

    def by_root(self, source: SourceConfig, scope: Scope, state: Mapping[str, Any]) -> bool:
        """Whether to ask for the root list: for whole sets, or when it is cheaper than so many names.

        Never for the names of lists and seeds alone, nor for what was asked for, while they are few.
        """
        if source.mode in (Mode.INDEX, Mode.FULL) and (source.filters.include or not scope.names_given):
            return True
        affordable = (state["root_bytes"] or _ROOT_BYTES) // _REQUEST_BYTES
        known = self._known.count(source.id, affordable + 1)
        return known + len(scope.names) > affordable

    def choose(self, source: SourceConfig, *, older_than: float, afresh: bool) -> str | None:
        """Add what is due; returns the alarm, if the root list is one.

        Args:
            older_than: seconds; name by name, pages that were looked at later are left for the next time.
            afresh: look at every page, whatever serials and the ETag of the root list say.

        Raises:
            UpstreamError: the root list could not be had, or not be believed; nothing changes.
        """
        state = self._progress.state(source.id)
        scope = self.scope(source)
        if self.by_root(source, scope, state):
            alarm = self._by_root(source, scope, state, afresh=afresh)
        else:
            self._due.add_unless_due(source.id, self._by_name(source, scope, older_than))
            alarm = None
        failpoint("sync.chosen")
        return alarm

    def add(self, source: SourceConfig, names: Collection[str]) -> None:
        """Add those of some names that came to lists and seeds meanwhile whose page was never looked at."""
        scope = self.scope(source)
        present = {name for _, name in self._known.present(source.id, names)}
        new = ((name, None, Why.NEW) for name in sorted(names) if name not in present and scope.keeps(name))
        self._due.add_unless_due(source.id, new)

    def fingerprint(self, scope: Scope) -> str:
        """Changes with whatever decides which names and files are kept, and with how that is decided."""
        source = scope.source
        names = sorted(self._kept.names(source.id).items())
        told = f"2 {source.mode} {source.filters!r} {names!r}"
        return sha256(told.encode()).hexdigest()[:32]

    def _by_name(
        self, source: SourceConfig, scope: Scope, older_than: float
    ) -> Iterator[tuple[str, int | None, str]]:
        before = now() - round(older_than * 1e6)
        known: set[str] = set()
        after = ""
        while batch := self._known.by_name(source.id, after):
            after = batch[-1].name
            known.update(project.name for project in batch if project.present)
        after = ""
        while names := self._known.looked_before(source.id, before, after):
            after = names[-1]
            yield from ((name, None, Why.AGE) for name in names if scope.follows(name))
        yield from ((name, None, Why.NEW) for name in sorted(scope.names - known) if scope.keeps(name))

    def _by_root(
        self, source: SourceConfig, scope: Scope, state: Mapping[str, Any], *, afresh: bool
    ) -> str | None:
        at = now()
        reconcile = afresh or at - (state["compared_at"] or 0) > _RECONCILED
        assert source.endpoint is not None
        tally = Tally()
        try:
            outcome = self._client.root_list(
                source.endpoint,
                etag=None if reconcile else state["root_etag"],
                deadline=self._root_deadline,
                rest=PATIENCE,
                tally=tally,
            )
        finally:
            requests, unchanged, received = tally.taken()
            with self._database.transaction() as tx:
                counted = Counted(requests=requests, unchanged=unchanged, bytes=received)
                count(tx, source.id, counted)
        if not isinstance(outcome, RootFetched):
            alarm: str | None = state["alarm"]
            return alarm
        return self._compared(source, scope, state, outcome, at, afresh=afresh)

    def _compared(
        self,
        source: SourceConfig,
        scope: Scope,
        state: Mapping[str, Any],
        fetched: RootFetched,
        at: Microseconds,
        *,
        afresh: bool,
    ) -> str | None:
        listing = fetched.listing
        names, has_serials = len(listing.serials), listing.has_serials
        if not names and state["root_names"]:
            raise UpstreamInvalid(
                source.name, f"its root list is empty; it had {state['root_names']:,} names"
            )
        highest = max((serial for serial in listing.serials.values() if serial is not None), default=None)
        settled = None if state["root_serial"] is None or not has_serials else state["root_serial"] - _OVERLAP
        settled = -1 if afresh and has_serials else settled
        self._due.add(source.id, self._promised_otherwise(source, listing.serials))
        diff = RootDiff(listing.serials, settled)
        unlisted: list[str] = []
        self._due.add(source.id, self._differing(source, scope, diff, unlisted))
        alarm = self._alarm(source, diff, unlisted, names)
        if afresh or not shrunk(names + len(unlisted), len(unlisted)):
            rows = ((name, None, Why.UNLISTED) for name in unlisted if scope.follows(name))
            self._due.add(source.id, rows)
        if has_serials:
            self._due.add_unless_due(source.id, self._old(source, scope, at))
        failpoint("sync.compared")
        self._progress.put(
            source.id,
            root_etag=fetched.etag if has_serials and alarm is None else None,
            root_serial=highest,
            root_names=names,
            root_bytes=fetched.size,
            compared_at=at,
        )
        if listing.refused:
            log.warning("upstream.root_names_refused", upstream=source.name, names=listing.refused)
        return alarm

    def _promised_otherwise(
        self, source: SourceConfig, serials: Mapping[str, int | None]
    ) -> list[tuple[str, int | None, str]]:
        """What could not be had with the serial that an earlier list promised, and has another one now."""
        return [
            (name, serials[name], Why.CHANGED)
            for name, serial in self._due.promised(source.id)
            if name in serials and serials[name] != serial
        ]

    def _differing(
        self, source: SourceConfig, scope: Scope, diff: RootDiff, unlisted: list[str]
    ) -> Iterable[tuple[str, int | None, str]]:
        after = ""
        while batch := self._known.by_name(source.id, after):
            after = batch[-1].name
            for name, serial, why in diff.compare(batch):
                if why is Why.UNLISTED:
                    unlisted.append(name)
                elif scope.keeps(name) if why is Why.NEW else scope.follows(name):
                    yield name, serial, why
        for name, serial, why in diff.rest():
            if scope.keeps(name):
                yield name, serial, why

    def _old(
        self, source: SourceConfig, scope: Scope, at: Microseconds
    ) -> Iterable[tuple[str, int | None, str]]:
        followed = filter(scope.follows, self._known.oldest(source.id, at - _OLD_PAGE))
        return [(name, None, Why.AGE) for name in islice(followed, _OLD_AT_ONCE)]

    def _alarm(self, source: SourceConfig, diff: RootDiff, unlisted: list[str], names: int) -> str | None:
        """What a person should look at, on record once for each sync that finds it."""
        alarm = None
        if diff.backwards:
            alarm = (
                f"the serials of {diff.backwards:,} projects went backwards, and their stored pages stay; "
                f"were they reset? then: koschey sync {source.name} --reset"
            )
        elif shrunk(names + len(unlisted), len(unlisted)):
            alarm = (
                f"{len(unlisted):,} of its projects are gone from its root list at once, which has "
                f"{names:,} names; what is stored stays, unless the page of each says the same: "
                f"koschey sync {source.name} --full"
            )
        if alarm is not None:
            log.error("upstream.root_alarm", upstream=source.name, problem=alarm)
            with self._database.transaction() as tx:
                tx.record(
                    "upstream.alarm", actor=f"upstream:{source.name}", subject=source.name, reason=alarm
                )
        return alarm
