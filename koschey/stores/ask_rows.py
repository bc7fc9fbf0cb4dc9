"""The schema of asking: who wants a version that is hidden, and what the answer was."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from koschey.stores.models import Base, Key


class AskRow(Base):
    """One wish for a hidden version in an index, however many people have it."""

    __tablename__ = "ask"
    __table_args__ = (
        Index("ix_ask_project", "project", "index", "version"),
        Index("ix_ask_state", "state", "id"),
        Index("ix_ask_people", "state", "people", "id"),
        Index(None, "announced_at"),
        {"sqlite_autoincrement": True},
    )
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    index: Mapped[str] = mapped_column(String(60))
    project: Mapped[str] = mapped_column(String(200))
    """Normalised name."""
    version: Mapped[str] = mapped_column(Text)
    """Canonical: what is matched."""
    spelled: Mapped[str] = mapped_column(Text)
    """As the project spells it: what people read."""
    state: Mapped[str] = mapped_column(String(10))
    """``koschey.domain.asks.AskState``."""
    people: Mapped[int] = mapped_column(default=0)
    asked_at: Mapped[int] = mapped_column(BigInteger)
    seen_serial: Mapped[int] = mapped_column(BigInteger, default=0)
    """The project's serial by which it was last looked whether there is an answer."""
    answered_at: Mapped[int | None] = mapped_column(BigInteger)
    answered_by: Mapped[str | None] = mapped_column(String(200))
    answer: Mapped[str | None] = mapped_column(Text)
    """What the people are told: the verdict's sentence, or the reason of a refusal."""
    announced_at: Mapped[int | None] = mapped_column(BigInteger)
    """When reviewers were told of it by mail and webhook; 0 while they are to be."""


class AskerRow(Base):
    """One of the people who have a wish."""

    __tablename__ = "asker"
    __table_args__ = (Index(None, "actor"), Index(None, "due_at"))
    ask_id: Mapped[int] = mapped_column(ForeignKey("ask.id", ondelete="CASCADE"), primary_key=True)
    actor: Mapped[str] = mapped_column(String(200), primary_key=True)
    """User name."""
    reason: Mapped[str] = mapped_column(Text)
    email: Mapped[str | None] = mapped_column(String(254))
    """Where to send the answer; None: it is read on the page."""
    at: Mapped[int] = mapped_column(BigInteger)
    due_at: Mapped[int | None] = mapped_column(BigInteger)
    """When the answer is to be sent (again); None: nothing is to be sent."""
    attempts: Mapped[int] = mapped_column(default=0)
