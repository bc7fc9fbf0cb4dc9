"""Approving files: which of those that were named an approval is recorded for, and why not for the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from koschey.domain.decisions import Kind, canonical
from koschey.domain.page import Microseconds
from koschey.domain.quarantine import Rule, Verdict
from koschey.errors import Conflict
from koschey.services.known import KnownFile
from koschey.services.scope import Scope
from koschey.services.sitting import Sitting


def approve_files(
    here: Sitting,
    scope: Scope,
    files: Sequence[KnownFile],
    *,
    reason: str,
    actor: str,
    expires_at: Microseconds | None,
) -> None:
    """Record an approval of each file, bound to its sha256.

    Of a whole project, only what is hidden. What is visible and was named is approved too: the approval
    keeps it so whatever later checks say.

    Raises:
        Conflict: one is rejected or has no sha256 yet, or all are withdrawn upstream.
    """
    whole_project = scope.version is None and scope.filename is None
    verdicts = {file.id: here.verdicts(scope.name, file) for file in files}
    for file in files:
        refuse_rejected(file.filename, verdicts[file.id])
    chosen = [file for file in files if not _withdrawn(verdicts[file.id])]
    if not chosen:
        _, verdict = next(iter(verdicts[files[0].id].items()))
        raise Conflict(f"{files[0].filename}: {verdict.withdrawal}, an approval would have no effect")
    for file in files:
        if file not in chosen:
            here.notes.append(f"{file.filename} is left out: it was withdrawn upstream")
    if whole_project:
        chosen = [file for file in chosen if not _visible(verdicts[file.id])]
    for file in chosen:
        if _approved(verdicts[file.id], scope, expires_at):
            here.notes.append(f"{file.filename} is approved already")
            continue
        if file.sha256 is None:
            raise Conflict(
                f"{file.filename} has no sha256 yet, and an approval is bound to that; its upstream gives "
                "none, so the file is to be stored first (koschey quarantine recheck)"
            )
        if _visible(verdicts[file.id]):
            here.notes.append(f"{file.filename} was visible already; now it stays so whatever checks say")
        here.decide(
            Kind.APPROVE,
            scope.name,
            index=scope.index,
            version=None if whole_project or file.version is None else canonical(file.version),
            filename=file.filename,
            sha256=file.sha256,
            expires_at=expires_at,
            actor=actor,
            reason=reason,
            subject=file.filename,
            before=_spelled(verdicts[file.id]),
        )
    if not chosen:
        here.notes.append(f"nothing of {scope.name} is hidden")


def refuse_rejected(filename: str, verdicts: Mapping[str, Verdict]) -> None:
    """A person said no, and only a person takes that back. Raises: Conflict."""
    for index, verdict in verdicts.items():
        if verdict.rule is Rule.REJECT:
            assert verdict.decision is not None
            said = verdict.decision
            raise Conflict(
                f"{filename} is rejected in index {index} by {said.actor}: {said.reason} "
                f"(decision {said.id}); revert that first"
            )


def _withdrawn(verdicts: Mapping[str, Verdict]) -> bool:
    return all(verdict.rule is Rule.WITHDRAWN for verdict in verdicts.values())


def _visible(verdicts: Mapping[str, Verdict]) -> bool:
    return all(verdict.visible for verdict in verdicts.values())


def _approved(verdicts: Mapping[str, Verdict], scope: Scope, expires_at: Microseconds | None) -> bool:
    decisions = [verdict.decision for verdict in verdicts.values() if verdict.rule is Rule.APPROVE]
    return len(decisions) == len(verdicts) and all(
        decision is not None and decision.index == scope.index and decision.expires_at == expires_at
        for decision in decisions
    )


def _spelled(verdicts: Mapping[str, Verdict]) -> str:
    return "; ".join(f"{index}: {verdict.state} ({verdict.rule})" for index, verdict in verdicts.items())
