"""Rows of indexes and sources, as the verbs that change them find, order and make them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from koschey.domain.policy import hold_days_problem
from koschey.errors import NotFound, RequestInvalid
from koschey.stores.database import CONFIGURATION, Transaction, now
from koschey.stores.models import Counter, IndexRow, IndexSource, PolicyRow, Source, SourceKind

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,58}[a-z0-9])?")


def check_slug(kind: str, name: str) -> None:
    """Return if an index or source may have that name. Raises: RequestInvalid."""
    if not _SLUG.fullmatch(name):
        raise RequestInvalid(
            f"{kind} name {name!r}: use lower-case letters, digits and inner hyphens, 60 at most"
        )


def index_row(session: Session, name: str, *, locked: bool = False) -> IndexRow:
    """An index by name; ``locked`` until the transaction ends. Raises: NotFound."""
    query = select(IndexRow).where(IndexRow.name == name)
    row = session.scalar(query.with_for_update() if locked else query)
    if row is None:
        raise NotFound("index", name)
    return row


def source_row(session: Session, name: str) -> Source:
    """A source of any kind by name. Raises: NotFound."""
    row = session.scalar(select(Source).where(Source.name == name))
    if row is None:
        raise NotFound("source", name)
    return row


def upstream_row(session: Session, name: str) -> Source:
    """A source by name, if it is an upstream. Raises: NotFound."""
    row = source_row(session, name)
    if row.kind != SourceKind.UPSTREAM:
        raise NotFound("upstream", name)
    return row


def new_index(tx: Transaction, name: str, hold_days: float) -> IndexRow:
    """A new index with a rule of its own, and no sources yet. Raises: RequestInvalid."""
    configuration = tx.session.scalar(select(Counter.value).where(Counter.name == CONFIGURATION)) or 0
    # Above those of any index before it: what is remembered of one that had its name or id is not its own.
    # What is known of its sources is settled behind: 0 is a version that none has.
    index = IndexRow(name=name, created_at=now(), policy_version=configuration + 1, settled_version=0)
    tx.session.add(index)
    tx.session.flush()
    tx.session.add(PolicyRow(index_id=index.id, pattern="*", hold_days=checked_days(hold_days)))
    return index


def own_rule(session: Session, index: IndexRow) -> PolicyRow:
    """The rule that an index has for every name."""
    return session.scalars(
        select(PolicyRow).where(PolicyRow.index_id == index.id, PolicyRow.pattern == "*")
    ).one()


def checked_days(days: float) -> float:
    """Days of hold that can be kept. Raises: RequestInvalid."""
    problem = hold_days_problem(days)
    if problem is not None:
        raise RequestInvalid(problem)
    return days


def set_sources(session: Session, index: IndexRow, sources: Sequence[Source]) -> None:
    """Give an index those sources, in that order. Raises: RequestInvalid: one stands there twice."""
    if len({source.id for source in sources}) != len(sources):
        raise RequestInvalid("a source stands twice in the order of the index")
    session.flush()
    session.execute(delete(IndexSource).where(IndexSource.index_id == index.id))
    session.add_all(
        IndexSource(index_id=index.id, source_id=source.id, position=position)
        for position, source in enumerate(sources)
    )


def sources_of(session: Session, index: IndexRow) -> list[Source]:
    """An index's sources, in their order."""
    return list(
        session.scalars(
            select(Source)
            .join(IndexSource, IndexSource.source_id == Source.id)
            .where(IndexSource.index_id == index.id)
            .order_by(IndexSource.position)
        )
    )


def names_of(sources: Sequence[Source]) -> str:
    """Sources as events tell them."""
    return ", ".join(source.name for source in sources)


def raise_policy_versions(tx: Transaction, index_ids: Sequence[int]) -> None:
    """Say that what the verdicts of those indexes hang on changes; others who change it wait.

    Call it before the change, and ``touch_configuration`` after it.
    """
    locked = select(IndexRow.id).where(IndexRow.id.in_(index_ids)).order_by(IndexRow.id)
    tx.session.execute(locked.with_for_update(key_share=True))
    tx.session.execute(
        update(IndexRow)
        .where(IndexRow.id.in_(index_ids))
        .values(policy_version=IndexRow.policy_version + 1)
        .execution_options(synchronize_session=False)
    )
