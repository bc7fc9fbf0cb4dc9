"""The schema of decisions about everything that fits a search: what was asked for, what became of it."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from koschey.stores.models import Base

_KEY = BigInteger().with_variant(Integer, "sqlite")


class BulkRow(Base):
    """One such decision, and how far it has come."""

    __tablename__ = "bulk"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - SQLAlchemy's word
    id: Mapped[int] = mapped_column(_KEY, primary_key=True)
    verb: Mapped[str] = mapped_column(String(10))
    tab: Mapped[str] = mapped_column(String(10))
    search: Mapped[str] = mapped_column(String(200))
    index: Mapped[str | None] = mapped_column(String(60))
    """Name of the only index whose queue it goes through and in which it counts; None: all."""
    before: Mapped[int] = mapped_column(BigInteger)
    """What came into the queue, or was decided, later than this is left alone."""
    reason: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(String(200))
    until: Mapped[int | None] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(10), index=True)
    """``running``, ``done`` or ``stopped``."""
    cursor: Mapped[str | None] = mapped_column(Text)
    done: Mapped[int] = mapped_column(default=0)
    left: Mapped[int] = mapped_column(default=0)
    """How many were left as they are."""
    finished_at: Mapped[int | None] = mapped_column(BigInteger)


class BulkResultRow(Base):
    """What became of one version."""

    __tablename__ = "bulk_result"
    bulk_id: Mapped[int] = mapped_column(ForeignKey("bulk.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    """Counts from 1 in each."""
    project: Mapped[str] = mapped_column(String(200))
    version: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(10))
    words: Mapped[str] = mapped_column(Text)
