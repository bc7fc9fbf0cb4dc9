"""What people say about names, versions and files: approve, reject, hold, trust, baseline, and taking back.

Each verb is one transaction: its decisions, an event for each, and what they change.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from koschey.domain.decisions import Kind
from koschey.domain.page import Microseconds
from koschey.errors import Conflict, NotFound
from koschey.services.approval import approve_files
from koschey.services.baselines import Baselines
from koschey.services.configuration import Configuration
from koschey.services.deciding import checked_future, checked_reason
from koschey.services.holds import Holds
from koschey.services.plan import Plan
from koschey.services.scope import Scope, covers, scope_of, selected, spelled, standing_decisions
from koschey.services.sightings import refuse_overtaken
from koschey.services.sitting import (
    Outcome,
    Sitting,
    sitting,
)
from koschey.stores.database import Database

#: Within which the same trust, of the same person for the same reason, is a form that was sent twice.
_AT_ONCE = 60_000_000


def _ends_with(one: Microseconds | None, other: Microseconds | None) -> bool:
    """Whether two ends are the same, as a form means it that counts its days from when it is sent."""
    return one == other or (one is not None and other is not None and abs(one - other) < _AT_ONCE)


class Review:
    """The verbs of a reviewer.

    All take a ``reason`` (one line for people), an ``actor``, and ``index``: the name of the only index in
    which it shall count, None for all. Times are microseconds since 1970, UTC. ``seen`` is the mark of what
    was seen of the version (``koschey.services.sightings``); when it is given and not so any more, the
    decision is refused.

    Raises:
        RequestInvalid: a name, reason or moment is no such thing. NotFound: no such index.
        Overtaken: what was seen is not so any more.
    """

    def __init__(self, database: Database, configuration: Configuration, holds: Holds) -> None:
        self._database = database
        self._configuration = configuration
        self._holds = holds
        self._baselines = Baselines(database)

    def approve(
        self,
        name: str,
        version: str | None = None,
        filename: str | None = None,
        *,
        index: str | None = None,
        reason: str,
        actor: str,
        expires_at: Microseconds | None = None,
        seen: str | None = None,
    ) -> Outcome:
        """Make files visible whatever clock and checks say: one decision for each, bound to its sha256.

        Without version and filename: what is hidden of the project now.

        Raises:
            NotFound: nothing that matches is known. Conflict: it is rejected or withdrawn, or its sha256
                is not known yet.
        """
        scope = scope_of(name, version, filename, index)
        reason, expires_at = checked_reason(reason), checked_future("the expiry of an approval", expires_at)
        with self._sitting(scope.name, index=index) as here:
            refuse_overtaken(here, scope, seen)
            files = selected(here, scope)
            approve_files(here, scope, files, reason=reason, actor=actor, expires_at=expires_at)
            return here.close(self._holds, actor)

    def approve_plan(
        self,
        plan: Plan,
        *,
        index: str | None = None,
        reason: str,
        actor: str,
        expires_at: Microseconds | None = None,
    ) -> Outcome:
        """Approve every file of a plan (``Closure.plan``) in one transaction.

        Raises:
            Conflict: a file of it is not as it was shown any more, or cannot be approved.
        """
        reason, expires_at = checked_reason(reason), checked_future("the expiry of an approval", expires_at)
        names = {needed.name for needed in plan.versions}
        with self._sitting(*names, index=index) as here:
            for needed in plan.versions:
                known = {(file.filename, file.sha256): file for file in here.files(needed.name)}
                files = []
                for planned in needed.files:
                    if (planned.filename, planned.sha256) not in known:
                        raise Conflict(f"{planned.filename} is not as it was shown any more; look again")
                    files.append(known[planned.filename, planned.sha256])
                scope = scope_of(needed.name, needed.version, None, index)
                approve_files(here, scope, files, reason=reason, actor=actor, expires_at=expires_at)
            return here.close(self._holds, actor)

    def reject(
        self,
        name: str,
        version: str | None = None,
        filename: str | None = None,
        *,
        index: str | None = None,
        reason: str,
        actor: str,
        expires_at: Microseconds | None = None,
        seen: str | None = None,
    ) -> Outcome:
        """Hide a file, a version or a whole project, with all files of it that are still to come."""
        expires_at = checked_future("the expiry of a rejection", expires_at)
        return self._scoped(
            Kind.REJECT,
            scope_of(name, version, filename, index),
            reason,
            actor,
            expires_at=expires_at,
            seen=seen,
        )

    def extend(
        self,
        name: str,
        version: str | None = None,
        filename: str | None = None,
        *,
        index: str | None = None,
        reason: str,
        actor: str,
        until: Microseconds | None = None,
        seen: str | None = None,
    ) -> Outcome:
        """Hold a file, a version or a whole project until a moment, or (None) until somebody decides."""
        until = checked_future("the end of a hold", until)
        return self._scoped(
            Kind.HOLD, scope_of(name, version, filename, index), reason, actor, until=until, seen=seen
        )

    def trust(
        self,
        name: str,
        *,
        index: str | None = None,
        reason: str,
        actor: str,
        expires_at: Microseconds | None = None,
    ) -> Outcome:
        """Let a project skip the hold; its checks still count.

        Trusted is the project of the source that has the name now: another source that gets it, or whoever
        registers it anew, is somebody else.
        """
        expires_at = checked_future("the expiry of a trust", expires_at)
        scope, reason = scope_of(name, None, None, index), checked_reason(reason)
        with self._sitting(scope.name, index=index) as here:
            said = (Kind.TRUST, index, actor, reason)
            for one in standing_decisions(here, scope.name):
                again = (one.kind, one.index, one.actor, one.reason) == said
                if again and here.at - one.at < _AT_ONCE and _ends_with(one.expires_at, expires_at):
                    here.notes.append("it was said already, a moment ago")
                    return here.close(self._holds, actor)
            sources: list[str | None] = [*here.sources(scope.name)]
            if not sources:
                here.notes.append(f"{NotFound('files of project', scope.name)}; this covers what comes")
            for source in sources or [None]:
                here.decide(
                    Kind.TRUST,
                    scope.name,
                    index=index,
                    source=source,
                    expires_at=expires_at,
                    actor=actor,
                    reason=reason,
                    subject=scope.text,
                )
            return here.close(self._holds, actor)

    def untrust(self, name: str, *, index: str | None = None, reason: str, actor: str) -> Outcome:
        """Take back every trust in a project that is in force; with ``index`` those for that one only.

        Raises:
            NotFound: there is none.
        """
        scope, reason = scope_of(name, None, None, index), checked_reason(reason)
        with self._sitting(scope.name, index=index) as here:
            trusts = [d for d in standing_decisions(here, scope.name) if d.kind is Kind.TRUST]
            found = [decision for decision in trusts if index is None or decision.index == index]
            if not found:
                raise NotFound("trust in", scope.name, [spelled(scope.name, trust) for trust in trusts])
            for decision in found:
                here.revert(scope.name, decision, actor=actor, reason=reason)
            return here.close(self._holds, actor)

    def index_of(self, decision_id: int) -> str | None:
        """The index that a decision is for; None: every one. Raises: NotFound."""
        return self._baselines.index_of(decision_id)

    def revert(
        self,
        name: str | None = None,
        version: str | None = None,
        filename: str | None = None,
        *,
        index: str | None = None,
        reason: str,
        actor: str,
        decision_id: int | None = None,
    ) -> Outcome:
        """Take back the decisions in force of exactly that scope, or one by its id.

        The approvals of a version's files count as the version's, and those that were made of a whole
        project as the project's.

        Raises:
            NotFound: there is none. Conflict: the decision of that id counts no more.
        """
        reason = checked_reason(reason)
        if decision_id is not None:
            about = self._baselines.name_of(decision_id)
            if about == "":
                return self._baselines.revert(decision_id, reason=reason, actor=actor)
            name = name or about
        scope = scope_of(name or "", version, filename, index)
        with self._sitting(scope.name, index=index) as here:
            standing = standing_decisions(here, scope.name)
            if decision_id is None:
                found = [decision for decision in standing if covers(decision, scope)]
            else:
                found = [decision for decision in standing if decision.id == decision_id]
            if not found and decision_id is not None:
                if about != scope.name:
                    raise NotFound("decision", f"{decision_id} about {scope.name}")
                raise Conflict(f"decision {decision_id} counts no more: it was taken back, or it is over")
            if not found:
                where = "" if index is None else f" in index {index} only"
                known = [spelled(scope.name, decision) for decision in standing[-5:]]
                raise NotFound("decision", scope.text + where, known)
            for decision in found:
                here.revert(scope.name, decision, actor=actor, reason=reason)
            return here.close(self._holds, actor)

    def baseline(
        self,
        *,
        project: str | None = None,
        source: str | None = None,
        index: str | None = None,
        reason: str,
        actor: str,
    ) -> Outcome:
        """Accept what is there now, of a project or of a whole upstream: it skips the hold.

        What an upstream's baseline changes is recorded behind, by a job; verdicts follow at once.

        Raises:
            NotFound: no such project or upstream.
        """
        if source is not None:
            return self._baselines.accept(source, index=index, reason=checked_reason(reason), actor=actor)
        scope, reason = scope_of(project or "", None, None, index), checked_reason(reason)
        with self._sitting(scope.name, index=index) as here:
            selected(here, scope)
            here.decide(
                Kind.BASELINE, scope.name, index=index, actor=actor, reason=reason, subject=scope.text
            )
            return here.close(self._holds, actor)

    def recheck(
        self,
        name: str,
        version: str | None = None,
        filename: str | None = None,
        *,
        actor: str,
        reason: str | None = None,
        opened: Microseconds | None = None,
    ) -> int:
        """Have files stored and checked again as soon as somebody can; returns how many.

        It decides nothing, and so needs no reason.

        Args:
            opened: when the form was loaded that asks for it: what the same actor asked for since is the same
                form, sent twice, and is done once.

        Raises:
            RequestInvalid: not a name. NotFound: nothing that matches is known.
        """
        scope = scope_of(name, version, filename, None)
        with self._sitting(scope.name, index=None) as here:
            files = selected(here, scope)
            said = {"actor": actor, "subject": scope.as_known(files).text}
            if opened is None or not here.noted_since(opened, "check.requested", scope.name, **said):
                here.mark_due(files)
                here.note_event("check.requested", scope.name, **said, reason=reason)
            return len(files)

    def _scoped(
        self,
        kind: Kind,
        scope: Scope,
        reason: str,
        actor: str,
        *,
        expires_at: Microseconds | None = None,
        until: Microseconds | None = None,
        seen: str | None = None,
    ) -> Outcome:
        """One decision about a scope, whatever of it is known yet."""
        reason = checked_reason(reason)
        with self._sitting(scope.name, index=scope.index) as here:
            refuse_overtaken(here, scope, seen)
            try:
                selected(here, scope)
            except NotFound as unknown:
                here.notes.append(f"{unknown}; this covers what comes")
            here.decide(
                kind,
                scope.name,
                index=scope.index,
                version=scope.version,
                filename=scope.filename,
                expires_at=expires_at,
                until=until,
                actor=actor,
                reason=reason,
                subject=scope.as_known(here.files(scope.name)).text,
            )
            return here.close(self._holds, actor)

    def _sitting(self, *names: str, index: str | None) -> AbstractContextManager[Sitting]:
        return sitting(self._database, self._configuration, names, index)
