"""How upstreams stand, for people: the last look at each, how far it is in step, what is kept of it."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import func, select

from koschey.domain.filters import Filters, Mode
from koschey.domain.page import Microseconds
from koschey.errors import NotFound
from koschey.services.indexes import Indexes
from koschey.services.sync_schedule import runs
from koschey.stores.database import Database, now
from koschey.stores.locks import Locks
from koschey.stores.models import Project, Source
from koschey.stores.storage_rows import StorageTally
from koschey.stores.sync_rows import SyncState

#: So many syncs in a row that did not come to their end, and an hour, make an upstream late.
_MISSED = 2
_HOUR: Microseconds = 3_600_000_000


class UpstreamStanding(msgspec.Struct, frozen=True, kw_only=True):
    """An upstream; no secret is in it."""

    name: str
    url: str
    indexes: list[str]
    username: str | None
    password: bool
    """Whether one is set."""
    token: bool
    ca_file: str | None
    proxy: str | None
    internal: bool
    refresh_seconds: float
    paused: str | None
    """Why a person has it left alone; None: it may be asked."""
    looked_at: Microseconds | None
    """The last successful look at any of its pages."""
    mode: str
    filters: Filters
    sync_seconds: float
    requests_per_second: float | None
    connections: int
    in_step_at: Microseconds | None
    """Begin of the last sync that left nothing undone."""
    ended_at: Microseconds | None
    outcome: str | None
    problem: str | None
    late: bool
    """Whether it was in step so long ago that syncs by the schedule must have failed, or none was begun."""
    running: bool
    """Whether a sync of it runs now."""
    alarm: str | None
    paused_until: Microseconds | None
    """It asked to be left alone for so long."""
    requests: int
    unchanged: int
    bytes: int
    failures: int

    @property
    def needs_a_look(self) -> bool:
        """Whether a person should look at it."""
        left = self.outcome in ("failed", "partial") and not self.running
        waits = self.paused is not None or self.paused_until is not None
        return self.alarm is not None or left or waits or self.late


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """What goes with an upstream that is removed, as last counted."""

    files: int
    bytes: int
    stored: int
    """Of the files, those that are stored here."""


class Upstreams:
    """Answers about upstreams; ``koschey.services.indexes`` changes them."""

    def __init__(self, database: Database, locks: Locks, indexes: Indexes) -> None:
        self._database = database
        self._locks = locks
        self._indexes = indexes

    def list(self) -> list[UpstreamStanding]:
        """All of them by name."""
        described = self._indexes.describe_upstreams()
        query = select(Source, SyncState, _LOOKED_AT).outerjoin(SyncState, SyncState.source_id == Source.id)
        with self._database.reading() as session:
            rows = {row.name: (row, state, looked_at) for row, state, looked_at in session.execute(query)}
        return [
            _standing(self._locks, values, *rows[values["name"]])
            for values in described
            if values["name"] in rows
        ]

    def get(self, name: str) -> UpstreamStanding:
        """One of them. Raises: NotFound."""
        found = next((upstream for upstream in self.list() if upstream.name == name), None)
        if found is None:
            raise NotFound("upstream", name)
        return found

    def loss(self, name: str) -> Loss:
        """What its removal would lose: counted by the last look at the storage, not now."""
        counted = (
            select(StorageTally.state, func.sum(StorageTally.files), func.sum(StorageTally.bytes))
            .join(Source, Source.id == StorageTally.source_id)
            .where(Source.name == name)
            .group_by(StorageTally.state)
        )
        with self._database.reading() as session:
            rows = session.execute(counted).all()
        return Loss(
            files=sum(int(files) for _, files, _ in rows),
            bytes=sum(int(size or 0) for _, _, size in rows),
            stored=sum(int(files) for state, files, _ in rows if state != "listed"),
        )


_LOOKED_AT = (
    select(Project.looked_at)
    .where(Project.source_id == Source.id, Project.looked_at.is_not(None))
    .order_by(Project.looked_at.desc())
    .limit(1)
    .correlate(Source)
    .scalar_subquery()
)


def _standing(
    locks: Locks,
    values: dict[str, Any],
    row: Source,
    state: SyncState | None,
    looked_at: Microseconds | None,
) -> UpstreamStanding:
    paused = None if state is None else state.paused_until
    return UpstreamStanding(
        **values,
        looked_at=looked_at or None,  # 0 is a look that was forgotten
        mode=row.mode,
        filters=msgspec.json.decode(row.filters, type=Filters),
        sync_seconds=row.sync_seconds,
        requests_per_second=row.requests_per_second,
        connections=row.connections,
        in_step_at=None if state is None else state.in_step_at,
        ended_at=None if state is None else state.ended_at,
        outcome=None if state is None else state.outcome,
        problem=None if state is None else state.problem,
        late=_late(row, state),
        running=state is not None and runs(locks, row.id, state.phase, state.seen_at),
        alarm=None if state is None else state.alarm,
        paused_until=paused if paused is not None and paused > now() else None,
        requests=0 if state is None else state.requests,
        unchanged=0 if state is None else state.unchanged,
        bytes=0 if state is None else state.bytes,
        failures=0 if state is None else state.failures,
    )


def _late(row: Source, state: SyncState | None) -> bool:
    """Of whole sets alone: what was asked for is looked at by those who ask as well."""
    if state is None or state.in_step_at is None or row.mode not in (Mode.INDEX, Mode.FULL):
        return False
    return row.sync_seconds > 0 and now() - state.in_step_at > _MISSED * row.sync_seconds * 1e6 + _HOUR
