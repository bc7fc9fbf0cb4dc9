"""Storing and checking one file: downloaded, looked into by a process that can be killed, recorded.

The row says what is to be done (``due_at``), so that whoever is killed anywhere is followed by another try.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import insert, update

from koschey.checks.subject import Contents
from koschey.domain.checks import Finding, Outcome, judged, outcomes, summary
from koschey.domain.page import Microseconds
from koschey.domain.policy import Policy
from koschey.domain.quarantine import wants_checks
from koschey.errors import BlobMissing, Busy, DigestMismatch, UpstreamInvalid
from koschey.failpoints import failpoint
from koschey.services.configuration import Configuration
from koschey.services.contents import KEEP, OnDisk, StoredFiles, kept
from koschey.services.holds import Holds
from koschey.services.settling import ACTOR
from koschey.services.sidecars import Sidecars, take_metadata
from koschey.services.subjects import Subjects
from koschey.stores.blobs import BlobStore
from koschey.stores.database import Database, Transaction, now
from koschey.stores.locks import Locks
from koschey.stores.lookup import FileLook, Lookup
from koschey.stores.models import File
from koschey.stores.quarantine_rows import CheckResult

if TYPE_CHECKING:
    from koschey.checks.examiner import Examiner
    from koschey.hookspecs import Check

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: What is asked of an old file that somebody fetched: whether it is what it says. Also all that can be
#: asked of a file whose contents nobody could read.
BASIC = frozenset(["integrity", "archive", "metadata", "record"])
#: Seconds until the next try after so many, the last for all further ones.
_PAUSES = (30, 120, 600, 3_600)
#: The same when the upstream has no such file, or other bytes than it promised.
_LONG_PAUSES = (120, 600, 3_600, 21_600)
#: How often a check that crashed or took too long is tried.
_TRIES = 3
_FILES = File.__table__


@dataclass(frozen=True)
class _Examined:
    """What came of looking into a file."""

    findings: Sequence[Finding]
    contents: Contents | None
    metadata: str | None
    """sha256 of a wheel's METADATA, which is in the store."""
    again: bool
    """Whether an answer was an accident, so that another try may come to another one."""


