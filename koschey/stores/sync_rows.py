"""The schema of the sync: what is kept of an upstream, what is due, and how far it came."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from koschey.stores.models import Base, partial_index


class KeptName(Base):
    """A name that a list, a seed or what those require asks for; one may be asked for by several."""

    __tablename__ = "kept_name"
    source_id: Mapped[int] = mapped_column(ForeignKey("source.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    specifiers: Mapped[str] = mapped_column(Text)
    """JSON: requirements without the name, of which one must fit; an empty one is for all versions."""
    origin: Mapped[str] = mapped_column(Text, primary_key=True)
    """The file that it was in, or whose dependency it is."""
    dependencies: Mapped[bool] = mapped_column(default=False)
    """Whether what it requires is to be kept as well."""


class SyncState(Base):
    """How far an upstream is in step, and what its syncs came to."""

    __tablename__ = "sync_state"
    source_id: Mapped[int] = mapped_column(
        ForeignKey("source.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    root_etag: Mapped[str | None] = mapped_column(Text)
    """Of the last root list that was compared whole; what it asked for stays in ``sync_due`` until done."""
    root_serial: Mapped[int | None] = mapped_column(BigInteger)
    root_names: Mapped[int | None]
    root_bytes: Mapped[int | None] = mapped_column(BigInteger)
    compared_at: Mapped[int | None] = mapped_column(BigInteger)
    """When a root list was last compared, whole and without a condition."""
    chosen: Mapped[str | None] = mapped_column(Text)
    """By which mode and filters it was chosen what is due; another one chooses anew."""
    phase: Mapped[str | None] = mapped_column(String(20))
    """What a sync does now; None when none runs."""
    begun_at: Mapped[int | None] = mapped_column(BigInteger)
    seen_at: Mapped[int | None] = mapped_column(BigInteger)
    """Last sign of life."""
    ended_at: Mapped[int | None] = mapped_column(BigInteger)
    in_step_at: Mapped[int | None] = mapped_column(BigInteger)
    """Begin of the last sync that left nothing undone."""
    outcome: Mapped[str | None] = mapped_column(String(20))
    problem: Mapped[str | None] = mapped_column(Text)
    paused_until: Mapped[int | None] = mapped_column(BigInteger)
    """The upstream asked to be left alone for so long (Retry-After)."""
    alarm: Mapped[str | None] = mapped_column(Text)
    """What a person should look at; the next sync without it takes it away."""
    projects_due: Mapped[int] = mapped_column(default=0)
    projects_done: Mapped[int] = mapped_column(default=0)
    projects_changed: Mapped[int] = mapped_column(default=0)
    projects_failed: Mapped[int] = mapped_column(default=0)
    files_due: Mapped[int] = mapped_column(BigInteger, default=0)
    files_done: Mapped[int] = mapped_column(BigInteger, default=0)
    files_failed: Mapped[int] = mapped_column(default=0)
    run_requests: Mapped[int] = mapped_column(BigInteger, default=0)
    run_unchanged: Mapped[int] = mapped_column(BigInteger, default=0)
    run_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    requests: Mapped[int] = mapped_column(BigInteger, default=0)
    """Of all syncs together, as the following ones."""
    unchanged: Mapped[int] = mapped_column(BigInteger, default=0)
    """Requests that were answered by 304."""
    bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    failures: Mapped[int] = mapped_column(BigInteger, default=0)


class SyncDue(Base):
    """A project that a sync is to look at. The row goes with the transaction that records the look."""

    __tablename__ = "sync_due"
    __table_args__ = (
        Index(None, "source_id", "serial"),
        partial_index("problem IS NOT NULL", "source_id", "name", name="ix_sync_due_failed"),
    )
    source_id: Mapped[int] = mapped_column(ForeignKey("source.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    serial: Mapped[int | None] = mapped_column(BigInteger)
    """What the root list said."""
    why: Mapped[str] = mapped_column(String(10))
    attempts: Mapped[int] = mapped_column(default=0)
    problem: Mapped[str | None] = mapped_column(Text)
    retry_at: Mapped[int | None] = mapped_column(BigInteger)
    """After a failure: before that, no sync by the schedule asks for it."""


class SyncFile(Base):
    """A file that a sync is to store. The row goes with the transaction that records it as stored."""

    __tablename__ = "sync_file"
    __table_args__ = (Index(None, "source_id", "file_id"),)
    file_id: Mapped[int] = mapped_column(
        ForeignKey("file.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    source_id: Mapped[int] = mapped_column(ForeignKey("source.id", ondelete="CASCADE"))
    attempts: Mapped[int] = mapped_column(default=0)
    problem: Mapped[str | None] = mapped_column(Text)
    retry_at: Mapped[int | None] = mapped_column(BigInteger)
    """As of ``SyncDue``."""
