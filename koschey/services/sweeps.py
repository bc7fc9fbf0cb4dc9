"""What is done from time to time: every lost job and every passed moment is found again in the database.

A sweep keeps nothing in memory that matters: killed anywhere, the next one goes on. Each is done by one
process at a time; another one that is told to do the same leaves it at that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import structlog
from sqlalchemy import text

from koschey.domain.names import NormalizedName
from koschey.domain.policy import DAY
from koschey.errors import Busy
from koschey.services.holds import Holds
from koschey.services.lapses import settle_lapsed
from koschey.services.settling import ACTOR, Settling
from koschey.stores.database import Database, now
from koschey.stores.locks import Locks

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Of one transaction of the expiry sweep.
_FILES_AT_ONCE = 500
_PROJECTS_AT_ONCE = 200
#: Seconds after which a sweep leaves the rest to the next one.
_LONGEST_RUN = 45.0
#: A sync without a sign of life for so long (microseconds) may be dead: what it was to store waits no more.
_SYNC_ALIVE = 60_000_000
#: Projects (by id) that one look for stale pages goes through.
_WINDOW = 5_000
#: How long after its last download a project's page is kept fresh.
_USED_DAYS = 30
#: Name of the counter that says how far (project id) the look for stale pages has come.
_CURSOR = "refresh_stale"


class Pages(Protocol):
    """Who looks at upstreams' pages; a failure is logged there and changes nothing."""

    def refresh(self, source_id: int, name: NormalizedName) -> None:
        """Look at the page of a name in a source."""

    def is_out(self, source_id: int, name: NormalizedName) -> bool:
        """Whether a look would fail: the page, or several of its upstream, failed a moment ago."""


