"""What an upstream answered about projects, brought into the database: pages, 304s and 404s alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import bindparam, select

from koschey.domain.names import NormalizedName
from koschey.domain.page import Microseconds
from koschey.services.configuration import Configuration, SourceConfig
from koschey.services.project_rows import Known
from koschey.services.recording import Look, Recorder
from koschey.services.writes import NewFiles, Writes
from koschey.stores.database import Transaction, now
from koschey.stores.models import Project, ProjectState
from koschey.upstream.client import PageFetched, PageMissing, PageOutcome

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: A 404 for a project that was there counts once it is confirmed by a second look at least so much later.
CONFIRM_SECONDS = 10.0


@dataclass(frozen=True)
class Seen:
    """An answer about one project. ``at``: when it was asked for, in microseconds."""

    name: NormalizedName
    outcome: PageOutcome
    at: Microseconds
    serial: int | None = None
    """What the upstream's root list says of it."""
    unlisted: bool = False
    """The root list has the name no more: that and a 404 confirm each other."""


@dataclass(frozen=True)
class Recorded:
    """How each look ended, and whether files came that are to be stored and checked."""

    looks: Mapping[str, Look]
    work_came: bool
    ids: Mapping[str, int]
    """Of the projects that are there now."""


def record(
    tx: Transaction,
    source: SourceConfig,
    answers: Sequence[Seen],
    judging: NewFiles,
    configuration: Configuration,
) -> Recorded:
    """Record answers about different projects of one upstream. The serial is taken: nothing may follow.

    Names that became the company's own while they were asked for are left out. Whoever uploads or claims
    one holds the name, too, so one of the two sees the other.
    """
    names = [look.name for look in answers]
    tx.lock_names(names)
    owned = _owned(tx, source, names, configuration)
    seen = [look for look in answers if look.name not in owned]
    writes = Writes(tx, source, judging)
    known = writes.known(look.name for look in seen)
    fetched = (known[look.name] for look in seen if look.name in known and _has_page(look.outcome))
    stored = writes.stored_files(project for project in fetched if project.state != ProjectState.ABSENT)
    looks: dict[str, Look] = {look.name: _one(writes, look, known, stored) for look in seen}
    looks.update(dict.fromkeys(owned, Look.OWNED))
    writes.flush(max(look.at for look in answers))
    return Recorded(looks, writes.work_came, {name: project.id for name, project in known.items()})


def _owned(
    tx: Transaction, source: SourceConfig, names: Sequence[str], configuration: Configuration
) -> list[str]:
    """The names that the upstream must not be asked for, by now."""
    having: dict[str, list[int]] = defaultdict(list)
    for name, source_id in tx.connection.execute(_HAVING, {"names": names}):
        having[name].append(source_id)
    session = tx.session
    number = configuration.number(session)  # asked once for all of them

    def may_ask(name: str) -> bool:
        return configuration.may_ask(source.id, name, having[name], number=number, session=session)

    return [name for name in names if not may_ask(name)]


_HAVING = select(Project.__table__.c.name, Project.__table__.c.source_id).where(
    Project.__table__.c.name.in_(bindparam("names", expanding=True))
)


def _has_page(outcome: PageOutcome) -> bool:
    return isinstance(outcome, PageFetched)


def _one(
    writes: Writes,
    look: Seen,
    known: dict[str, Known],
    stored: Mapping[int, Mapping[str, dict[str, Any]]],
) -> Look:
    project = known.get(look.name)
    if project is not None and look.at <= (project.looked_at or 0) <= now():
        return Look.SHARED  # a look that began later was recorded before
    if isinstance(look.outcome, PageMissing):
        return _missing(writes, look, project)
    if not isinstance(look.outcome, PageFetched):
        return _unchanged(writes, look, project)
    serial = look.outcome.page.serial
    if project is not None and serial is not None and serial < (project.upstream_serial or 0):
        return Look.STALE
    files = {} if project is None else stored.get(project.id, {})
    recorder = Recorder(writes, look.name, project, files, look.at, look.serial)
    outcome = recorder.record(look.outcome)
    if recorder.project is not None:
        known[look.name] = recorder.project
    return outcome


def _unchanged(writes: Writes, look: Seen, project: Known | None) -> Look:
    if project is None:
        return Look.SHARED  # it was forgotten while the upstream was asked
    values: dict[str, Any] = {"looked_at": look.at, "missing_since": None}
    if look.serial is not None:
        values["upstream_serial"] = max(look.serial, project.upstream_serial or 0)
    writes.set_project(project, **values)
    return Look.UNCHANGED


def _missing(writes: Writes, look: Seen, project: Known | None) -> Look:
    if project is None:
        writes.new_project(
            look.name,
            state=ProjectState.ABSENT,
            status="active",
            status_reason=None,
            serial=0,
            first_seen=look.at,
            looked_at=look.at,
        )
        return Look.ABSENT
    if project.state != ProjectState.PRESENT:
        writes.set_project(project, looked_at=look.at)
        return Look.ABSENT
    since = project.missing_since
    if not look.unlisted and (since is None or look.at - since < CONFIRM_SECONDS * 1e6):
        # One 404 for a project that was there may be a cache's or a proxy's mistake.
        writes.set_project(project, looked_at=look.at, missing_since=since or look.at)
        log.warning(
            "upstream.project_missing", upstream=writes.source.name, project=look.name, confirmed=False
        )
        return Look.SUSPICIOUS
    gone = {"state": ProjectState.DELETED, "looked_at": look.at, "etag": None, "upstream_serial": None}
    writes.set_project(project, **gone)
    writes.tx.record(
        "project.deleted_upstream",
        actor=writes.actor,
        project=look.name,
        before="present",
        after="deleted",
        reason="the root list and its page say so" if look.unlisted else "its page is gone (404, confirmed)",
    )
    writes.settle(project)
    writes.change(project)
    log.warning("upstream.project_missing", upstream=writes.source.name, project=look.name, confirmed=True)
    return Look.CHANGED
