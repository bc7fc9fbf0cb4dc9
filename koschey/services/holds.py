"""What is recorded of verdicts: the queue of each index, one event for each change, and the serial.

A verdict is computed whenever it is asked for. The rows in ``hold`` are what it came to when something was
last done about the file; ``settle`` brings them in step, in the transaction that changed what verdicts
hang on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, insert, select, text, update

from koschey.domain.decisions import canonical
from koschey.domain.explanation import sentence
from koschey.domain.page import Microseconds
from koschey.domain.quarantine import State, Verdict, needs_review
from koschey.services.configuration import Configuration, IndexConfig
from koschey.services.gate import Judge, in_force, withdrawal
from koschey.stores.database import Transaction
from koschey.stores.lookup import DECISION_COLUMNS
from koschey.stores.models import Event, File, Project
from koschey.stores.quarantine_rows import Hold

_FILES = File.__table__
_HOLDS = Hold.__table__
_PROJECTS = Project.__table__
#: Ids in one statement; SQLite takes 32,766 variables, and a plan for fewer is remembered.
_AT_ONCE = 500


class Settled(NamedTuple):
    """How many files changed their state, over all indexes."""

    released: int
    held: int
    rejected: int


class _FileRow(NamedTuple):
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


class _ProjectRow(NamedTuple):
    id: int
    name: str
    source_id: int
    state: str
    status: str
    serial: int
    decided: bool


class _HoldRow(NamedTuple):
    index_id: int
    file_id: int
    state: str
    rule: str
    until: int | None
    review: bool


@dataclass
class _Changes:
    """What is to be written."""

    added: list[dict[str, Any]] = field(default_factory=list)
    altered: list[dict[str, Any]] = field(default_factory=list)
    removed: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Ids of files, by index."""
    events: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    projects: set[int] = field(default_factory=set)
    states: dict[State, int] = field(default_factory=lambda: defaultdict(int))