class Checking:
    """Does for one file what is due."""

    def __init__(
        self,
        database: Database,
        lookup: Lookup,
        configuration: Configuration,
        locks: Locks,
        store: BlobStore,
        files: StoredFiles,
        subjects: Subjects,
        examiner: Examiner,
        holds: Holds,
        checks: Sequence[Check],
    ) -> None:
        self._database = database
        self._lookup = lookup
        self._configuration = configuration
        self._locks = locks
        self._sidecars = Sidecars(database, store)
        self._files = files
        self._subjects = subjects
        self._examiner = examiner
        self._holds = holds
        self._checks = checks

    def close(self) -> None:
        """End the process that looks into files."""
        self._examiner.close()

    def check_file(self, file_id: int, attempt: int | None = None) -> None:
        """Store and check a file if that is due; doing it twice changes nothing.

        Args:
            attempt: the one that is meant, as ``File.attempts`` counts; None: whatever is due. One that was
                begun meanwhile is not begun again.

        Raises:
            UpstreamError, StoreUnavailable, BlobMissing: it could not be had now, and stays due.
        """
        with suppress(Busy), self._locks.hold(f"check:{file_id}", 0.0):
            attempts = self._begin(file_id, attempt)
            if attempts:
                self._check(file_id, attempts)

    def _begin(self, file_id: int, attempt: int | None) -> int:
        """Count the try and put off the next one, before anything can go wrong; 0: nothing is due."""
        with self._database.transaction() as tx:
            row = tx.session.get(File, file_id, with_for_update=True)
            if row is None or row.due_at is None or attempt not in (None, row.attempts):
                return 0
            row.attempts += 1
            row.due_at = now() + _pause(_PAUSES, row.attempts)
            return row.attempts

    def _check(self, file_id: int, attempts: int) -> None:
        look = self._lookup.file(file_id)
        if look is None:
            return
        if look.stored_at is None and not self._may_ask(look):
            self._put_off(file_id, now() + _pause(_LONG_PAUSES, len(_LONG_PAUSES)))
            return
        if look.stored_at is None and self._configuration.source(look.source_id).paused:
            self._wait_for_resume(file_id, attempts)
            return
        try:
            look = self._files.stored(look)
        except (UpstreamInvalid, DigestMismatch) as error:
            log.warning("file.not_checked", project=look.name, filename=look.filename, problem=str(error))
            self._put_off(file_id, now() + _pause(_LONG_PAUSES, attempts))
            return
        policies = self._policies(look)
        assert look.sha256 is not None
        try:
            with self._files.on_disk(look.sha256) as file:
                examined = self._examined(look, file, self._wanted(look, policies))
        except BlobMissing:
            return  # it was deleted a moment ago, and stays due
        failpoint("check.before_record")
        with self._database.transaction() as tx:
            self._record(tx, look, examined, policies)
        failpoint("check.after_record")

    def _put_off(self, file_id: int, due_at: Microseconds) -> None:
        with self._database.transaction() as tx:
            tx.connection.execute(
                update(File).where(File.id == file_id, File.due_at.is_not(None)).values(due_at=due_at)
            )

    def _wait_for_resume(self, file_id: int, attempts: int) -> None:
        """Put a try off that was none: a person paused the upstream, and makes what waits due at the end.

        Where that came between, the try is not the file's last one any more, and the file stays due.
        """
        due_at = now() + _pause(_LONG_PAUSES, len(_LONG_PAUSES))
        this_try = (File.id == file_id) & (File.attempts == attempts) & File.due_at.is_not(None)
        with self._database.transaction() as tx:
            tx.connection.execute(update(File).where(this_try).values(due_at=due_at, attempts=attempts - 1))

    def _may_ask(self, look: FileLook) -> bool:
        """Whether the file's name may go outside; it is due again when that is said."""
        named = self._lookup.name(look.name)
        return self._configuration.may_ask(
            look.source_id, look.name, named.projects, number=named.configuration
        )

    def _policies(self, look: FileLook) -> list[Policy]:
        """Of the indexes that have the file's source."""
        source = self._configuration.source(look.source_id)
        return [index.policy(source, look.name) for index in self._configuration.indexes_of(source.id)]

    def _wanted(self, look: FileLook, policies: Sequence[Policy]) -> list[Check]:
        """The checks to run: those that some index does not have switched off."""
        thorough = any(wants_checks(look, policy) for policy in policies)
        return [
            check
            for check in self._checks
            if (thorough or check.name in BASIC) and any(check.name not in policy.off for policy in policies)
        ]

    def _examined(self, look: FileLook, file: OnDisk, checks: Sequence[Check]) -> _Examined:
        # Heavy, and not wanted by a web process that never checks.
        from koschey.checks.examiner import Unreadable

        out = file.folder / "METADATA"
        try:
            contents = self._examiner.read(file.path, look.filename, out)
        except Unreadable as error:
            # The checks that would look at the contents have none: they have not passed.
            log.warning("file.no_metadata", filename=look.filename, problem=error.problem)
            subject = self._subjects.subject(
                look, str(file.path), None, self._sidecars.promised(look), compared=False
            )
            asked = [check for check in checks if check.name in BASIC]
            findings = self._examiner.check(subject, asked)
            unasked = [
                Finding(check.name, Outcome.ERROR, f"not done: {error.problem}")
                for check in checks
                if check.name not in BASIC
            ]
            return _Examined([*findings, *unasked], None, None, error.crashed or _any_error(findings))
        # A file that is compared makes another one be read, and perhaps fetched: not for basic checks, or
        # one new release would bring in the whole past of its project.
        compared = any(check.name not in BASIC for check in checks)
        promised = self._sidecars.promised(look)
        subject = self._subjects.subject(look, str(file.path), contents, promised, compared=compared)
        findings = self._examiner.check(subject, checks)
        return _Examined(findings, contents, self._sidecars.kept(look, out), _any_error(findings))

    def _record(
        self, tx: Transaction, look: FileLook, examined: _Examined, policies: Sequence[Policy]
    ) -> None:
        """Everything that was found, in one transaction."""
        if not tx.lock_project(look.project_id):
            return
        row = tx.session.get(File, look.file_id, with_for_update=True)
        if row is None or row.sha256 != look.sha256:
            return  # forgotten, or another file by now: a result is about bytes
        at, before = now(), row.checks
        if examined.findings:
            tx.session.execute(
                insert(CheckResult), [_result(look, finding, at) for finding in examined.findings]
            )
        row.checks = summary({**outcomes(before), **{f.check: f.outcome for f in examined.findings}}) or None
        if not examined.again or row.attempts >= _TRIES:
            row.due_at, row.attempts = None, 0
        if examined.contents is not None:
            tx.connection.execute(KEEP, kept(look.file_id, examined.contents))
        page_changes = examined.metadata is not None and take_metadata(tx, look, row, examined.metadata)
        failed = _newly_failed(before, row.checks, policies)
        if failed:
            told = [f for f in examined.findings if f.check in failed]
            log.warning("file.check_failed", project=look.name, filename=look.filename, checks=failed)
            tx.record(
                "check.failed",
                actor=ACTOR,
                project=look.name,
                subject=look.filename,
                before=before,
                after=row.checks,
                reason="; ".join(f"{f.check}: {f.reason or f.outcome.value}" for f in told),
            )
        tx.session.flush()
        self._holds.settle(
            tx,
            [look.project_id],
            actor=ACTOR,
            at=at,
            file_ids=[look.file_id],
            raise_serial=page_changes,
        )


def _pause(pauses: Sequence[int], attempts: int) -> Microseconds:
    return pauses[min(attempts, len(pauses)) - 1] * 1_000_000


def _any_error(findings: Iterable[Finding]) -> bool:
    return any(finding.outcome is Outcome.ERROR for finding in findings)


def _newly_failed(before: str | None, after: str | None, policies: Iterable[Policy]) -> list[str]:
    """Checks that some index requires and that fail now and did not before."""
    names: set[str] = set()
    for policy in policies:
        failed = judged(after, policy.required).failed
        names.update(set(failed).difference(judged(before, policy.required).failed))
    return sorted(names)


def _result(look: FileLook, finding: Finding, at: Microseconds) -> dict[str, object]:
    return {
        "file_id": look.file_id,
        "sha256": look.sha256,
        "check": finding.check,
        "outcome": finding.outcome.value,
        "reason": finding.reason,
        "at": at,
    }
