"""Recording what an upstream's page says: new files, changed ones, withdrawn ones, each with its event."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Container, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import Any, Protocol
from urllib.parse import unquote

import structlog
from sqlalchemy import Select, Update, bindparam, insert, select, update

from koschey.domain.decisions import Kind
from koschey.domain.names import NormalizedName
from koschey.domain.page import UpstreamFile, UpstreamPage
from koschey.services.configuration import SourceConfig
from koschey.services.removal import take_back
from koschey.stores.database import Transaction
from koschey.stores.models import DecisionRow, Event, File, Project, ProjectState
from koschey.upstream.client import PageFetched

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: ``/packages/<2>/<2>/<60 hex>/<filename>``: a path that is ours as well when an upstream has it.
_CANONICAL_FOLDER = re.compile(r"/packages/[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60}/")
_BEFORE_NAME = len("/packages/") + len("xx/xx/") + 60 + len("/")
_CAME_BACK = "the project was deleted upstream and came back without its files: whose is it now?"
#: An empty page after at least so many files is not believed.
_MANY = 5


class Look(StrEnum):
    """How a look at an upstream's page ended."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    ABSENT = "absent"
    SUSPICIOUS = "suspicious"  # the answer contradicts what is known; what is stored stays
    SHARED = "shared"  # somebody else looked in the meantime


class NewFiles(Protocol):
    """What the gate says of files that a page lists for the first time; settles what it says of all."""

    def judge(
        self,
        tx: Transaction,
        source: SourceConfig,
        name: NormalizedName,
        files: Sequence[UpstreamFile],
        arrival: Arrival,
    ) -> list[tuple[bool, bool]]:
        """Of each file whether some index holds it, and whether it is to be stored and checked now."""

    def settle(self, tx: Transaction, project_id: int, *, actor: str, at: int) -> None:
        """Record what the verdicts on all files of the project come to; its pages are new ones."""


@dataclass(frozen=True)
class Arrival:
    """When files came: times in microseconds."""

    at: int
    previous_look: int | None


@dataclass(frozen=True)
class Known:
    """What the database says of a project before a look."""

    id: int
    state: str
    status: str
    status_reason: str | None
    upstream_serial: int | None
    looked_at: int | None
    missing_since: int | None
    decided: bool