class Holds:
    """Brings recorded states in step with verdicts."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration

    def settle(
        self,
        tx: Transaction,
        project_ids: Sequence[int],
        *,
        actor: str,
        at: Microseconds,
        file_ids: Sequence[int] | None = None,
        raise_serial: bool = False,
        changed: Sequence[int] = (),
    ) -> Settled:
        """Record what the verdicts on the files of some projects come to now.

        Locks the projects, in the order of their ids. Call it last in the transaction: it takes the serial
        when a page changed.

        Args:
            actor: who changed what verdicts hang on; ``koschey`` for time.
            file_ids: only these files, which belong to those projects; None: all of the projects' files.
            raise_serial: whether the pages change anyhow.
            changed: projects, locked by the caller, whose pages change whatever the verdicts come to.
        """
        projects = {
            row[0]: _ProjectRow(*row) for ids in _batches(sorted(project_ids)) for row in _locked(tx, ids)
        }
        files: dict[int, list[_FileRow]] = defaultdict(list)
        for file in _files(tx, sorted(projects), file_ids):
            files[file.project_id].append(file)
        holds = _holds(tx, sorted(projects), file_ids)
        indexes = {
            source_id: self._configuration.indexes_of(source_id, tx.session)
            for source_id in {project.source_id for project in projects.values()}
        }
        changes = _Changes()
        for project in projects.values():
            having = indexes[project.source_id]
            self._judge(tx, having, project, files[project.id], holds, changes, actor, at)
        for hold in holds.values():  # what is left is of indexes that have the source no more
            changes.removed[hold.index_id].append(hold.file_id)
            changes.counts[hold.index_id] -= 1
        if raise_serial:
            changes.projects.update(projects)
        changes.projects.update(changed)
        _write(tx, changes)
        return Settled(*(changes.states[state] for state in (State.VISIBLE, State.HELD, State.REJECTED)))

    def _judge(
        self,
        tx: Transaction,
        indexes: Iterable[IndexConfig],
        project: _ProjectRow,
        files: Sequence[_FileRow],
        holds: dict[tuple[int, int], _HoldRow],
        changes: _Changes,
        actor: str,
        at: Microseconds,
    ) -> None:
        source = self._configuration.source(project.source_id)
        if source.endpoint is None and project.status == "quarantined":
            return  # its own maintainers said so, of all of it: nothing that a reviewer could end
        rows = _decisions(tx, project.name) if project.decided else []
        for index in indexes:
            policy = index.policy(source, project.name)
            taken_back = withdrawal(source, project.state, project.status)
            judge = Judge(policy, in_force(rows, index, source), taken_back)
            for file in files:
                verdict = judge.verdict(file, at)
                hold = holds.pop((index.id, file.id), None)
                if verdict.visible and hold is None:
                    continue
                _compare(index, project, file, verdict, hold, judge, changes, actor, at)


def _compare(
    index: IndexConfig,
    project: _ProjectRow,
    file: _FileRow,
    verdict: Verdict,
    hold: _HoldRow | None,
    judge: Judge,
    changes: _Changes,
    actor: str,
    at: Microseconds,
) -> None:
    values = {
        "state": verdict.state.value,
        "rule": verdict.rule.value,
        "until": verdict.until,
        "review": needs_review(verdict),
    }
    if verdict.visible:
        changes.removed[index.id].append(file.id)
        changes.counts[index.id] -= 1
    elif hold is None:
        changes.added.append(
            {
                "index_id": index.id,
                "file_id": file.id,
                "project_id": project.id,
                "release": canonical(file.version) if file.version else "",
                "since": at,
                **values,
            }
        )
        changes.counts[index.id] += 1
    elif tuple(hold[2:]) == tuple(values.values()):
        return
    else:
        changes.altered.append({"_index_id": index.id, "_file_id": file.id, **values})
        if (hold.state, hold.rule) == (values["state"], values["rule"]):
            return  # another end of the same hold: the decision or the policy that moved it has its event
    changes.projects.add(project.id)
    changes.states[verdict.state] += 1
    changes.events.append(
        {
            "at": at,
            "actor": actor,
            "action": _ACTIONS[verdict.state],
            "project": project.name,
            "index": index.name,
            "subject": file.filename,
            "before": _before(hold, file, at),
            "after": f"{verdict.state} ({verdict.rule})",
            "reason": sentence(verdict, judge.policy, at),
        }
    )


def _before(hold: _HoldRow | None, file: _FileRow, at: Microseconds) -> str:
    if hold is not None:
        return f"{hold.state} ({hold.rule})"
    return "new" if file.first_seen == at else "visible"


_ACTIONS = {State.VISIBLE: "file.released", State.HELD: "file.held", State.REJECTED: "file.rejected"}


def held_counter(index_id: int) -> str:
    """Name of the counter that says how many files an index hides."""
    return f"held:{index_id}"


def _write(tx: Transaction, changes: _Changes) -> None:
    connection = tx.connection
    if changes.added:
        connection.execute(_ADD, changes.added)
    if changes.altered:
        connection.execute(_ALTER, changes.altered)
    for index_id, file_ids in changes.removed.items():
        for ids in _batches(file_ids):
            among = (_HOLDS.c.index_id == index_id) & _HOLDS.c.file_id.in_(ids)
            connection.execute(delete(_HOLDS).where(among))  # type: ignore[arg-type]
    for index_id in sorted(changes.counts):  # in one order, as everybody takes locks
        adjust(tx, index_id, changes.counts[index_id])
    if changes.projects:
        serial = tx.next_serial()
        for ids in _batches(sorted(changes.projects)):
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


def _decisions(tx: Transaction, name: str) -> list[Any]:
    return list(tx.connection.execute(_DECISIONS, {"name": name}))


def _locked(tx: Transaction, ids: Sequence[int]) -> Iterable[Any]:
    columns = [_PROJECTS.c[name] for name in _ProjectRow._fields]
    return tx.connection.execute(
        select(*columns).where(_PROJECTS.c.id.in_(ids)).order_by(_PROJECTS.c.id).with_for_update()
    )


def _files(tx: Transaction, project_ids: Sequence[int], file_ids: Sequence[int] | None) -> Iterable[_FileRow]:
    columns = [_FILES.c[name] for name in _FileRow._fields]
    among = _FILES.c.project_id if file_ids is None else _FILES.c.id
    for ids in _batches(project_ids if file_ids is None else sorted(file_ids)):
        kept = select(*columns).where(among.in_(ids), _FILES.c.deleted_at.is_(None))
        for row in tx.connection.execute(kept):
            yield _FileRow._make(row)


def _holds(
    tx: Transaction, project_ids: Sequence[int], file_ids: Sequence[int] | None
) -> dict[tuple[int, int], _HoldRow]:
    columns = [_HOLDS.c[name] for name in _HoldRow._fields]
    among = _HOLDS.c.project_id if file_ids is None else _HOLDS.c.file_id
    found = {}
    for ids in _batches(project_ids if file_ids is None else sorted(file_ids)):
        for row in tx.connection.execute(select(*columns).where(among.in_(ids))):
            found[row[0], row[1]] = _HoldRow._make(row)
    return found


def _batches(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    for start in range(0, len(ids), _AT_ONCE):
        yield ids[start : start + _AT_ONCE]
