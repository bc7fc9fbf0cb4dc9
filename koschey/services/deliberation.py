"""Deciding about several versions at once: what it would do, said before; and what became of each, after."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from sqlalchemy import func, select

from koschey.domain.names import normalize
from koschey.domain.page import Microseconds
from koschey.domain.policy import DAY
from koschey.domain.quarantine import Rule
from koschey.errors import Conflict, KoscheyError, RequestInvalid, StoreUnavailable
from koschey.services.configuration import Configuration
from koschey.services.deciding import checked_reason
from koschey.services.known import batches, decisions_about, files_of, judge, owners, projects_named
from koschey.services.sightings import Sighted
from koschey.stores.database import Database, now
from koschey.stores.models import Download, File

if TYPE_CHECKING:
    from koschey.services.review import Review

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

RECENT_DAYS = 30


class Verb(StrEnum):
    """What can be done about a version of the queue."""

    APPROVE = "approve"
    REJECT = "reject"
    EXTEND = "extend"
    RECHECK = "recheck"


class Case(msgspec.Struct, frozen=True):
    """A version to decide about, as whoever decides saw it."""

    project: str
    version: str
    """Empty: the files of the project that state none."""
    seen: str | None = None
    """Its sighting (``koschey.services.sightings``)."""


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision would do to what is visible now, counted before it is taken."""

    versions: int
    files: int
    """Those whose visibility changes; for a check those that are checked."""
    indexes: tuple[str, ...]
    """In which it changes."""
    hidden: int
    """Files that are hidden now, whatever changes."""
    downloads: int = 0
    """Of the files that vanish, in the last 30 days."""
    obstacles: tuple[str, ...] = ()
    """Why some of it will be refused."""


class Result(msgspec.Struct, frozen=True):
    """What became of one case. ``state``: ``done``, ``conflict`` (somebody else was there first) or
    ``refused``; ``words`` say more."""

    case: Case
    state: str
    words: str


class Deliberation:
    """Says what a decision about versions would do, and carries it out, one transaction for each."""

    def __init__(self, database: Database, configuration: Configuration, review: Review) -> None:
        self._database = database
        self._configuration = configuration
        self._review = review

    def effect(self, verb: Verb, cases: Sequence[Case], *, index: str | None = None) -> Effect:
        """What it would do. Raises: NotFound: no such index."""
        sighted = self._sighted(cases, index)
        if verb is Verb.APPROVE:
            kept = (Rule.REJECT, Rule.WITHDRAWN)
            changes = [s for s in sighted if not s.verdict.visible and s.verdict.rule not in kept]
        elif verb is Verb.RECHECK:
            changes = sighted
        else:
            changes = [seen for seen in sighted if seen.verdict.visible]
        stands = {seen.file.filename: seen for seen in sighted if seen.verdict.rule is Rule.REJECT}
        obstacles = (
            [f"{len(stands)} of the files {'is' if len(stands) == 1 else 'are'} rejected: revert that first"]
            if verb is Verb.APPROVE and stands
            else []
        )
        vanish = verb in (Verb.REJECT, Verb.EXTEND)
        return Effect(
            versions=len({(seen.file.project_id, seen.file.version) for seen in changes}),
            files=len({seen.file.id for seen in changes}),
            indexes=tuple(sorted({seen.index_name for seen in changes})),
            hidden=len({seen.file.id for seen in sighted if not seen.verdict.visible}),
            downloads=self._downloads([seen.file.id for seen in changes]) if vanish else 0,
            obstacles=tuple(obstacles),
        )

    def carry_out(
        self,
        verb: Verb,
        cases: Sequence[Case],
        *,
        index: str | None = None,
        reason: str,
        actor: str,
        until: Microseconds | None = None,
        opened: Microseconds | None = None,
    ) -> list[Result]:
        """Do it, case by case: what is refused of one stops no other.

        Args:
            until: when an extended hold ends; None: when somebody decides.
            opened: when the form for it was loaded, so that one that is sent twice checks once.

        Raises:
            RequestInvalid: the reason or the moment is none; then nothing is done. StoreUnavailable.
        """
        results = []
        for case in cases:
            try:
                said: dict[str, Any] = {"index": index, "reason": reason, "actor": actor}
                words = self._one(verb, case, until=until, opened=opened, **said)
                results.append(Result(case, "done", words))
            except Conflict as error:
                results.append(Result(case, "conflict", str(error)))
            except (StoreUnavailable, RequestInvalid):
                raise
            except KoscheyError as error:
                results.append(Result(case, "refused", str(error)))
        return results

    def _one(self, verb: Verb, case: Case, **said: Any) -> str:
        if not case.version:
            for filename in self._versionless(case.project):
                self._decide(verb, case.project, None, filename, None, **said)
            return ""
        return self._decide(verb, case.project, case.version, None, case.seen, **said)

    def _decide(
        self,
        verb: Verb,
        project: str,
        version: str | None,
        filename: str | None,
        seen: str | None,
        *,
        index: str | None,
        reason: str,
        actor: str,
        until: Microseconds | None,
        opened: Microseconds | None,
    ) -> str:
        about = (project, version, filename)
        said: dict[str, Any] = {"index": index, "reason": reason, "actor": actor, "seen": seen}
        if verb is Verb.APPROVE:
            outcome = self._review.approve(*about, **said)
        elif verb is Verb.REJECT:
            outcome = self._review.reject(*about, **said)
        elif verb is Verb.EXTEND:
            outcome = self._review.extend(*about, until=until, **said)
        else:
            count = self._review.recheck(*about, actor=actor, reason=checked_reason(reason), opened=opened)
            return f"{count} files are checked again"
        return "; ".join(outcome.notes)

    def _versionless(self, name: str) -> list[str]:
        with self._database.reading() as session:
            projects = projects_named(session.connection(), [normalize(name)])
            found = files_of(session.connection(), [p.id for p in projects], File.version.is_(None))
        return [file.filename for files in found.values() for file in files]

    def _sighted(self, cases: Sequence[Case], index: str | None) -> list[Sighted]:
        """The files of the cases with the verdicts on them in each index that counts."""
        config = self._configuration
        indexes = config.indexes() if index is None else [config.index(index)]
        wanted = defaultdict(set)
        for case in cases:
            wanted[case.project].add(case.version or None)
        at, found = now(), []
        versions = sorted({case.version for case in cases})
        with self._database.reading() as session:
            connection = session.connection()
            projects = projects_named(connection, sorted(wanted))
            spelled = File.version.in_(versions) | File.version.is_(None)
            files = files_of(connection, [project.id for project in projects], spelled)
            decisions = decisions_about(connection, {p.name for p in projects if p.decided})
        for one in indexes:
            for name, names in wanted.items():
                parts = owners(one, [p for p in projects if p.name == name])
                quarantined = bool(parts) and parts[0].status == "quarantined"
                for project in parts:
                    judging = judge(one, project, decisions, quarantined=quarantined)
                    found += [
                        Sighted(one.name, file, judging.verdict(file, at))
                        for file in files[project.id]
                        if file.version in names
                    ]
        return found

    def _downloads(self, file_ids: Sequence[int]) -> int:
        since = now() // DAY - RECENT_DAYS
        total = 0
        with self._database.reading() as session:
            for batch in batches(sorted(set(file_ids))):
                query = select(func.coalesce(func.sum(Download.count), 0))
                query = query.where(Download.file_id.in_(batch), Download.day >= since)
                total += int(session.scalar(query) or 0)
        return total
