"""Accepting what a whole upstream has: decisions without a project, which are part of the configuration."""

from __future__ import annotations

from sqlalchemy import select

from koschey.domain.decisions import Kind
from koschey.errors import Conflict, NotFound, RequestInvalid
from koschey.services.deciding import append_decision
from koschey.services.index_rows import raise_policy_versions
from koschey.services.sitting import Outcome, keep_index
from koschey.stores.database import Database, Transaction, now
from koschey.stores.models import IndexRow, IndexSource, Source, SourceKind
from koschey.stores.quarantine_rows import DecisionRow

_BEHIND = "its files become visible at once; the queue and the counts follow behind"


class Baselines:
    """Makes and takes back the baselines of upstreams; a job brings the recorded holds in step behind."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def accept(self, source: str, *, index: str | None, reason: str, actor: str) -> Outcome:
        """What is there now of an upstream skips the hold. Raises: NotFound, RequestInvalid."""
        with self._database.transaction() as tx:
            if index is not None:
                keep_index(tx, index)
            row = tx.session.scalar(select(Source).where(Source.name == source))
            if row is None or row.kind != SourceKind.UPSTREAM:
                raise NotFound("upstream", source)
            indexes = _indexes_with(tx, source, index)
            if not indexes:
                raise RequestInvalid(f"no index {index or ''} has the upstream {source}".replace("  ", " "))
            raise_policy_versions(tx, indexes)
            made = append_decision(
                tx,
                Kind.BASELINE,
                "",
                at=now(),
                actor=actor,
                reason=reason,
                subject=source,
                source=source,
                index=index,
            )
            tx.touch_configuration()
        return Outcome((made,), notes=(_BEHIND,))

    def name_of(self, decision_id: int) -> str:
        """The name that a decision is about; empty for the baseline of an upstream. Raises: NotFound."""
        with self._database.reading() as session:
            name = session.scalar(select(DecisionRow.name).where(DecisionRow.id == decision_id))
        if name is None:
            raise NotFound("decision", str(decision_id))
        return name

    def index_of(self, decision_id: int) -> str | None:
        """The index that a decision is for; None: every one. Raises: NotFound."""
        with self._database.reading() as session:
            row = session.get(DecisionRow, decision_id)
        if row is None:
            raise NotFound("decision", str(decision_id))
        return row.index

    def revert(self, decision_id: int, *, reason: str, actor: str) -> Outcome:
        """Take back the baseline of an upstream. Raises: Conflict when it counts no more."""
        with self._database.transaction() as tx:
            row = tx.session.get_one(DecisionRow, decision_id)
            raise_policy_versions(tx, _indexes_with(tx, row.source, row.index))
            of_it = (DecisionRow.name == "") & (DecisionRow.reverts == decision_id)
            reverted = tx.session.scalar(select(DecisionRow.id).where(of_it).limit(1))
            if row.kind == Kind.REVERT or reverted is not None:
                raise Conflict(f"decision {decision_id} counts no more: it was taken back, or takes back one")
            made = append_decision(
                tx,
                Kind.REVERT,
                "",
                at=now(),
                actor=actor,
                reason=reason,
                subject=row.source or "",
                source=row.source,
                index=row.index,
                reverts=decision_id,
            )
            tx.touch_configuration()
        return Outcome((made,), notes=("what it made visible is held again as its policy says",))


def _indexes_with(tx: Transaction, source: str | None, index: str | None) -> list[int]:
    """Ids of the indexes that have a source, or of the one of them that is named."""
    query = (
        select(IndexSource.index_id)
        .join(Source, Source.id == IndexSource.source_id)
        .join(IndexRow, IndexRow.id == IndexSource.index_id)
        .where(Source.name == source)
    )
    if index is not None:
        query = query.where(IndexRow.name == index)
    return list(tx.session.scalars(query))
