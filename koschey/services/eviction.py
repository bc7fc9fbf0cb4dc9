"""Giving up the bytes of mirrored files that nobody uses and that can be fetched again; their rows stay.

A file is evicted only while all of this holds: an upstream lists it whose files are not to be kept in full,
and its page was looked at within a day; its digest is known, so that what comes back is the same; it is
visible wherever it is known, with its checks done; nobody approved it; its upstream never offered other bytes
under its name; no other file shares its bytes. So nothing that is private, held, rejected, withdrawn or
decided about is ever given up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import structlog
from sqlalchemy import Connection, bindparam, text

from koschey.domain.names import NormalizedName
from koschey.domain.policy import DAY
from koschey.errors import Busy
from koschey.services.orphans import Orphans
from koschey.services.tallies import Tallies
from koschey.stores.database import Database, now
from koschey.stores.locks import Locks

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_AT_ONCE = 200
#: Days without a download, from which files are given up when there is too little room: the longest first.
_STEPS = (365, 180, 90, 60, 30, 14, 7, 3, 1)
#: Days; what is unused for longer is all the same.
_OLDEST = 3650
_EXAMPLES = 10
ACTOR = "koschey"
#: Counters of what was ever evicted.
FILES, BYTES = "evicted", "evicted:bytes"


class Pages(Protocol):
    """Who looks at upstreams' pages; a failure is logged there and changes nothing."""

    def refresh(self, source_id: int, name: NormalizedName) -> None:
        """Look at the page of a name in a source."""


@dataclass(frozen=True)
class Rules:
    """What may be given up; 0: no such rule.

    ``unused_days``: files that nobody downloaded for so many days. ``max_bytes``: when stored mirrored files
    take more, those unused for longest, until they do not.
    """

    unused_days: float = 0.0
    max_bytes: int = 0


@dataclass
class Evicted:
    """What was given up, or would be."""

    files: int = 0
    bytes: int = 0
    sources: dict[str, list[int]] = field(default_factory=dict)
    """Files and bytes by the source's name."""
    examples: list[str] = field(default_factory=list)
    unused_days: float = 0.0
    """The shortest time without a download that the rules came to."""
    short: int = 0
    """Bytes that are still too many, because nothing else may be given up."""

    def add(self, file: _File) -> None:
        self.files += 1
        self.bytes += file.size
        counts = self.sources.setdefault(file.source, [0, 0])
        counts[0] += 1
        counts[1] += file.size
        if len(self.examples) < _EXAMPLES:
            self.examples.append(file.filename)


class _File(NamedTuple):
    id: int
    project_id: int
    source_id: int
    source: str
    name: str
    filename: str
    sha256: str
    size: int
    looked_at: int | None


class _Span(NamedTuple):
    """Files unused for at least ``days``, and for less than ``below``."""

    days: float
    below: float = math.inf


class Eviction:
    """Evicts by rules, or says what they would come to."""

    def __init__(
        self,
        database: Database,
        locks: Locks,
        orphans: Orphans,
        tallies: Tallies,
        pages: Pages,
        rules: Rules,
    ) -> None:
        self._database = database
        self._locks = locks
        self._orphans = orphans
        self._tallies = tallies
        self._pages = pages
        self.rules = rules

    def preview(self, rules: Rules) -> Evicted:
        """What the rules would give up now. Upstreams are not asked, so that less may go than this says."""
        return self._run(rules, actor=None)

    def evict(self, rules: Rules | None = None, *, actor: str = ACTOR) -> Evicted:
        """Give up what the rules say; those of the settings by default.

        Raises:
            Busy: another process does so. StoreUnavailable: the database failed; what was done stays.
        """
        with self._locks.hold("sweep:evict", 0.0):
            self._tallies.count()
            evicted = self._run(rules or self.rules, actor=actor)
        if evicted.files:
            log.info("files.evicted", files=evicted.files, bytes=evicted.bytes)
        return evicted

    def evict_periodically(self) -> None:
        """The same as a job: nothing without a rule, and nothing while another process does it."""
        if self.rules != Rules():
            with suppress(Busy):
                self.evict()

    def _run(self, rules: Rules, *, actor: str | None) -> Evicted:
        evicted = Evicted(unused_days=rules.unused_days)
        wanted = max(0, self._tallies.mirrored_bytes() - rules.max_bytes) if rules.max_bytes else 0
        if rules.unused_days:
            self._unused(_Span(rules.unused_days), None, evicted, actor)
        longer = rules.unused_days or math.inf
        for days in _STEPS:
            if evicted.bytes >= wanted:
                break
            if days < longer:
                for span in self._in_turn(_Span(days, longer), wanted, evicted):
                    evicted.unused_days = span.days
                    self._unused(span, wanted, evicted, actor)
                longer = days
        evicted.short = max(0, wanted - evicted.bytes)
        return evicted

    def _in_turn(self, span: _Span, wanted: int, evicted: Evicted) -> Iterator[_Span]:
        """A span in parts, what was unused for longest first, and none that is not needed.

        A span of which not all has to go is halved, down to days.
        """
        left = wanted - evicted.bytes
        below = min(span.below, _OLDEST)
        if left <= 0:
            return
        if below - span.days <= 1 or self._size(span) <= left:
            yield span
            return
        middle = (span.days + below) // 2
        yield from self._in_turn(_Span(middle, span.below), wanted, evicted)
        yield from self._in_turn(_Span(span.days, middle), wanted, evicted)

    def _size(self, span: _Span) -> int:
        """How many bytes may be given up of it."""
        with self._database.reading() as session:
            return int(session.scalar(_SIZE, _times(span)))

    def _unused(self, span: _Span, wanted: int | None, evicted: Evicted, actor: str | None) -> None:
        for batch in self._candidates(span):
            chosen: list[_File] = []
            left = None if wanted is None else wanted - evicted.bytes
            for file in batch:
                if left is not None and sum(f.size for f in chosen) >= left:
                    break
                chosen.append(file)
            if actor is not None:
                chosen = self._given_up(chosen, span, actor)
            for file in chosen:
                evicted.add(file)
            if wanted is not None and evicted.bytes >= wanted:
                return

    def _candidates(self, span: _Span) -> Iterator[list[_File]]:
        """Batches of files that may be given up, in the order of their digests."""
        after = ""
        while True:
            with self._database.reading() as session:
                page = _asked(session.connection(), _NEXT, span, after=after, limit=_AT_ONCE)
                last = session.scalar(_LAST, {"after": after, "limit": _AT_ONCE - 1})
            if page:
                yield page
            if last is None:
                return
            after = last

    def _given_up(self, files: Sequence[_File], span: _Span, actor: str) -> list[_File]:
        """Evict those of the files for which everything still holds once their pages were looked at."""
        yesterday = now() - DAY
        stale = {(f.source_id, f.name) for f in files if (f.looked_at or 0) < yesterday}
        for source_id, name in sorted(stale):
            self._pages.refresh(source_id, NormalizedName(name))
        ids = [file.id for file in files]
        if not ids:
            return []
        with self._database.transaction() as tx:
            for project_id in sorted({file.project_id for file in files}):
                tx.lock_project(project_id)
            still = [
                file
                for file in _asked(tx.connection, _AMONG, span, ids=ids)
                if (file.looked_at or 0) >= yesterday
            ]
            if not still:
                return []
            tx.connection.execute(_GIVE_UP, {"ids": [file.id for file in still]})
            for file in still:
                tx.record(
                    "file.evicted",
                    actor=actor,
                    project=file.name,
                    subject=file.filename,
                    before="stored",
                    after="fetched again when it is asked for",
                    reason=f"nobody downloaded it for {span.days:g} days",
                )
            self._orphans.mark(tx.connection, (file.sha256 for file in still))
            for name, more in ((FILES, len(still)), (BYTES, sum(file.size for file in still))):
                tx.connection.execute(_COUNT, {"name": name, "more": more})
        return still


