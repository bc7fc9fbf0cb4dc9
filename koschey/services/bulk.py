"""One decision about everything in the queue that fits a search: a job that goes through its versions.

It decides about what was there when it was asked for. What came later, or was decided by somebody since, is
left alone and named. A job that was lost goes on where the last one ended; what is decided twice is decided
once, for it is no more in the queue.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
from sqlalchemy import func, insert, or_, select, update
from sqlalchemy.orm import Session

from koschey.domain.decisions import canonical
from koschey.domain.page import Microseconds
from koschey.domain.policy import DAY
from koschey.errors import Busy, NotFound, RequestInvalid
from koschey.services.deciding import checked_future, checked_reason
from koschey.services.deliberation import Case, Deliberation, Result, Verb
from koschey.services.keyset import Keyset, Page
from koschey.services.queued_versions import QueuedVersion
from koschey.services.review_queue import ReviewQueue, Tab
from koschey.stores.bulk_rows import BulkResultRow, BulkRow
from koschey.stores.database import Database, now
from koschey.stores.locks import Locks
from koschey.stores.quarantine_rows import DecisionRow

RUNNING, DONE, STOPPED = "running", "done", "stopped"
_AT_ONCE = 50
_RESULTS = Keyset("bulk", BulkResultRow.bulk_id, BulkResultRow.id)


class BulkState(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for, and how far it has come; fields as in ``koschey.stores.bulk_rows``."""

    id: int
    verb: str
    tab: str
    search: str
    index: str | None
    before: Microseconds
    reason: str
    actor: str
    until: Microseconds | None
    state: str
    done: int
    left: int
    finished_at: Microseconds | None


