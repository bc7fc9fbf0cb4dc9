"""The gate: what the one pure function is given, for a project in an index.

Everything that shows a file, or that a file exists, gets its verdicts here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from koschey.domain.decisions import NONE, Decision, Decisions, Kind
from koschey.domain.page import Microseconds
from koschey.domain.policy import Policy
from koschey.domain.quarantine import JudgedFile, Verdict, Withdrawal, decide
from koschey.services.configuration import Configuration, IndexConfig, SourceConfig
from koschey.stores.lookup import Lookup
from koschey.stores.models import ProjectState, SourceKind

_REMEMBERED = 1000


class CheckedFile(JudgedFile, Protocol):
    """A file with the short form of its checks' answers."""

    @property
    def checks(self) -> str | None: ...


class JudgedProject(Protocol):
    """What of a project its files' verdicts hang on."""

    @property
    def source_id(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def serial(self) -> int: ...
    @property
    def decided(self) -> bool | int: ...


@dataclass(frozen=True)
class Judge:
    """Verdicts on the files of one project in one index."""

    policy: Policy
    decisions: Decisions
    withdrawal: Withdrawal

    def verdict(self, file: CheckedFile, now: Microseconds) -> Verdict:
        """The verdict on one of the project's files."""
        return decide(file, self.policy, file.checks, self.decisions, now, self.withdrawal)


class Gate:
    """Makes the judges, from what is configured and decided."""

    def __init__(self, lookup: Lookup, configuration: Configuration) -> None:
        self._lookup = lookup
        self._configuration = configuration
        self._known: dict[tuple[str, int, int, str, int], Decisions] = {}
        self._lock = threading.Lock()

    def judge(
        self, index: IndexConfig, name: str, project: JudgedProject, *, quarantined: bool = False
    ) -> Judge:
        """The judge of a project that was just looked up.

        Args:
            name: normalised.
            quarantined: whether the hosted project that it is merged with is, and with it all of the page.
        """
        source = self._configuration.source(project.source_id)
        if project.decided or index.baselines.get(source.id):
            decisions = self._decisions(index, source, name, project)
        else:
            decisions = NONE
        status = "quarantined" if quarantined else project.status
        return Judge(index.policy(source, name), decisions, withdrawal(source, project.state, status))

    def _decisions(
        self, index: IndexConfig, source: SourceConfig, name: str, project: JudgedProject
    ) -> Decisions:
        """Remembered by the project's serial: each decision about its name raises that."""
        key = (name, source.id, project.serial, index.name, index.policy_version)
        known = self._known.get(key)
        if known is None:
            rows = self._lookup.decisions(name) if project.decided else ()
            known = in_force(rows, index, source)
            with self._lock:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[key] = known
        return known


def in_force(rows: Iterable[Sequence[Any]], index: IndexConfig, source: SourceConfig) -> Decisions:
    """The decisions that count in an index for a project of that source.

    Args:
        rows: all about the project's name, as tuples of ``lookup.DECISION_COLUMNS``, in order.
    """
    made = list(rows)
    reverted = {row[11] for row in made if row[1] == Kind.REVERT}
    own = [
        decision_of(row)
        for row in made
        if row[1] != Kind.REVERT
        and row[0] not in reverted
        and row[5] in (None, index.name)
        and row[12] in (None, source.name)
    ]
    return Decisions([*index.baselines.get(source.id, ()), *own])


def decision_of(row: Sequence[Any]) -> Decision:
    """A decision from a tuple of ``lookup.DECISION_COLUMNS``."""
    return Decision(
        id=row[0],
        kind=Kind(row[1]),
        at=row[2],
        actor=row[3],
        reason=row[4],
        index=row[5],
        version=row[6],
        filename=row[7],
        sha256=row[8],
        expires_at=row[9],
        until=row[10],
    )


def withdrawal(source: SourceConfig, state: str, status: str) -> Withdrawal:
    """How an upstream took a whole project back, if it did."""
    if status == "quarantined":
        return Withdrawal.QUARANTINED
    if state == ProjectState.DELETED and source.kind is not SourceKind.HOSTED:
        return Withdrawal.DELETED
    return Withdrawal.NONE