class Recorder:
    """Brings the stored rows of one project in step with one fetched page."""

    def __init__(
        self,
        tx: Transaction,
        source: SourceConfig,
        name: NormalizedName,
        known: Known | None,
        at: int,
        judging: NewFiles,
    ) -> None:
        self._tx = tx
        self._judging = judging
        self._settle = known is not None and known.decided
        self._source = source
        self._name = name
        self._known = known
        self._at = at
        self._first = known is None or known.state == ProjectState.ABSENT
        self._changed = False
        self._newest_known: int | None = None
        self.work_came = False
        """Whether a file came that is to be stored and checked."""

    def record(self, fetched: PageFetched) -> Look:
        page = fetched.page
        for refusal in page.refused:
            log.warning(
                "upstream.entry_refused",
                upstream=self._source.name,
                project=self._name,
                filename=refusal.filename,
                problem=refusal.problem,
            )
        known = self._known
        stored = {} if known is None or self._first else _stored_files(self._tx, known.id)
        listed = [row for row in stored.values() if row["withdrawn_at"] is None]
        self._newest_known = max((row["first_seen"] for row in stored.values()), default=None)
        if known is not None and self._suddenly_empty(page, known, len(listed)):
            set_project(self._tx, known.id, looked_at=self._at)
            log.warning(
                "upstream.page_suddenly_empty",
                upstream=self._source.name,
                project=self._name,
                files=len(listed),
            )
            return Look.SUSPICIOUS
        if known is not None and known.state == ProjectState.DELETED and known.decided:
            self._end_trust(page, stored)
        project_id = self._project_row(page)
        self._add([file for file in page.files if file.filename not in stored], project_id)
        self._alter([(stored[f.filename], f) for f in page.files if f.filename in stored])
        if page.status != "quarantined":
            # An entry that is not believed is no withdrawal of the file that is known by its name.
            named = {file.filename for file in page.files} | {entry.filename for entry in page.refused}
            self._withdraw(listed, named)
        values: dict[str, Any] = {
            "looked_at": self._at,
            "missing_since": None,
            "etag": fetched.etag,
            "upstream_serial": self._serial(page),
        }
        set_project(self._tx, project_id, **values)
        if self._settle:
            self._judging.settle(self._tx, project_id, actor=self._actor, at=self._at)
        elif self._changed:
            self._tx.raise_serial(project_id)
        return Look.CHANGED if self._changed else Look.UNCHANGED

    def _end_trust(self, page: UpstreamPage, stored: Container[str]) -> None:
        """A deleted name that comes back without any file of before may be somebody else's by now."""
        if not any(file.filename in stored for file in page.files):
            trust = (DecisionRow.name == self._name) & (DecisionRow.kind == Kind.TRUST)
            of_here = DecisionRow.source.is_(None) | (DecisionRow.source == self._source.name)
            take_back(self._tx, trust & of_here, self._actor, _CAME_BACK)

    @staticmethod
    def _suddenly_empty(page: UpstreamPage, known: Known, listed: int) -> bool:
        """A page that lost all of many files. One that says why, or that was gone before, is believed."""
        return (
            not page.files
            and listed >= _MANY
            and page.status != "quarantined"
            and known.state == ProjectState.PRESENT
        )

    def _serial(self, page: UpstreamPage) -> int | None:
        if page.serial is None and self._known is not None:
            return self._known.upstream_serial
        return page.serial

    def _project_row(self, page: UpstreamPage) -> int:
        values = {"state": ProjectState.PRESENT, "status": page.status, "status_reason": page.status_reason}
        known = self._known
        if known is None:
            self._changed = True
            project_id, decided = new_project(
                self._tx, source_id=self._source.id, name=self._name, first_seen=self._at, serial=0, **values
            )
            self._settle = self._settle or decided
            return project_id
        if (known.state, known.status, known.status_reason) != tuple(values.values()):
            self._changed = self._settle = True
            set_project(self._tx, known.id, **values)
            if not self._first:
                self._tx.record(
                    "project.status",
                    actor=self._actor,
                    project=self._name,
                    before=f"{known.state} {known.status}",
                    after=f"present {page.status}",
                    reason=page.status_reason,
                )
        return known.id

    @property
    def _actor(self) -> str:
        return f"upstream:{self._source.name}"

    def _add(self, files: Sequence[UpstreamFile], project_id: int) -> None:
        if not files:
            return
        self._changed = True
        # A 404 is no look at the project: one that was an upstream's mistake would make its whole past late.
        previous = None if self._known is None or self._first else self._known.looked_at
        # A reset upstream forgets its looks; that its files were found by one is known all the same.
        arrival = Arrival(self._at, previous or self._newest_known)
        judged = self._judging.judge(self._tx, self._source, self._name, files, arrival)
        self._settle = self._settle or any(held for held, _ in judged)
        self.work_came = any(wanted for _, wanted in judged)
        came = {
            "project_id": project_id,
            "first_seen": arrival.at,
            "previous_look": arrival.previous_look,
        }
        rows = [
            _mutable(file) | _fixed(file, self._source.id) | came | {"due_at": self._at if wanted else None}
            for file, (_, wanted) in zip(files, judged, strict=True)
        ]
        self._tx.connection.execute(_NEW_FILES, rows)

    def _alter(self, pairs: Sequence[tuple[dict[str, Any], UpstreamFile]]) -> None:
        """Take over what may change; bytes may not (HARDENING invariant 3)."""
        updates: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
        for row, file in pairs:
            if _other_bytes(row, file):
                self._alarm(row, file)
                continue
            wanted = _mutable(file) | {"withdrawn_at": None}
            if row["sha256"] is None and file.sha256 is not None:
                wanted["sha256"] = file.sha256
            if row["metadata_stored"]:
                # What was verified or extracted here stays; the upstream's word about it may come and go.
                del wanted["metadata_sha256"]
            if row["stored_at"] is not None:
                del wanted["size"]  # measured
            if row["upload_time"] is not None:
                del wanted["upload_time"]  # a date that moves could be moved past the quarantine
            elif file.upload_time is not None and row["previous_look"] is None:
                wanted["previous_look"] = row["first_seen"]  # so that a date given late can be seen as such
            changes = {key: value for key, value in wanted.items() if row[key] != value}
            if changes:
                self._settle = self._settle or not _NOT_JUDGED.issuperset(changes)
                self._note(row, changes)
                updates[tuple(changes)].append(changes | {"_id": row["id"]})
        for keys, rows in updates.items():
            self._changed = True
            statement = update(File.__table__).where(File.__table__.c.id == bindparam("_id"))  # type: ignore[arg-type]
            statement = statement.values({key: bindparam(key) for key in keys})
            self._tx.connection.execute(statement, rows)

    def _note(self, row: dict[str, Any], changes: dict[str, Any]) -> None:
        """Yanks and returns are events; a new URL or metadata flag is not worth one."""
        if {"yanked", "yanked_reason"} & changes.keys():
            after = changes.get("yanked_reason", row["yanked_reason"]) or changes.get("yanked", row["yanked"])
            self._tx.record(
                "file.yank",
                actor=self._actor,
                project=self._name,
                subject=row["filename"],
                before=str(row["yanked_reason"] or row["yanked"]),
                after=str(after),
            )
        if "withdrawn_at" in changes:
            self._tx.record(
                "file.returned",
                actor=self._actor,
                project=self._name,
                subject=row["filename"],
                before="withdrawn",
                after="listed",
            )

    def _alarm(self, row: dict[str, Any], file: UpstreamFile) -> None:
        said = select(Event.id).where(
            Event.project == self._name,
            Event.actor == self._actor,
            Event.action == "file.bytes_changed",
            Event.subject == file.filename,
            Event.after == (file.sha256 or file.digest),
        )
        if self._tx.session.scalar(said.limit(1)):
            return
        log.error(
            "upstream.bytes_changed",
            upstream=self._source.name,
            project=self._name,
            filename=file.filename,
            known=row["sha256"],
            offered=file.sha256,
        )
        self._tx.record(
            "file.bytes_changed",
            actor=self._actor,
            project=self._name,
            subject=file.filename,
            before=row["sha256"] or row["digest"],
            after=file.sha256 or file.digest,
            reason="the upstream lists other bytes under a known filename; the known ones stay",
        )

    def _withdraw(self, listed: Sequence[dict[str, Any]], names: set[str]) -> None:
        gone = [row for row in listed if row["filename"] not in names]
        if not gone:
            return
        self._changed = self._settle = True
        self._tx.connection.execute(
            update(File.__table__)  # type: ignore[arg-type]
            .where(File.__table__.c.id == bindparam("_id"))
            .values(withdrawn_at=self._at),
            [{"_id": row["id"]} for row in gone],
        )
        for row in gone:
            log.warning(
                "upstream.file_withdrawn",
                upstream=self._source.name,
                project=self._name,
                filename=row["filename"],
            )
            self._tx.record(
                "file.withdrawn",
                actor=self._actor,
                project=self._name,
                subject=row["filename"],
                before="listed",
                after="withdrawn",
            )


