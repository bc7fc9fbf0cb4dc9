"""The rows of recorded verdicts: what is read to judge again, and how what changed is written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, insert, select, text, update

from koschey.domain.page import Microseconds
from koschey.domain.quarantine import State
from koschey.services.known import batches
from koschey.stores.database import Transaction
from koschey.stores.lookup import DECISION_COLUMNS
from koschey.stores.models import Event, File, Project
from koschey.stores.quarantine_rows import Hold

_FILES = File.__table__
_HOLDS = Hold.__table__
_PROJECTS = Project.__table__


class FileRow(NamedTuple):
    """A file as its verdict needs it."""

    id: int
    project_id: int
    filename: str
    version: str | None
    sha256: str | None
    upload_time: int | None
    first_seen: int
    previous_look: int | None
    withdrawn_at: int | None
    checks: str | None


class ProjectRow(NamedTuple):
    """A project, and what of it concerns all of its files."""

    id: int
    name: str
    source_id: int
    state: str
    status: str
    serial: int
    decided: bool


class HoldRow(NamedTuple):
    """What is recorded of a hidden file in an index."""

    index_id: int
    file_id: int
    state: str
    rule: str
    until: int | None
    review: bool


@dataclass
class Changes:
    """What is to be written, by whom it was caused and when."""

    actor: str
    at: Microseconds
    added: list[dict[str, Any]] = field(default_factory=list)
    altered: list[dict[str, Any]] = field(default_factory=list)
    removed: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Ids of files, by index."""
    events: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    projects: set[int] = field(default_factory=set)
    states: dict[State, int] = field(default_factory=lambda: defaultdict(int))


def held_counter(index_id: int) -> str:
    """Name of the counter that says how many files an index hides."""
    return f"held:{index_id}"


def write(tx: Transaction, changes: Changes) -> None:
    """Write everything, the serial last; counters in one order, as everybody takes locks."""
    connection = tx.connection
    if changes.added:
        connection.execute(_ADD, changes.added)
    if changes.altered:
        connection.execute(_ALTER, changes.altered)
    for index_id, file_ids in changes.removed.items():
        for ids in batches(file_ids):
            among = (_HOLDS.c.index_id == index_id) & _HOLDS.c.file_id.in_(ids)
            connection.execute(delete(_HOLDS).where(among))  # type: ignore[arg-type]
    for index_id in sorted(changes.counts):
        adjust(tx, index_id, changes.counts[index_id])
    if changes.projects:
        serial = tx.next_serial()
        for ids in batches(sorted(changes.projects)):
            connection.execute(_RAISE, {"_ids": ids, "_serial": serial})
        if changes.events:
            connection.execute(_EVENTS, [event | {"serial": serial} for event in changes.events])


def adjust(tx: Transaction, index_id: int, by: int) -> None:
    """Correct the counter of what an index hides; before the serial is taken."""
    if by:
        tx.connection.execute(_ADJUST, {"name": held_counter(index_id), "by": by})


_ADD = insert(_HOLDS)  # type: ignore[arg-type]
_ALTER = (
    update(_HOLDS)  # type: ignore[arg-type]
    .where(_HOLDS.c.index_id == bindparam("_index_id"), _HOLDS.c.file_id == bindparam("_file_id"))
    .values({name: bindparam(name) for name in ("state", "rule", "until", "review")})
)
_RAISE = (
    update(_PROJECTS)  # type: ignore[arg-type]
    .where(_PROJECTS.c.id.in_(bindparam("_ids", expanding=True)))
    .values(serial=bindparam("_serial"))
)
_EVENTS = insert(Event.__table__)  # type: ignore[arg-type]
_ADJUST = text(
    "INSERT INTO counter (name, value) VALUES (:name, :by) "
    "ON CONFLICT (name) DO UPDATE SET value = counter.value + excluded.value"
)
_DECISIONS = text(f"SELECT {DECISION_COLUMNS} FROM decision WHERE name = :name ORDER BY id")  # noqa: S608 - our own names


def decisions_about(tx: Transaction, name: str) -> list[Any]:
    """Every decision about a normalised name, in order, by DECISION_COLUMNS."""
    return list(tx.connection.execute(_DECISIONS, {"name": name}))


def locked_projects(tx: Transaction, ids: Sequence[int]) -> Iterable[Any]:
    """Projects by ProjectRow, locked in the order of their ids."""
    columns = [_PROJECTS.c[name] for name in ProjectRow._fields]
    return tx.connection.execute(
        select(*columns).where(_PROJECTS.c.id.in_(ids)).order_by(_PROJECTS.c.id).with_for_update()
    )


def files_of(
    tx: Transaction, project_ids: Sequence[int], file_ids: Sequence[int] | None
) -> Iterable[FileRow]:
    """Files that are not deleted: those named, or all of the projects."""
    columns = [_FILES.c[name] for name in FileRow._fields]
    among = _FILES.c.project_id if file_ids is None else _FILES.c.id
    for ids in batches(project_ids if file_ids is None else sorted(file_ids)):
        kept = select(*columns).where(among.in_(ids), _FILES.c.deleted_at.is_(None))
        for row in tx.connection.execute(kept):
            yield FileRow._make(row)


def recorded(
    tx: Transaction, project_ids: Sequence[int], file_ids: Sequence[int] | None
) -> dict[tuple[int, int], HoldRow]:
    """What is recorded of those files, by ids of index and file."""
    columns = [_HOLDS.c[name] for name in HoldRow._fields]
    among = _HOLDS.c.project_id if file_ids is None else _HOLDS.c.file_id
    found = {}
    for ids in batches(project_ids if file_ids is None else sorted(file_ids)):
        for row in tx.connection.execute(select(*columns).where(among.in_(ids))):
            found[row[0], row[1]] = HoldRow._make(row)
    return found
