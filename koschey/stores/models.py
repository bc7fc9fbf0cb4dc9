"""The schema's centre: sources, indexes, projects, files and the journal; the rest is in ``*_rows`` beside.

Rows stay inside the services; frozen structures cross the layers.

Times are integers: microseconds since 1970-01-01T00:00:00 UTC. They compare, sort and index alike in
SQLite and PostgreSQL, and a page of 6,000 files is read without parsing 12,000 dates.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, MetaData, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

#: SQLite numbers rows by itself only in an INTEGER key; PostgreSQL's INTEGER would be too small for files.
Key = BigInteger().with_variant(Integer, "sqlite")

#: A job or a download may know a row by its id only; PostgreSQL never gives one out again, SQLite would.
NEVER_REUSED = {"sqlite_autoincrement": True}


def partial_index(where: str, *columns: str, name: str | None = None) -> Index:
    """An index of the rows for which the SQL condition ``where`` holds.

    The migrations make it so. SQLAlchemy's own ``postgresql_where`` would load that dialect into every
    process that has SQLite, for a statement that models never send.
    """
    return Index(name, *columns, info={"where": where})


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
    __table_args__ = NEVER_REUSED
    id: Mapped[int] = mapped_column(Key, primary_key=True)
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
    mode: Mapped[str] = mapped_column(String(10), default="known")
    """How much of an upstream is kept in step: ``koschey.domain.filters.Mode``."""
    filters: Mapped[str] = mapped_column(Text, default="{}")
    """JSON of ``koschey.domain.filters.Filters``."""
    sync_seconds: Mapped[float] = mapped_column(default=3600.0)
    """Time between two syncs by the schedule; 0: none."""
    requests_per_second: Mapped[float | None]
    connections: Mapped[int] = mapped_column(default=16)
    """So many at once in a sync."""
    paused_at: Mapped[int | None] = mapped_column(BigInteger)
    """Since when a person has it left alone; None: it may be asked."""
    paused_reason: Mapped[str | None] = mapped_column(Text)


class IndexRow(Base):
    """A named view that people point their installers at."""

    __tablename__ = "index"
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(String(60), unique=True)
    created_at: Mapped[int] = mapped_column(BigInteger)
    policy_version: Mapped[int] = mapped_column(BigInteger, default=1)
    """Rises with each change of what its verdicts hang on: policy, baselines, order of sources."""
    settled_version: Mapped[int] = mapped_column(BigInteger, default=1)
    """The policy version by which its rows in ``hold`` are right."""
    settled_project: Mapped[int] = mapped_column(BigInteger, default=0)
    """How far (project id) settling by the current version has come."""


class PolicyRow(Base):
    """What an index says of the names that match a glob; ``*`` is the index's own."""

    __tablename__ = "policy"
    __table_args__ = (UniqueConstraint("index_id", "pattern"),)
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    index_id: Mapped[int] = mapped_column(ForeignKey("index.id", ondelete="CASCADE"))
    pattern: Mapped[str] = mapped_column(String(200))
    hold_days: Mapped[float | None]
    clock: Mapped[str | None] = mapped_column(String(20))
    checks: Mapped[str] = mapped_column(Text, default="{}")
    """JSON: name of a check to its effect."""


class NameRuleRow(Base):
    """What a person said of whose names are (``koschey.domain.ownership``). Taken back: the row goes."""

    __tablename__ = "name_rule"
    __table_args__ = (Index(None, "pattern"),)
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    pattern: Mapped[str] = mapped_column(String(200))
    """A normalised name, or for a reservation a glob over those."""
    index_id: Mapped[int | None] = mapped_column(ForeignKey("index.id", ondelete="CASCADE"))
    """The only index in which it counts; None: all."""
    reason: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(String(200))
    at: Mapped[int] = mapped_column(BigInteger)


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
        Index("ix_project_name_pattern", "name"),  # for the beginnings of names (text_pattern_ops)
        Index(None, "source_id", "looked_at"),
        Index(None, "serial"),
        partial_index("status <> 'active'", "name", name="ix_project_unusual"),
        NEVER_REUSED,
    )
    id: Mapped[int] = mapped_column(Key, primary_key=True)
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
    decided: Mapped[bool] = mapped_column(default=False)
    """Whether anybody ever decided anything about this name: most look-ups need not ask."""


