"""The schema of the quarantine: what checks found, what people decided, and what is held."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from koschey.stores.models import NEVER_REUSED, Base, Key, partial_index


class CheckResult(Base):
    """One answer of one check about one file. Appended, never edited."""

    __tablename__ = "check_result"
    __table_args__ = (Index("ix_check_result_file_id", "file_id", "id"),)
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    file_id: Mapped[int] = mapped_column(ForeignKey("file.id", ondelete="CASCADE"))
    sha256: Mapped[str | None] = mapped_column(String(64))
    check: Mapped[str] = mapped_column(String(60))
    outcome: Mapped[str] = mapped_column(String(10))
    reason: Mapped[str] = mapped_column(Text)
    at: Mapped[int] = mapped_column(BigInteger)


class FileContents(Base):
    """What was found in a stored file (JSON of ``koschey.checks.subject.Contents``)."""

    __tablename__ = "file_contents"
    file_id: Mapped[int] = mapped_column(ForeignKey("file.id", ondelete="CASCADE"), primary_key=True)
    contents: Mapped[str] = mapped_column(Text)


class DecisionRow(Base):
    """What a person said about a scope. Appended, never edited; by names, to outlive what it is about."""

    __tablename__ = "decision"
    __table_args__ = (
        Index(None, "name", "id"),
        partial_index("expires_at IS NOT NULL", "expires_at"),
        partial_index("kind = 'trust'", "id", name="ix_decision_trust"),
        NEVER_REUSED,
    )
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    name: Mapped[str] = mapped_column(String(200))
    """Normalised name of the project; empty for a baseline of a whole source."""
    index: Mapped[str | None] = mapped_column(String(60))
    """Name of the index; None: all."""
    source: Mapped[str | None] = mapped_column(String(100))
    """Name of the source, for the baseline of one, and for the trust in a project of that one."""
    version: Mapped[str | None] = mapped_column(Text)
    filename: Mapped[str | None] = mapped_column(Text)
    sha256: Mapped[str | None] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(String(200))
    at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int | None] = mapped_column(BigInteger)
    until: Mapped[int | None] = mapped_column(BigInteger)
    reverts: Mapped[int | None] = mapped_column(BigInteger)
    """Id of the decision that this one takes back."""


class Hold(Base):
    """A file that is not visible in an index, as recorded: the queue, and what the expiry sweep goes by.

    Derived: a verdict is computed, never read from here.
    """

    __tablename__ = "hold"
    __table_args__ = (
        Index(None, "file_id"),
        Index(None, "index_id", "since", "file_id"),
        Index(None, "index_id", "project_id"),
        # All that is hidden of a version, and what of it came first.
        Index("ix_hold_release", "project_id", "release", "since", "file_id", "index_id"),
        partial_index("until IS NOT NULL", "until"),
        partial_index("review", "index_id", "since", "file_id", name="ix_hold_review"),
        # The tabs of the queue, over all indexes.
        partial_index("review", "since", "file_id", "index_id", name="ix_hold_queue_review"),
        partial_index(
            "state = 'held' AND NOT review", "since", "file_id", "index_id", name="ix_hold_queue_waiting"
        ),
        partial_index("state = 'rejected'", "since", "file_id", "index_id", name="ix_hold_queue_rejected"),
        partial_index("state = 'held'", "index_id", "since", name="ix_hold_held"),
    )
    index_id: Mapped[int] = mapped_column(ForeignKey("index.id", ondelete="CASCADE"), primary_key=True)
    file_id: Mapped[int] = mapped_column(ForeignKey("file.id", ondelete="CASCADE"), primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    state: Mapped[str] = mapped_column(String(10))
    rule: Mapped[str] = mapped_column(String(20))
    until: Mapped[int | None] = mapped_column(BigInteger)
    """When the verdict is to be looked at again; None: an event will."""
    since: Mapped[int] = mapped_column(BigInteger)
    """Since when it is in this index's queue."""
    review: Mapped[bool]
    """Whether only a person can end it."""
    release: Mapped[str] = mapped_column(Text, default="", server_default="")
    """The file's version in canonical form, empty for none: what reviewers decide about."""


class ComparisonRow(Base):
    """What is different between two files, by their sha256; made once and kept."""

    __tablename__ = "comparison"
    before: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Empty: there was nothing to compare with."""
    after: Mapped[str] = mapped_column(String(64), primary_key=True)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    """JSON of ``koschey.checks.comparing.Comparison``, packed by zstd; None: there is a problem."""
    problem: Mapped[str] = mapped_column(Text, default="")
    """Why it could not be made."""
    made_at: Mapped[int] = mapped_column(BigInteger)