def public_path(file: UpstreamFile, source_id: int) -> str:
    """The path that a file keeps for ever: the upstream's own where it has our form, else from a digest."""
    url, _, _ = file.url.partition("?")
    if "%" in url:
        url = unquote(url)
    tail = url[-_BEFORE_NAME - len(file.filename) :]
    if tail.endswith(file.filename) and _CANONICAL_FOLDER.fullmatch(tail, 0, _BEFORE_NAME):
        return tail
    digest = file.sha256 or sha256(f"{source_id} {file.url}".encode()).hexdigest()
    return f"/packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{file.filename}"


def _fixed(file: UpstreamFile, source_id: int) -> dict[str, Any]:
    return {
        "filename": file.filename,
        "path": public_path(file, source_id),
        "version": file.version,
        "sha256": file.sha256,
    }


def _mutable(file: UpstreamFile) -> dict[str, Any]:
    return {
        "url": file.url,
        "digest": file.digest,
        "size": file.size,
        "upload_time": file.upload_time,
        "requires_python": file.requires_python,
        "yanked": file.yanked is not False,
        "yanked_reason": file.yanked if isinstance(file.yanked, str) else None,
        "metadata_advertised": file.core_metadata is not False,
        "metadata_sha256": file.core_metadata if isinstance(file.core_metadata, str) else None,
        "provenance_url": file.provenance,
    }