class Bulk:
    """Begins, does, stops and shows decisions about everything that fits.

    Args:
        submit: puts a job into the queue.
    """

    def __init__(
        self,
        database: Database,
        locks: Locks,
        queue: ReviewQueue,
        deliberation: Deliberation,
        submit: Callable[..., None],
    ) -> None:
        self._database = database
        self._locks = locks
        self._queue = queue
        self._deliberation = deliberation
        self._submit = submit

    def begin(
        self,
        verb: Verb,
        tab: Tab,
        *,
        search: str,
        index: str | None,
        before: Microseconds,
        reason: str,
        actor: str,
        until: Microseconds | None = None,
    ) -> int:
        """Ask for it; returns its id, the same for the same form however often it is sent.

        Args:
            before: when whoever asks looked at the queue; of one moment, actor and wish there is one.

        Raises:
            RequestInvalid: no reason, or a moment that is none.
        """
        if before > now() + 1_000_000:
            raise RequestInvalid("before: when you looked, which is not to come")
        reason = checked_reason(reason)
        row = {
            "verb": verb.value,
            "tab": tab.value,
            "search": search[:200],
            "index": index,
            "before": before,
            "reason": reason,
            "actor": actor,
            "until": checked_future("the end of a hold", until),
            "state": RUNNING,
            "done": 0,
            "left": 0,
        }
        with self._database.transaction() as tx:
            tx.lock_name(f"bulk {actor}")
            same = self._begun(tx.session, row)
            if same is not None:
                return same
            made: int = tx.session.execute(insert(BulkRow).values(row).returning(BulkRow.id)).scalar_one()
            what = f"{verb} of all in {tab}" + (f" that begin with {search}" if search else "")
            tx.record(
                "bulk.begun", actor=actor, index=index, subject=f"bulk {made}", after=what, reason=reason
            )
        self._submit("decide_bulk", made)
        return made

    def _begun(self, session: Session, row: dict[str, Any]) -> int | None:
        """The id of one that was asked for by the same form, and was not stopped since."""
        columns = ("verb", "tab", "search", "index", "before", "reason", "actor")
        # Days were counted from when each was sent.
        query = select(BulkRow.id, BulkRow.until).where(
            BulkRow.state != STOPPED, *(getattr(BulkRow, name) == row[name] for name in columns)
        )
        until = row["until"]
        for known in session.execute(query):
            if known.until == until or (until and known.until and abs(known.until - until) < DAY // 2):
                return int(known.id)
        return None

    def run(self, bulk_id: int) -> None:
        """Go through what is left of it."""
        with suppress(Busy), self._locks.hold(f"bulk:{bulk_id}", 0.0):
            while self._some(bulk_id):
                pass

    def resume(self) -> None:
        """Put a job into the queue for each that has not ended."""
        with self._database.reading() as session:
            ids = list(session.scalars(select(BulkRow.id).where(BulkRow.state == RUNNING).limit(100)))
        for bulk_id in ids:
            self._submit("decide_bulk", bulk_id)

    def stop(self, bulk_id: int, *, actor: str) -> None:
        """Decide about nothing more; what was decided stays. Raises: NotFound."""
        self.state(bulk_id)
        with self._database.transaction() as tx:
            stopped = update(BulkRow).where(BulkRow.id == bulk_id, BulkRow.state == RUNNING)
            changed = tx.session.execute(
                stopped.values(state=STOPPED, finished_at=now()).returning(BulkRow.id)
            )
            if changed.first() is not None:
                tx.record("bulk.stopped", actor=actor, subject=f"bulk {bulk_id}")

    def state(self, bulk_id: int) -> BulkState:
        """How far it has come. Raises: NotFound."""
        columns = [getattr(BulkRow, name) for name in BulkState.__struct_fields__]
        with self._database.reading() as session:
            row = session.execute(select(*columns).where(BulkRow.id == bulk_id)).first()
        if row is None:
            raise NotFound("bulk decision", str(bulk_id))
        return BulkState(**dict(zip(BulkState.__struct_fields__, row, strict=True)))

    def results(self, bulk_id: int, *, at: str | None = None) -> Page[Result]:
        """What became of each version, in the order of the queue. Raises: RequestInvalid."""
        columns = (BulkResultRow.project, BulkResultRow.version, BulkResultRow.state, BulkResultRow.words)
        query: Any = select(*columns).where(BulkResultRow.bulk_id == bulk_id)
        with self._database.reading() as session:
            page = _RESULTS.page(session, query, at=at)
        return page.of(lambda row: Result(Case(row.project, row.version), row.state, row.words))

    def _some(self, bulk_id: int) -> bool:
        """Decide about the next few; False: there is nothing more to do."""
        with self._database.reading() as session:
            row = session.get(BulkRow, bulk_id)
        if row is None or row.state != RUNNING:
            return False
        page = self._queue.page(
            Tab(row.tab), index=row.index, search=row.search, before=row.before, at=row.cursor, limit=_AT_ONCE
        )
        results = [self._one(row, version) for version in page.rows]
        self._note(row, results, page.older)
        return page.older is not None

    def _one(self, row: BulkRow, version: QueuedVersion) -> Result:
        case = Case(version.project, version.version, version.seen)
        said = self._said_since(version, row.before)
        if said is not None:
            return Result(case, "conflict", f"left as it is: {said} has decided about it since")
        [result] = self._deliberation.carry_out(
            Verb(row.verb),
            [case],
            index=row.index,
            reason=row.reason,
            actor=row.actor,
            until=row.until,
            opened=row.before,
        )
        return result

    def _said_since(self, version: QueuedVersion, before: Microseconds) -> str | None:
        """Who decided about a version after a moment, if anybody did."""
        release = canonical(version.version) if version.version else ""
        query = select(DecisionRow.actor).where(
            DecisionRow.name == version.project,
            DecisionRow.at > before,
            or_(DecisionRow.version.is_(None), DecisionRow.version == release),
        )
        with self._database.reading() as session:
            return session.scalar(query.order_by(DecisionRow.id.desc()).limit(1))

    def _note(self, row: BulkRow, results: list[Result], older: str | None) -> None:
        done = sum(result.state == "done" for result in results)
        with self._database.transaction() as tx:
            counted = select(func.coalesce(func.max(BulkResultRow.id), 0)).where(
                BulkResultRow.bulk_id == row.id
            )
            first = tx.session.execute(counted).scalar_one() + 1
            rows = [
                {
                    "bulk_id": row.id,
                    "id": number,
                    "project": result.case.project,
                    "version": result.case.version,
                    "state": result.state,
                    "words": result.words,
                }
                for number, result in enumerate(results, first)
            ]
            if rows:
                tx.session.execute(insert(BulkResultRow), rows)
            values: dict[str, Any] = {"done": BulkRow.done + done, "left": BulkRow.left + len(results) - done}
            tx.session.execute(update(BulkRow).where(BulkRow.id == row.id).values(cursor=older, **values))
            if older is None:
                ended = update(BulkRow).where(BulkRow.id == row.id, BulkRow.state == RUNNING)
                tx.session.execute(ended.values(state=DONE, finished_at=now()))