class File(Base):
    """A file of a project. (project, filename) has one sha256 forever."""

    __tablename__ = "file"
    __table_args__ = (
        UniqueConstraint("project_id", "filename"),
        partial_index("due_at IS NOT NULL", "due_at"),
        partial_index("attempts > 0", "id", name="ix_file_failing"),
        partial_index("release IS NOT NULL", "project_id", "release"),
        # Who refers to a blob: asked before one is deleted, and of stored files only.
        partial_index("stored_at IS NOT NULL", "sha256"),
        partial_index("metadata_stored", "metadata_sha256"),
        partial_index("provenance_sha256 IS NOT NULL", "provenance_sha256"),
        partial_index("deleted_at IS NOT NULL", "deleted_at"),
        NEVER_REUSED,
    )
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    filename: Mapped[str] = mapped_column(Text)
    version: Mapped[str | None] = mapped_column(Text)
    release: Mapped[str | None] = mapped_column(Text)
    """Of an upload: the version in canonical form, in which 1.0 and 1.0.0 are one release."""
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
    """Since when the upstream lists it no more; for a hosted file, since when it is deleted."""
    deleted_at: Mapped[int | None] = mapped_column(BigInteger)
    """Since when a hosted file is deleted. The row stays: its name is never used again."""
    deleted_by_admin: Mapped[bool | None]
    """Whether an administrator deleted it, so that nobody else restores it; None: it is not deleted."""
    checks: Mapped[str | None] = mapped_column(Text)
    """The latest answer of each check in the short form of ``koschey.domain.checks``."""
    due_at: Mapped[int | None] = mapped_column(BigInteger)
    """When it is to be stored and checked (again); None: nothing is to be done."""
    attempts: Mapped[int] = mapped_column(default=0)
    """How often that was begun in vain."""


class Download(Base):
    """How often somebody got a file in an index on a day (days since 1970, UTC)."""

    __tablename__ = "download"
    __table_args__ = (Index(None, "file_id", "day"),)
    day: Mapped[int] = mapped_column(primary_key=True)
    index_id: Mapped[int] = mapped_column(ForeignKey("index.id", ondelete="CASCADE"), primary_key=True)
    file_id: Mapped[int] = mapped_column(ForeignKey("file.id", ondelete="CASCADE"), primary_key=True)
    actor: Mapped[str] = mapped_column(String(200), primary_key=True)
    """Who: a user's name, or a client's address."""
    count: Mapped[int]
    last_at: Mapped[int] = mapped_column(BigInteger)


class Event(Base):
    """One change of state: audit row and journal. Appended, never edited."""

    __tablename__ = "event"
    __table_args__ = (
        Index(None, "project", "id"),
        Index(None, "action", "id"),
        Index(None, "actor", "id"),
        Index(None, "index", "id"),
        partial_index("action = 'file.released'", "index", "id", name="ix_event_released"),
    )
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    at: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(60))
    project: Mapped[str | None] = mapped_column(String(200))
    index: Mapped[str | None] = mapped_column(String(60))
    """Name of the index in which it is so; None: in all, or in none."""
    subject: Mapped[str | None] = mapped_column(Text)
    before: Mapped[str | None] = mapped_column(Text)
    after: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    serial: Mapped[int | None] = mapped_column(BigInteger)


class InstanceValue(Base):
    """What all processes of an installation share and nobody chose, such as the key that signs sessions."""

    __tablename__ = "instance_value"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[str] = mapped_column(Text)