def _asked(connection: Connection, statement: Any, span: _Span, **given: Any) -> list[_File]:
    return [_File._make(row) for row in connection.execute(statement, _times(span) | given)]


def _times(span: _Span) -> dict[str, Any]:
    """The parameters of ``_MAY_GO``."""
    at = now()
    values: dict[str, Any] = {"before": at - round(span.days * DAY), "longer": -1}
    if span.below != math.inf:
        values["longer"] = at - round(span.below * DAY)
    return values | {"day": values["before"] // DAY, "longer_day": values["longer"] // DAY}


_MAY_GO = """
SELECT f.id, p.id, p.source_id, s.name, p.name, f.filename, f.sha256, f.size, p.looked_at
FROM file f JOIN project p ON p.id = f.project_id JOIN source s ON s.id = p.source_id
WHERE f.stored_at IS NOT NULL AND f.stored_at <= :before AND f.sha256 IS NOT NULL AND f.size IS NOT NULL
  AND f.url IS NOT NULL AND f.withdrawn_at IS NULL AND f.due_at IS NULL
  AND s.kind = 'upstream' AND s.mode <> 'full'
  AND p.state = 'present' AND p.status <> 'quarantined' AND p.missing_since IS NULL
  AND NOT EXISTS (SELECT 1 FROM hold h WHERE h.file_id = f.id)
  AND NOT EXISTS (SELECT 1 FROM download d WHERE d.file_id = f.id AND d.day >= :day)
  AND (f.stored_at > :longer
       OR EXISTS (SELECT 1 FROM download d WHERE d.file_id = f.id AND d.day >= :longer_day))
  AND NOT EXISTS (SELECT 1 FROM file o WHERE o.sha256 = f.sha256 AND o.stored_at IS NOT NULL AND o.id <> f.id)
  AND NOT EXISTS (SELECT 1 FROM decision d WHERE d.name = p.name AND d.kind = 'approve'
                  AND (d.filename IS NULL OR d.filename = f.filename))
  AND NOT EXISTS (SELECT 1 FROM event e WHERE e.project = p.name AND e.action = 'file.bytes_changed'
                  AND e.subject = f.filename)
"""
# By the index of stored files. What else the batch holds is passed over: the next one begins behind it.
_NEXT = text(f"""{_MAY_GO}
  AND f.sha256 > :after AND f.sha256 <= COALESCE((
    SELECT sha256 FROM file WHERE stored_at IS NOT NULL AND sha256 > :after
    ORDER BY sha256 LIMIT 1 OFFSET :limit - 1), 'g')
ORDER BY f.sha256
""")  # noqa: S608 - our own words
_LAST = text(
    "SELECT sha256 FROM file WHERE stored_at IS NOT NULL AND sha256 > :after "
    "ORDER BY sha256 LIMIT 1 OFFSET :limit"
)
_SIZE = text(f"SELECT COALESCE(SUM(size), 0) FROM ({_MAY_GO}) AS may_go")  # noqa: S608 - our own words
_AMONG = text(f"{_MAY_GO} AND f.id IN :ids ORDER BY f.id").bindparams(bindparam("ids", expanding=True))
_GIVE_UP = text("UPDATE file SET stored_at = NULL WHERE id IN :ids").bindparams(
    bindparam("ids", expanding=True)
)
_COUNT = text(
    "INSERT INTO counter (name, value) VALUES (:name, :more) "
    "ON CONFLICT (name) DO UPDATE SET value = counter.value + excluded.value"
)
