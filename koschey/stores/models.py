"""The schema. Rows stay inside the services; frozen structures cross the layers.

Times are integers: microseconds since 1970-01-01T00:00:00 UTC. They compare, sort and index alike in
SQLite and PostgreSQL, and a page of 6,000 files is read without parsing 12,000 dates.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, MetaData, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

#: SQLite numbers rows by itself only in an INTEGER key; PostgreSQL's INTEGER would be too small for files.
_Key = BigInteger().with_variant(Integer, "sqlite")

#: A job or a download may know a row by its id only; PostgreSQL never gives one out again, SQLite would.
_NEVER_REUSED = {"sqlite_autoincrement": True}


class Base(DeclarativeBase):
    """Names every constraint, so that a migration can name it too (SQLite's batch mode needs that)."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class SourceKind(StrEnum):
    """Where a source's projects come from."""

    HOSTED = "hosted"
    UPSTREAM = "upstream"


class ProjectState(StrEnum):
    """What a source said of a name when it was last asked."""

    PRESENT = "present"
    ABSENT = "absent"  # a remembered 404: the source never had it
    DELETED = "deleted"  # it had it, and says no more


class Counter(Base):
    """Named whole numbers: ``serial`` (the last one given out) and ``configuration`` (see Indexes)."""

    __tablename__ = "counter"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)


class Source(Base):
    """A hosted store or an upstream."""

    __tablename__ = "source"
    __table_args__ = _NEVER_REUSED
    id: Mapped[int] = mapped_column(_Key, primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    kind: Mapped[str] = mapped_column(String(10))
    url: Mapped[str | None] = mapped_column(Text)
    username: Mapped[str | None] = mapped_column(Text)
    password: Mapped[str | None] = mapped_column(Text)
    token: Mapped[str | None] = mapped_column(Text)
    ca_file: Mapped[str | None] = mapped_column(Text)
    proxy: Mapped[str | None] = mapped_column(Text)
    internal: Mapped[bool] = mapped_column(default=False)
    refresh_seconds: Mapped[float] = mapped_column(default=600.0)
    created_at: Mapped[int] = mapped_column(BigInteger)


class IndexRow(Base):
    """A named view that people point their installers at."""

    __tablename__ = "index"
    id: Mapped[int] = mapped_column(_Key, primary_key=True)
    name: Mapped[str] = mapped_column(String(60), unique=True)
    hold_days: Mapped[float] = mapped_column(default=7.0)
    created_at: Mapped[int] = mapped_column(BigInteger)


class IndexSource(Base):
    """One source of an index, at its place in the order; the first one that owns a name wins."""

    __tablename__ = "index_source"
    index_id: Mapped[int] = mapped_column(ForeignKey("index.id", ondelete="CASCADE"), primary_key=True)
    source_id: Mapped[int] = mapped_column(ForeignKey("source.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int]


class Project(Base):
    """A name in a source, and what is known of the source's page of it."""

    __tablename__ = "project"
    __table_args__ = (
        UniqueConstraint("name", "source_id"),
        Index(None, "source_id", "name"),
        Index(None, "state", "looked_at"),
        _NEVER_REUSED,
    )
    id: Mapped[int] = mapped_column(_Key, primary_key=True)
    source_id: Mapped[int] = mapped_column(ForeignKey("source.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(200))
    state: Mapped[str] = mapped_column(String(10))
    status: Mapped[str] = mapped_column(String(20), default="active")
    """PEP 792, as the source says it."""
    status_reason: Mapped[str | None] = mapped_column(Text)
    etag: Mapped[str | None] = mapped_column(Text)
    upstream_serial: Mapped[int | None] = mapped_column(BigInteger)
    serial: Mapped[int] = mapped_column(BigInteger, default=0)
    """Koschey's own: rises with each change of the page; what rendered pages are keyed by."""
    first_seen: Mapped[int] = mapped_column(BigInteger)
    looked_at: Mapped[int | None] = mapped_column(BigInteger)
    """The last successful look at the source's page."""
    missing_since: Mapped[int | None] = mapped_column(BigInteger)
    """First of the 404s in a row for a project that was there."""


class File(Base):
    """A file of a project. (project, filename) has one sha256 forever."""

    __tablename__ = "file"
    __table_args__ = (UniqueConstraint("project_id", "filename"), _NEVER_REUSED)
    id: Mapped[int] = mapped_column(_Key, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    filename: Mapped[str] = mapped_column(Text)
    version: Mapped[str | None] = mapped_column(Text)
    path: Mapped[str] = mapped_column(Text, index=True)
    """Public path below the index's prefix; fixed when the row is made."""
    url: Mapped[str | None] = mapped_column(Text)
    """Where the upstream has it."""
    sha256: Mapped[str | None] = mapped_column(String(64))
    digest: Mapped[str | None] = mapped_column(Text)
    """``algorithm:hex`` that the upstream gave in place of a sha256."""
    size: Mapped[int | None] = mapped_column(BigInteger)
    upload_time: Mapped[int | None] = mapped_column(BigInteger)
    """The upstream's own (PEP 700); never rewritten."""
    first_seen: Mapped[int] = mapped_column(BigInteger)
    previous_look: Mapped[int | None] = mapped_column(BigInteger)
    """The successful look at the project before the one that found this file; None on the first pull."""
    requires_python: Mapped[str | None] = mapped_column(Text)
    yanked: Mapped[bool] = mapped_column(default=False)
    yanked_reason: Mapped[str | None] = mapped_column(Text)
    metadata_advertised: Mapped[bool] = mapped_column(default=False)
    """Whether the upstream says that it has a PEP 658 sidecar."""
    metadata_sha256: Mapped[str | None] = mapped_column(String(64))
    metadata_stored: Mapped[bool] = mapped_column(default=False)
    provenance_url: Mapped[str | None] = mapped_column(Text)
    provenance_sha256: Mapped[str | None] = mapped_column(String(64))
    """Set once the document is in the store."""
    stored_at: Mapped[int | None] = mapped_column(BigInteger)
    withdrawn_at: Mapped[int | None] = mapped_column(BigInteger)
    """Since when the upstream lists it no more."""


class Event(Base):
    """One change of state: audit row and journal. Appended, never edited."""

    __tablename__ = "event"
    __table_args__ = (Index(None, "project", "id"), Index(None, "action", "id"))
    id: Mapped[int] = mapped_column(_Key, primary_key=True)
    at: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(60))
    project: Mapped[str | None] = mapped_column(String(200))
    subject: Mapped[str | None] = mapped_column(Text)
    before: Mapped[str | None] = mapped_column(Text)
    after: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    serial: Mapped[int | None] = mapped_column(BigInteger)