def _other_bytes(row: dict[str, Any], file: UpstreamFile) -> bool:
    if row["sha256"] is not None and file.sha256 is not None:
        return bool(row["sha256"] != file.sha256)
    if row["digest"] is not None and file.digest is not None:
        same_algorithm = row["digest"].partition(":")[0] == file.digest.partition(":")[0]
        return same_algorithm and bool(row["digest"] != file.digest)
    return False


#: What may change in a file without a change of its verdict.
_NOT_JUDGED = frozenset(
    ["url", "digest", "size", "requires_python", "yanked", "yanked_reason", "metadata_advertised",
     "metadata_sha256", "provenance_url"]
)  # fmt: skip
_PROJECTS = Project.__table__
_FILES = File.__table__
# Statements are built once: for small ones, SQLAlchemy takes longer to build than a database to execute.
_KNOWN = select(
    _PROJECTS.c.id,
    _PROJECTS.c.state,
    _PROJECTS.c.status,
    _PROJECTS.c.status_reason,
    _PROJECTS.c.upstream_serial,
    _PROJECTS.c.looked_at,
    _PROJECTS.c.missing_since,
    _PROJECTS.c.decided,
).where(_PROJECTS.c.name == bindparam("name"), _PROJECTS.c.source_id == bindparam("source_id"))
_KNOWN_LOCKED: Select[Any] = _KNOWN.with_for_update()
_NEW_PROJECT = insert(_PROJECTS).returning(_PROJECTS.c.id)  # type: ignore[arg-type]
_DECIDED = select(DecisionRow.id).where(DecisionRow.name == bindparam("name")).limit(1)
_NEW_FILES = insert(_FILES)  # type: ignore[arg-type]
_STORED_COLUMNS = (
    "id",
    "filename",
    "sha256",
    "withdrawn_at",
    "metadata_stored",
    "url",
    "digest",
    "size",
    "upload_time",
    "requires_python",
    "yanked",
    "yanked_reason",
    "metadata_advertised",
    "metadata_sha256",
    "provenance_url",
    "stored_at",
    "first_seen",
    "previous_look",
)
_STORED = select(*(_FILES.c[name] for name in _STORED_COLUMNS)).where(
    _FILES.c.project_id == bindparam("project_id")
)


def known_project(tx: Transaction, source_id: int, name: str) -> Known | None:
    """The project as it is stored, locked until the transaction ends."""
    row = tx.connection.execute(_KNOWN_LOCKED, {"name": name, "source_id": source_id}).one_or_none()
    return None if row is None else Known(*row)


def new_project(tx: Transaction, *, name: str, **values: Any) -> tuple[int, bool]:
    """Insert a project; returns its id, and whether anything was decided about its name before."""
    tx.lock_name(name)  # who decides about it at this moment finds no row to mark
    decided = tx.connection.execute(_DECIDED, {"name": name}).first() is not None
    row = values | {"name": name, "decided": decided}
    return int(tx.connection.execute(_NEW_PROJECT, row).scalar_one()), decided


def set_project(tx: Transaction, project_id: int, **values: Any) -> None:
    """Set columns of a project."""
    tx.connection.execute(_setting(tuple(values)), values | {"_id": project_id})


@lru_cache(maxsize=64)
def _setting(columns: tuple[str, ...]) -> Update:
    return (
        update(_PROJECTS)  # type: ignore[arg-type]
        .where(_PROJECTS.c.id == bindparam("_id"))
        .values({column: bindparam(column) for column in columns})
    )


def _stored_files(tx: Transaction, project_id: int) -> dict[str, dict[str, Any]]:
    rows = tx.connection.execute(_STORED, {"project_id": project_id})
    return {row[1]: dict(zip(_STORED_COLUMNS, row, strict=True)) for row in rows}