class Sweeps:
    """The sweeps. ``submit`` hands a job over: the task's name and its arguments."""

    def __init__(
        self,
        database: Database,
        locks: Locks,
        holds: Holds,
        settling: Settling,
        pages: Pages,
        submit: Callable[[str, int, int], None],
    ) -> None:
        self._database = database
        self._locks = locks
        self._holds = holds
        self._settling = settling
        self._pages = pages
        self._submit = submit

    def release_due(self, limit: int = 100_000) -> None:
        """Record what became of holds that have ended, of ``limit`` files at the most, and of decisions.

        Verdicts need none of this: a file is visible from the moment on at which its hold ends.

        Raises:
            StoreUnavailable: the database failed; what was recorded before stays.
        """
        with suppress(Busy), self._locks.hold("sweep:release_due", 0.0):
            settle_lapsed(self._database, self._holds)
            done, last = 0, frozenset[int]()
            while done < limit and (batch := self._release(last)):
                done, last = done + len(batch), batch
            if done:
                log.info("holds.settled", files=done)

    def derive_work(self, limit: int = 200) -> None:
        """Submit the files that are due to be stored and checked, ``limit`` at the most, the oldest first.

        Raises:
            StoreUnavailable: the database failed.
        """
        with self._database.reading() as session:
            at = now()
            rows = session.execute(_DUE_FILES, {"now": at, "alive": at - _SYNC_ALIVE, "limit": limit}).all()
        for file_id, attempts in rows:
            self._submit("check_file", file_id, attempts)

    def settle_policies(self) -> None:
        """Bring the records of indexes whose policy changed in step, and mark what is to be checked now.

        Raises:
            StoreUnavailable: the database failed; what was recorded before stays.
        """
        ends = time.monotonic() + _LONGEST_RUN
        with suppress(Busy), self._locks.hold("sweep:settle_policies", 0.0):
            while time.monotonic() < ends and self._settling.step():
                pass

    def refresh_stale(self, limit: int = 100) -> None:
        """Look at old pages of projects that are held or in use, although nobody asks for them.

        So withdrawals and new releases are seen. One run goes through a part of all projects, and the next
        one goes on behind it.

        Raises:
            StoreUnavailable: the database failed.
        """
        ends = time.monotonic() + _LONGEST_RUN
        with suppress(Busy), self._locks.hold("sweep:refresh_stale", 0.0):
            begin, rows, reached = self._stale_pages(limit)
            for place, (_, source_id, name) in enumerate(rows):
                if time.monotonic() > ends:
                    reached = rows[place - 1][0]
                    break
                # Of an upstream that is out some pages find out whether it is back; others come round again.
                if not self._pages.is_out(source_id, NormalizedName(name)):
                    self._pages.refresh(source_id, NormalizedName(name))
            if reached != begin:
                with self._database.transaction() as tx:
                    tx.connection.execute(_REMEMBER, {"name": _CURSOR, "value": reached})

    def _release(self, last: frozenset[int]) -> frozenset[int]:
        """Settle one batch of files whose recorded hold has ended; returns their ids."""
        with self._database.reading() as session:
            rows = session.execute(_DUE_HOLDS, {"now": now(), "limit": _FILES_AT_ONCE}).all()
        projects: set[int] = set()
        files: set[int] = set()
        for file_id, project_id in rows:
            if project_id in projects or len(projects) < _PROJECTS_AT_ONCE:
                projects.add(project_id)
                files.add(file_id)
        if files and files == last:  # settling moves ``until`` on; where it did not, trying again is no help
            log.error("holds.stuck", files=sorted(files)[:10])
            return frozenset()
        if files:
            with self._database.transaction() as tx:
                self._holds.settle(tx, sorted(projects), actor=ACTOR, at=now(), file_ids=sorted(files))
        return frozenset(files)

    def _stale_pages(self, limit: int) -> tuple[int, Sequence[Any], int]:
        """Where this run begins, (project, source, name) of stale pages, and where the next one begins."""
        at = now()
        with self._database.reading() as session:
            begin = session.execute(_REACHED, {"name": _CURSOR}).scalar() or 0
            highest = session.execute(_HIGHEST).scalar() or 0
            window = {
                "after": begin,
                "upto": begin + _WINDOW,
                "now": at,
                "day": at // DAY - _USED_DAYS,
                "limit": limit,
            }
            rows = session.execute(_STALE, window).all()
        if len(rows) == limit:
            return begin, rows, rows[-1][0]
        return begin, rows, 0 if begin + _WINDOW >= highest else begin + _WINDOW


_DUE_HOLDS = text(
    "SELECT file_id, project_id FROM hold WHERE until IS NOT NULL AND until <= :now "
    "ORDER BY until LIMIT :limit"
)
#: What a sync that runs is about to store is left to it: both would fetch the file.
_DUE_FILES = text(
    "SELECT f.id, f.attempts FROM file f WHERE f.due_at IS NOT NULL AND f.due_at <= :now AND NOT EXISTS ("
    "SELECT 1 FROM sync_file s JOIN sync_state t ON t.source_id = s.source_id WHERE s.file_id = f.id "
    "AND s.attempts = 0 AND t.phase IS NOT NULL AND t.seen_at > :alive) ORDER BY f.due_at LIMIT :limit"
)
_REACHED = text("SELECT value FROM counter WHERE name = :name")
_REMEMBER = text(
    "INSERT INTO counter (name, value) VALUES (:name, :value) "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
_HIGHEST = text("SELECT max(id) FROM project")
_STALE = text(
    "SELECT p.id, p.source_id, p.name FROM project p JOIN source s ON s.id = p.source_id "
    "WHERE p.id > :after AND p.id <= :upto AND s.kind = 'upstream' AND p.state = 'present' "
    "AND p.looked_at < :now - s.refresh_seconds * 1000000 "
    "AND (EXISTS (SELECT 1 FROM hold h WHERE h.project_id = p.id) OR EXISTS ("
    "SELECT 1 FROM file f JOIN download d ON d.file_id = f.id WHERE f.project_id = p.id AND d.day >= :day)) "
    "ORDER BY p.id LIMIT :limit"
)
