"""What is recorded of verdicts: the queue of each index, one event for each change, and the serial.

A verdict is computed whenever it is asked for. The rows in ``hold`` are what it came to when something was
last done about the file; ``settle`` brings them in step, in the transaction that changed what verdicts
hang on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from koschey.domain.decisions import canonical
from koschey.domain.explanation import sentence
from koschey.domain.page import Microseconds
from koschey.domain.quarantine import State, Verdict, needs_review
from koschey.services.configuration import Configuration, IndexConfig
from koschey.services.gate import Judge, in_force, withdrawal
from koschey.services.hold_rows import (
    Changes,
    FileRow,
    HoldRow,
    ProjectRow,
    decisions_about,
    files_of,
    locked_projects,
    recorded,
    write,
)
from koschey.services.known import batches
from koschey.stores.database import Transaction


class Settled(NamedTuple):
    """How many files changed their state, over all indexes."""

    released: int
    held: int
    rejected: int


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
            row[0]: ProjectRow(*row)
            for ids in batches(sorted(project_ids))
            for row in locked_projects(tx, ids)
        }
        files: dict[int, list[FileRow]] = defaultdict(list)
        for file in files_of(tx, sorted(projects), file_ids):
            files[file.project_id].append(file)
        holds = recorded(tx, sorted(projects), file_ids)
        indexes = {
            source_id: self._configuration.indexes_of(source_id, tx.session)
            for source_id in {project.source_id for project in projects.values()}
        }
        changes = Changes(actor, at)
        for project in projects.values():
            having = indexes[project.source_id]
            self._judge(tx, having, project, files[project.id], holds, changes)
        for hold in holds.values():  # what is left is of indexes that have the source no more
            changes.removed[hold.index_id].append(hold.file_id)
            changes.counts[hold.index_id] -= 1
        if raise_serial:
            changes.projects.update(projects)
        changes.projects.update(changed)
        write(tx, changes)
        return Settled(*(changes.states[state] for state in (State.VISIBLE, State.HELD, State.REJECTED)))

    def _judge(
        self,
        tx: Transaction,
        indexes: Iterable[IndexConfig],
        project: ProjectRow,
        files: Sequence[FileRow],
        holds: dict[tuple[int, int], HoldRow],
        changes: Changes,
    ) -> None:
        source = self._configuration.source(project.source_id)
        if source.endpoint is None and project.status == "quarantined":
            return  # its own maintainers said so, of all of it: nothing that a reviewer could end
        at = changes.at
        rows = decisions_about(tx, project.name) if project.decided else []
        for index in indexes:
            policy = index.policy(source, project.name)
            taken_back = withdrawal(source, project.state, project.status)
            judge = Judge(policy, in_force(rows, index, source), taken_back)
            for file in files:
                verdict = judge.verdict(file, at)
                hold = holds.pop((index.id, file.id), None)
                if verdict.visible and hold is None:
                    continue
                if _noted(changes, index.id, file, verdict, hold):
                    changes.projects.add(project.id)
                    changes.states[verdict.state] += 1
                    changes.events.append(
                        {
                            "at": at,
                            "actor": changes.actor,
                            "action": _ACTIONS[verdict.state],
                            "project": project.name,
                            "index": index.name,
                            "subject": file.filename,
                            "before": _before(hold, file, at),
                            "after": f"{verdict.state} ({verdict.rule})",
                            "reason": sentence(verdict, policy, at),
                        }
                    )


def _noted(changes: Changes, index_id: int, file: FileRow, verdict: Verdict, hold: HoldRow | None) -> bool:
    """Note what becomes of a file's row; whether that is a change of its state, or of the rule behind it."""
    values = {
        "state": verdict.state.value,
        "rule": verdict.rule.value,
        "until": verdict.until,
        "review": needs_review(verdict),
    }
    if verdict.visible:
        changes.removed[index_id].append(file.id)
        changes.counts[index_id] -= 1
        return True
    if hold is None:
        changes.added.append(
            {
                "index_id": index_id,
                "file_id": file.id,
                "project_id": file.project_id,
                "release": canonical(file.version) if file.version else "",
                "since": changes.at,
                **values,
            }
        )
        changes.counts[index_id] += 1
        return True
    if tuple(hold[2:]) == tuple(values.values()):
        return False
    changes.altered.append({"_index_id": index_id, "_file_id": file.id, **values})
    # Another end of the same hold is no event: the decision or the policy that moved it has its own.
    return (hold.state, hold.rule) != (values["state"], values["rule"])


def _before(hold: HoldRow | None, file: FileRow, at: Microseconds) -> str:
    if hold is not None:
        return f"{hold.state} ({hold.rule})"
    return "new" if file.first_seen == at else "visible"


_ACTIONS = {State.VISIBLE: "file.released", State.HELD: "file.held", State.REJECTED: "file.rejected"}
