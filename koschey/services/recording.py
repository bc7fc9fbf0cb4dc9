"""Recording what an upstream's page says: new files, changed ones, withdrawn ones, each with its event."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from enum import StrEnum
from typing import Any

import structlog
from sqlalchemy import select, text

from koschey.domain.decisions import Kind
from koschey.domain.page import UpstreamFile, UpstreamPage
from koschey.services import wrong_bytes
from koschey.services.file_rows import fixed, mutable, other_bytes
from koschey.services.project_rows import Known
from koschey.services.removal import take_back
from koschey.services.writes import Arrival, Writes
from koschey.stores.models import Event, ProjectState
from koschey.stores.quarantine_rows import DecisionRow
from koschey.upstream.client import PageFetched

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_CAME_BACK = "the project was deleted upstream and came back without its files: whose is it now?"
#: An empty page after at least so many files is not believed.
_MANY = 5
#: What may change in a file without a change of its verdict.
_NOT_JUDGED = frozenset(
    ["url", "digest", "size", "requires_python", "yanked", "yanked_reason", "metadata_advertised",
     "metadata_sha256", "provenance_url"]
)  # fmt: skip


_TRY_ANEW = text("UPDATE sync_file SET attempts = 0, problem = NULL, retry_at = NULL WHERE file_id = :id")


class Look(StrEnum):
    """How a look at an upstream's page ended."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    ABSENT = "absent"
    SUSPICIOUS = "suspicious"  # the answer contradicts what is known; what is stored stays
    SHARED = "shared"  # somebody else looked in the meantime
    OWNED = "owned"  # the name became the company's own while its page was asked for
    STALE = "stale"  # the page is older than what is stored, or than what the upstream's root list says


