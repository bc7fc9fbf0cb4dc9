"""The schema. Rows stay inside the services; frozen structures cross the layers.

Times are integers: microseconds since 1970-01-01T00:00:00 UTC. They compare, sort and index alike in
SQLite and PostgreSQL, and a page of 6,000 files is read without parsing 12,000 dates.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

#: SQLite numbers rows by itself only in an INTEGER key; PostgreSQL's INTEGER would be too small for files.
_Key = BigInteger().with_variant(Integer, "sqlite")

#: A job or a download may know a row by its id only; PostgreSQL never gives one out again, SQLite would.
_NEVER_REUSED = {"sqlite_autoincrement": True}


def _partial(where: str, *columns: str, name: str | None = None) -> Index:
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
    id: Mapped[int] = mapped_column(_Key, primary_key=True)
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
    id: Mapped[int] = mapped_column(_Key, primary_key=True)
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
    id: Mapped[int] = mapped_column(_Key, primary_key=True)
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
        _partial("status <> 'active'", "name", name="ix_project_unusual"),
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
    decided: Mapped[bool] = mapped_column(default=False)
    """Whether anybody ever decided anything about this name: most look-ups need not ask."""


class File(Base):
    """A file of a project. (project, filename) has one sha256 forever."""

    __tablename__ = "file"
    __table_args__ = (
        UniqueConstraint("project_id", "filename"),
        _partial("due_at IS NOT NULL", "due_at"),
        _partial("attempts > 0", "id", name="ix_file_failing"),
        _partial("release IS NOT NULL", "project_id", "release"),
        # Who refers to a blob: asked before one is deleted, and of stored files only.
        _partial("stored_at IS NOT NULL", "sha256"),
        _partial("metadata_stored", "metadata_sha256"),
        _partial("provenance_sha256 IS NOT NULL", "provenance_sha256"),
        _partial("deleted_at IS NOT NULL", "deleted_at"),
        _NEVER_REUSED,
    )
    id: Mapped[int] = mapped_column(_Key, primary_key=True)
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


class CheckResult(Base):
    """One answer of one check about one file. Appended, never edited."""

    __tablename__ = "check_result"
    __table_args__ = (Index("ix_check_result_file_id", "file_id", "id"),)
    id: Mapped[int] = mapped_column(_Key, primary_key=True)
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
        _partial("expires_at IS NOT NULL", "expires_at"),
        _partial("kind = 'trust'", "id", name="ix_decision_trust"),
        _NEVER_REUSED,
    )
    id: Mapped[int] = mapped_column(_Key, primary_key=True)
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
        _partial("until IS NOT NULL", "until"),
        _partial("review", "index_id", "since", "file_id", name="ix_hold_review"),
        # The tabs of the queue, over all indexes.
        _partial("review", "since", "file_id", "index_id", name="ix_hold_queue_review"),
        _partial(
            "state = 'held' AND NOT review", "since", "file_id", "index_id", name="ix_hold_queue_waiting"
        ),
        _partial("state = 'rejected'", "since", "file_id", "index_id", name="ix_hold_queue_rejected"),
        _partial("state = 'held'", "index_id", "since", name="ix_hold_held"),
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


class RootListRow(Base):
    """The root list of an index with many names, as it was last built; its names are in ``root_chunk``."""

    __tablename__ = "root_list"
    index_id: Mapped[int] = mapped_column(ForeignKey("index.id", ondelete="CASCADE"), primary_key=True)
    serial: Mapped[int] = mapped_column(BigInteger)
    """Everything up to this serial is in it."""
    sources: Mapped[str] = mapped_column(Text)
    """What its names hang on besides projects: another value, and it is built from the beginning."""
    names: Mapped[int] = mapped_column(BigInteger)
    mark: Mapped[str] = mapped_column(String(32))
    """Random, another one for each build: what its bytes are known by."""
    built_at: Mapped[int] = mapped_column(BigInteger)


class RootChunk(Base):
    """Some hundred neighbouring names of a root list, in the order of their code points."""

    __tablename__ = "root_chunk"
    index_id: Mapped[int] = mapped_column(ForeignKey("index.id", ondelete="CASCADE"), primary_key=True)
    first: Mapped[str] = mapped_column(String(200), primary_key=True)
    """The lowest name that belongs here, whether it is there or not."""
    names: Mapped[int]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    """Its part of the JSON list, raw DEFLATE up to a full flush: pieces of it joined are one stream."""


class Orphan(Base):
    """A blob that no row referred to when somebody looked; it is deleted when that is still so later."""

    __tablename__ = "orphan"
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    marked_at: Mapped[int] = mapped_column(BigInteger, index=True)


class StorageTally(Base):
    """What some thousand files with neighbouring ids come to, as last counted."""

    __tablename__ = "storage_tally"
    block: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    source_id: Mapped[int] = mapped_column(ForeignKey("source.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(10), primary_key=True)
    state: Mapped[str] = mapped_column(String(10), primary_key=True)
    files: Mapped[int] = mapped_column(BigInteger)
    bytes: Mapped[int] = mapped_column(BigInteger)
    counted_at: Mapped[int] = mapped_column(BigInteger)


class Event(Base):
    """One change of state: audit row and journal. Appended, never edited."""

    __tablename__ = "event"
    __table_args__ = (
        Index(None, "project", "id"),
        Index(None, "action", "id"),
        Index(None, "actor", "id"),
        Index(None, "index", "id"),
        _partial("action = 'file.released'", "index", "id", name="ix_event_released"),
    )
    id: Mapped[int] = mapped_column(_Key, primary_key=True)
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


class User(Base):
    """Somebody who signs in."""

    __tablename__ = "user"
    __table_args__ = _NEVER_REUSED
    id: Mapped[int] = mapped_column(_Key, primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    password_hash: Mapped[str | None] = mapped_column(Text)
    """argon2; None: signs in by tokens or a plug-in only."""
    disabled: Mapped[bool] = mapped_column(default=False)
    epoch: Mapped[int] = mapped_column(default=1)
    """Rises when every session of the user is to end."""
    origin: Mapped[str | None] = mapped_column(String(100))
    """The plug-in that vouched for the user first; None: made here."""
    created_at: Mapped[int] = mapped_column(BigInteger)


class UserGroup(Base):
    """A group of users, for grants."""

    __tablename__ = "user_group"
    id: Mapped[int] = mapped_column(_Key, primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    created_at: Mapped[int] = mapped_column(BigInteger)


class Membership(Base):
    """A user in a group. One user may be in a group by hand and by a plug-in's word."""

    __tablename__ = "membership"
    __table_args__ = (Index(None, "user_id"),)
    group_id: Mapped[int] = mapped_column(ForeignKey("user_group.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), primary_key=True)
    origin: Mapped[str] = mapped_column(String(100), primary_key=True, default="")
    """The plug-in that says so; empty: put there by hand."""


class Token(Base):
    """A secret by which a user's programs sign in. Kept as its SHA-256 only."""

    __tablename__ = "token"
    __table_args__ = (Index(None, "user_id"), _NEVER_REUSED)
    id: Mapped[int] = mapped_column(_Key, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[str] = mapped_column(Text)
    """Words of ``koschey.domain.permissions.Scope``, separated by blanks."""
    globs: Mapped[str] = mapped_column(Text, default="")
    """Globs over normalised names, separated by blanks; empty: all."""
    description: Mapped[str] = mapped_column(String(200), default="")
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int | None] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)
    used_at: Mapped[int | None] = mapped_column(BigInteger)
    """The last use that was written down; a minute late at the most."""


class Grant(Base):
    """A role for a subject, on an index (None: all), for the names that match a glob."""

    __tablename__ = "grant"
    __table_args__ = (Index(None, "subject"),)
    id: Mapped[int] = mapped_column(_Key, primary_key=True)
    role: Mapped[str] = mapped_column(String(20))
    subject: Mapped[str] = mapped_column(String(110))
    """``everyone``, ``signed-in``, ``user:NAME`` or ``group:NAME``."""
    index_id: Mapped[int | None] = mapped_column(ForeignKey("index.id", ondelete="CASCADE"))
    pattern: Mapped[str] = mapped_column(String(200), default="*")
    created_at: Mapped[int] = mapped_column(BigInteger)


class SignInFailure(Base):
    """Failed attempts to sign in, by who was tried from where, in the window that began with the first.

    A count of 0 says when a name was last right from an address.
    """

    __tablename__ = "sign_in_failure"
    __table_args__ = (Index(None, "began_at"),)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    """A keyed digest: neither names nor addresses of strangers are kept."""
    count: Mapped[int]
    began_at: Mapped[int] = mapped_column(BigInteger)


class InstanceValue(Base):
    """What all processes of an installation share and nobody chose, such as the key that signs sessions."""

    __tablename__ = "instance_value"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[str] = mapped_column(Text)
