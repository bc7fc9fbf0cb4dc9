"""What has to go with an index or an upstream that is removed."""

from __future__ import annotations

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import aliased

from koschey.domain.decisions import Kind
from koschey.services.deciding import append_decision
from koschey.services.hold_rows import adjust
from koschey.stores.database import Transaction, now
from koschey.stores.quarantine_rows import DecisionRow, Hold


def forget_holds(tx: Transaction, which: ColumnElement[bool]) -> None:
    """Take holds out of the queues of their indexes, and off the counts."""
    counted = select(Hold.index_id, func.count()).where(which).group_by(Hold.index_id)
    for index_id, count in tx.session.execute(counted.order_by(Hold.index_id)):
        adjust(tx, index_id, -count)
    tx.session.execute(delete(Hold).where(which).execution_options(synchronize_session=False))


def take_back(tx: Transaction, which: ColumnElement[bool], actor: str, reason: str) -> None:
    """Revert the decisions about what goes, so that what comes under its name inherits nothing."""
    reverting = aliased(DecisionRow)
    of_it = (reverting.name == DecisionRow.name) & (reverting.reverts == DecisionRow.id)
    taken_back = select(reverting.id).where(of_it).exists()
    standing = select(DecisionRow).where(which, DecisionRow.kind != Kind.REVERT, ~taken_back)
    for row in tx.session.scalars(standing.order_by(DecisionRow.id)).all():
        append_decision(
            tx,
            Kind.REVERT,
            row.name,
            at=now(),
            actor=actor,
            reason=reason,
            subject=row.filename or row.name or row.source or "",
            index=row.index,
            source=row.source,
            version=row.version,
            filename=row.filename,
            reverts=row.id,
        )