class Recorder:
    """Brings the stored rows of one project in step with one fetched page.

    Args:
        known: what is stored of the project, None if nothing is.
        stored: its files by name, as ``Writes.stored_files`` gives them.
        at: when the page was asked for, in microseconds.
        serial: of the upstream's root list, for a page that has none.
    """

    def __init__(
        self,
        writes: Writes,
        name: str,
        known: Known | None,
        stored: Mapping[str, dict[str, Any]],
        at: int,
        serial: int | None = None,
    ) -> None:
        self._writes = writes
        self._tx = writes.tx
        self._source = writes.source
        self._actor = writes.actor
        self._name = name
        self._known = known
        self._at = at
        self._root_serial = serial
        self._first = known is None or known.state == ProjectState.ABSENT
        self._stored = {} if self._first else stored
        self._settle = known is not None and known.decided
        self._changed = False
        self._newest_known = max((row["first_seen"] for row in self._stored.values()), default=None)
        self.project: Known | None = None
        """What was recorded; its id is there once the writes are flushed."""

    def record(self, fetched: PageFetched) -> Look:
        page, known, stored = fetched.page, self._known, self._stored
        for refusal in page.refused:
            log.warning(
                "upstream.entry_refused",
                upstream=self._source.name,
                project=self._name,
                filename=refusal.filename,
                problem=refusal.problem,
            )
        listed = [row for row in stored.values() if row["withdrawn_at"] is None]
        if known is not None and self._suddenly_empty(page, known, len(listed)):
            self._writes.set_project(known, looked_at=self._at)
            self._suspect(fetched, len(listed))
            return Look.SUSPICIOUS
        if known is not None and known.state == ProjectState.DELETED and known.decided:
            self._end_trust(page, stored)
        project = self.project = self._project(page)
        self._add([file for file in page.files if file.filename not in stored], project)
        self._alter([(stored[f.filename], f) for f in page.files if f.filename in stored])
        if page.status != "quarantined":
            # An entry that is not believed is no withdrawal of the file that is known by its name.
            named = {file.filename for file in page.files} | {entry.filename for entry in page.refused}
            self._withdraw(listed, named)
        self._writes.set_project(
            project,
            looked_at=self._at,
            missing_since=None,
            etag=fetched.etag,
            upstream_serial=self._serial(page),
        )
        if self._changed:
            self._writes.change(project)
        if self._settle:
            self._writes.settle(project)
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

    def _suspect(self, fetched: PageFetched, files: int) -> None:
        """An alarm: one event for each such page, however often it is looked at."""
        log.warning(
            "upstream.page_suddenly_empty", upstream=self._source.name, project=self._name, files=files
        )
        page = fetched.page.serial if fetched.page.serial is not None else fetched.etag
        after = "no files" if page is None else f"no files ({page})"
        if not self._said("project.suddenly_empty", None, after):
            self._tx.record(
                "project.suddenly_empty",
                actor=self._actor,
                project=self._name,
                before=f"{files} files",
                after=after,
                reason="its page lost all of many files at once: it is not believed, what is known stays",
            )

    def _said(self, action: str, subject: str | None, after: str | None) -> bool:
        """Whether that event is on record already."""
        said = select(Event.id).where(
            Event.project == self._name,
            Event.actor == self._actor,
            Event.action == action,
            Event.subject == subject,
            Event.after == after,
        )
        return self._tx.session.scalar(said.limit(1)) is not None

    def _serial(self, page: UpstreamPage) -> int | None:
        if page.serial is not None:
            return page.serial
        if self._root_serial is not None:
            return self._root_serial
        return None if self._known is None else self._known.upstream_serial

    def _project(self, page: UpstreamPage) -> Known:
        values = {"state": ProjectState.PRESENT, "status": page.status, "status_reason": page.status_reason}
        known = self._known
        if known is None:
            self._changed = True
            return self._writes.new_project(self._name, first_seen=self._at, serial=0, **values)
        if (known.state, known.status, known.status_reason) != tuple(values.values()):
            self._changed = self._settle = True
            self._writes.set_project(known, **values)
            if not self._first:
                self._tx.record(
                    "project.status",
                    actor=self._actor,
                    project=self._name,
                    before=f"{known.state} {known.status}",
                    after=f"present {page.status}",
                    reason=page.status_reason,
                )
        return known

    def _add(self, files: Sequence[UpstreamFile], project: Known) -> None:
        if not files:
            return
        self._changed = True
        # A 404 is no look at the project: one that was an upstream's mistake would make its whole past late.
        previous = None if self._known is None or self._first else self._known.looked_at
        # A reset upstream forgets its looks; that its files were found by one is known all the same.
        arrival = Arrival(self._at, previous or self._newest_known)
        writes = self._writes
        judged = writes.judging.judge(writes.indexes, self._source, self._name, files, arrival)
        self._settle = self._settle or any(held for held, _ in judged)
        writes.work_came = writes.work_came or any(wanted for _, wanted in judged)
        came = {"first_seen": arrival.at, "previous_look": arrival.previous_look}
        for file, (_, wanted) in zip(files, judged, strict=True):
            row = mutable(file) | fixed(file, self._source.id) | came
            writes.new_file(project, row | {"due_at": self._at if wanted else None})

    def _alter(self, pairs: Sequence[tuple[dict[str, Any], UpstreamFile]]) -> None:
        """Take over what may change; bytes may not (HARDENING invariant 3)."""
        for row, file in pairs:
            if other_bytes(row, file):
                if row["stored_at"] is None and self._never_right(row):
                    self._put_right(row, file)
                else:
                    self._alarm(row, file)
                continue
            wanted = mutable(file) | {"withdrawn_at": None}
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
                self._changed = True
                self._writes.set_file(row["id"], changes)

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

    def _never_right(self, row: dict[str, Any]) -> bool:
        promised = row["sha256"] or row["digest"]
        return wrong_bytes.never_right(self._tx, self._actor, self._name, row["filename"], promised)

    def _put_right(self, row: dict[str, Any], file: UpstreamFile) -> None:
        """The page promised what never was there: by its name only it is the same file, with a hold anew."""
        arrival = Arrival(self._at, self._known.looked_at if self._known else row["first_seen"])
        writes = self._writes
        [(_, wanted)] = writes.judging.judge(writes.indexes, self._source, self._name, [file], arrival)
        writes.work_came = writes.work_came or wanted
        self._changed = self._settle = True
        came = {"first_seen": arrival.at, "previous_look": arrival.previous_look, "withdrawn_at": None}
        anew = {"metadata_stored": False, "checks": None, "attempts": 0, "sha256": file.sha256}
        due = {"due_at": self._at if wanted else None}
        writes.set_file(row["id"], mutable(file) | came | anew | due)
        self._tx.connection.execute(_TRY_ANEW, {"id": row["id"]})
        log.warning(
            "upstream.digest_put_right",
            upstream=self._source.name,
            project=self._name,
            filename=file.filename,
            known=row["sha256"] or row["digest"],
            offered=file.sha256 or file.digest,
        )
        self._tx.record(
            "file.digest_put_right",
            actor=self._actor,
            project=self._name,
            subject=file.filename,
            before=row["sha256"] or row["digest"],
            after=file.sha256 or file.digest,
            reason="the bytes promised before were never there; this is a new file with a hold of its own",
        )

    def _alarm(self, row: dict[str, Any], file: UpstreamFile) -> None:
        if self._said(wrong_bytes.BYTES_CHANGED, file.filename, file.sha256 or file.digest):
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
            wrong_bytes.BYTES_CHANGED,
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
        for row in gone:
            self._writes.set_file(row["id"], {"withdrawn_at": self._at})
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
