"""Asking for a version that is hidden: many people, one wish, and one answer to all of them.

A wish is answered by what becomes of the version, whoever or whatever decided that: visible, rejected, or
refused by a reviewer who leaves it held. Nobody has to remember to close it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import structlog
from sqlalchemy import select, text, update

from koschey.domain.asks import Ask, Asker, AskPage, AskState, checked_email
from koschey.domain.decisions import canonical
from koschey.domain.names import NormalizedName, normalize
from koschey.domain.quarantine import State
from koschey.errors import Busy, Conflict, KoscheyError, NotFound, RequestInvalid
from koschey.services.deciding import checked_reason
from koschey.services.explanations import Explanations
from koschey.stores.ask_rows import AskerRow, AskRow
from koschey.stores.database import Database, Transaction, now
from koschey.stores.locks import Locks

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

ACTOR = "koschey"
#: People are shown at once, and wishes are looked through in one run of the sweep.
MOST = 200
_LOOKED_THROUGH = 500


class Asks:
    """The verbs of those who ask and of those who answer.

    Args:
        locks: one process at a time looks for answers.
        submit: hands a job over.
    """

    def __init__(
        self,
        database: Database,
        explanations: Explanations,
        locks: Locks,
        submit: Callable[[str], None],
    ) -> None:
        self._database = database
        self._explanations = explanations
        self._locks = locks
        self._submit = submit

    def ask(
        self, index: str, name: str, version: str, *, actor: str, reason: str, email: str | None = None
    ) -> Ask:
        """Ask for a hidden version, or join those who do; asking again changes reason and address.

        Args:
            actor: user name of the one who asks.
            email: where to send the answer; None: it is only read on the page.

        Raises:
            RequestInvalid: no reason, no name, or no e-mail address.
            NotFound: no such version is known. Conflict: it is visible, or it is rejected.
            UpstreamError, Busy: as its project's page.
        """
        project, reason, email = normalize(name), checked_reason(reason), checked_email(email)
        found = self._explanations.version(index, project, version)
        if not found.known:
            raise NotFound("version", f"{project}=={version}", found.near)
        state = found.versions[0].state
        if state is State.VISIBLE:
            raise Conflict(f"{project} {version} is visible: it can be installed")
        if state is State.REJECTED:
            raise Conflict(f"{project} {version} is {found.sentence}; talk to whom that names")
        release, spelled = canonical(version), found.versions[0].version or version
        with self._database.transaction() as tx:
            tx.lock_name(project)
            row = _open(tx, index, project, release) or _new(tx, index, project, release, spelled)
            _join(tx, row, actor=actor, reason=reason, email=email)
            made = _ask(row)
        self._submit("tell")
        return made

    def take_back(self, ask_id: int, *, actor: str) -> None:
        """The actor asks no more; a wish that nobody has is withdrawn.

        Raises:
            NotFound: the actor has no such open wish.
        """
        with self._database.transaction() as tx:
            row = tx.session.get(AskRow, ask_id, with_for_update=True)
            joined = tx.session.get(AskerRow, (ask_id, actor))
            if row is None or joined is None or row.state != AskState.OPEN:
                raise NotFound("open request", str(ask_id))
            tx.session.delete(joined)
            row.people -= 1
            tx.record(
                "ask.taken_back",
                actor=f"user:{actor}",
                project=row.project,
                index=row.index,
                subject=_subject(row),
            )
            if row.people == 0:
                row.state, row.answered_at, row.answered_by = AskState.WITHDRAWN, now(), f"user:{actor}"

    def refuse(self, ask_id: int, *, actor: str, reason: str) -> Ask:
        """Say no to everybody who asks, and leave the version as it is.

        Raises:
            NotFound: no such wish. Conflict: it has an answer. RequestInvalid: no reason.
        """
        reason = checked_reason(reason)
        with self._database.transaction() as tx:
            row = tx.session.get(AskRow, ask_id, with_for_update=True)
            if row is None:
                raise NotFound("request", str(ask_id))
            if row.state != AskState.OPEN:
                raise Conflict(f"request {ask_id} has its answer: {row.state} by {row.answered_by}")
            _answer(tx, row, AskState.REFUSED, actor=actor, answer=reason)
            refused = _ask(row)
        self._submit("tell")
        return refused

    def settle(self) -> None:
        """Answer the wishes whose version became visible or was rejected; the sweep.

        Raises:
            StoreUnavailable: the database failed; what was answered before stays.
        """
        with suppress(Busy), self._locks.hold("sweep:asks", 0.0):
            with self._database.reading() as session:
                moved = session.execute(_MOVED, {"limit": _LOOKED_THROUGH}).all()
            for ask_id, index, project, version, serial in moved:
                try:
                    self._settle(ask_id, index, project, version, serial)
                except KoscheyError as error:  # an upstream that is down answers nobody, and stops nobody
                    log.warning("ask.not_settled", ask=ask_id, project=project, problem=str(error))

    def _settle(self, ask_id: int, index: str, project: str, version: str, serial: int) -> None:
        found = self._explanations.version(index, NormalizedName(project), version)
        state = found.versions[0].state if found.known else State.REJECTED
        with self._database.transaction() as tx:
            row = tx.session.get(AskRow, ask_id, with_for_update=True)
            if row is None or row.state != AskState.OPEN:
                return
            row.seen_serial = serial
            if state is State.HELD:
                return
            became = AskState.RELEASED if state is State.VISIBLE else AskState.REJECTED
            _answer(tx, row, became, actor=ACTOR, answer=found.sentence)
        self._submit("tell")

    def page(self, *, state: AskState = AskState.OPEN, limit: int = 50, before: int | None = None) -> AskPage:
        """Wishes in a state, the newest first. ``before``: only older ones than that id."""
        if not 1 <= limit <= MOST:
            raise RequestInvalid(f"limit: from 1 to {MOST}")
        query = select(AskRow).where(AskRow.state == state)
        if before is not None:
            query = query.where(AskRow.id < before)
        with self._database.reading() as session:
            rows = list(session.scalars(query.order_by(AskRow.id.desc()).limit(limit + 1)))
        return AskPage(
            asks=tuple(map(_ask, rows[:limit])), next=rows[limit - 1].id if len(rows) > limit else None
        )

    def wanted(self, limit: int = 20) -> list[Ask]:
        """Open wishes that most people have."""
        most = (AskRow.people.desc(), AskRow.id.desc())
        with self._database.reading() as session:
            rows = session.scalars(
                select(AskRow).where(AskRow.state == AskState.OPEN).order_by(*most).limit(limit)
            )
            return list(map(_ask, rows))

    def about(self, index: str, name: str, versions: Sequence[str] | None = None) -> dict[str, Ask]:
        """By canonical version, the latest wish for each version of a project in an index."""
        query = select(AskRow).where(AskRow.project == name, AskRow.index == index)
        if versions is not None:
            query = query.where(AskRow.version.in_([canonical(version) for version in versions]))
        with self._database.reading() as session:
            rows = session.scalars(query.order_by(AskRow.id).limit(MOST))
            return {row.version: _ask(row) for row in rows}

    def get(self, ask_id: int) -> Ask:
        """A wish by its id. Raises: NotFound."""
        with self._database.reading() as session:
            row = session.get(AskRow, ask_id)
            if row is None:
                raise NotFound("request", str(ask_id))
            return _ask(row)

    def has(self, ask_id: int, actor: str) -> bool:
        """Whether a user has a wish."""
        with self._database.reading() as session:
            return session.get(AskerRow, (ask_id, actor)) is not None

    def people(self, ask_id: int) -> list[Asker]:
        """Who has a wish, the first to ask first; ``MOST`` at the most."""
        query = select(AskerRow).where(AskerRow.ask_id == ask_id).order_by(AskerRow.at, AskerRow.actor)
        with self._database.reading() as session:
            rows = session.scalars(query.limit(MOST))
            return [Asker(actor=row.actor, reason=row.reason, at=row.at) for row in rows]

    def of(self, actor: str, limit: int = 50) -> list[Ask]:
        """What a user asked for, the newest first."""
        query = select(AskRow).join(AskerRow, AskerRow.ask_id == AskRow.id).where(AskerRow.actor == actor)
        with self._database.reading() as session:
            return list(map(_ask, session.scalars(query.order_by(AskRow.id.desc()).limit(limit))))


def _open(tx: Transaction, index: str, project: str, version: str) -> AskRow | None:
    query = select(AskRow).where(
        AskRow.project == project,
        AskRow.index == index,
        AskRow.version == version,
        AskRow.state == AskState.OPEN,
    )
    return tx.session.scalars(query.with_for_update()).first()


def _new(tx: Transaction, index: str, project: str, version: str, spelled: str) -> AskRow:
    row = AskRow(
        index=index,
        project=project,
        version=version,
        spelled=spelled,
        state=AskState.OPEN,
        asked_at=now(),
        announced_at=0,
    )
    tx.session.add(row)
    tx.session.flush()
    return row


def _join(tx: Transaction, row: AskRow, *, actor: str, reason: str, email: str | None) -> None:
    """Count a user among those who have a wish; who has it already changes reason and address."""
    joined = tx.session.get(AskerRow, (row.id, actor))
    if joined is None:
        tx.session.add(AskerRow(ask_id=row.id, actor=actor, reason=reason, email=email, at=now()))
        row.people += 1
        tx.record(
            "ask.made",
            actor=f"user:{actor}",
            project=row.project,
            index=row.index,
            subject=_subject(row),
            reason=reason,
        )
    else:
        joined.reason, joined.email = reason, email
    tx.session.flush()


def _answer(tx: Transaction, row: AskRow, state: AskState, *, actor: str, answer: str) -> None:
    """Record an answer and have the people told."""
    at = now()
    row.state, row.answered_at, row.answered_by, row.answer = state, at, actor, answer
    tx.session.execute(
        update(AskerRow)
        .where(AskerRow.ask_id == row.id, AskerRow.email.is_not(None))
        .values(due_at=at, attempts=0)
        .execution_options(synchronize_session=False)
    )
    row.announced_at = 0
    tx.record(
        f"ask.{state}",
        actor=actor,
        project=row.project,
        index=row.index,
        subject=_subject(row),
        before=AskState.OPEN.value,
        after=state.value,
        reason=answer,
    )


def _ask(row: AskRow) -> Ask:
    values: dict[str, Any] = {name: getattr(row, name) for name in Ask.__struct_fields__}
    return Ask(**values | {"state": AskState(row.state), "version": row.spelled})


def _subject(row: AskRow) -> str:
    return f"{row.project}=={row.spelled}"


#: Open wishes about projects that changed since somebody looked.
_MOVED = text(
    'SELECT a.id, a."index", a.project, a.version, max(p.serial) FROM ask a '
    "JOIN project p ON p.name = a.project WHERE a.state = 'open' "
    'GROUP BY a.id, a."index", a.project, a.version, a.seen_serial '
    "HAVING max(p.serial) > a.seen_serial ORDER BY a.id LIMIT :limit"
)
