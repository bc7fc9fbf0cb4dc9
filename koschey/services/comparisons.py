"""What changed since the last visible version, compared once for each pair of files and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
import structlog
import zstandard
from sqlalchemy import delete, insert, select

from koschey.checks.changes import Comparison
from koschey.domain.decisions import canonical
from koschey.errors import KoscheyError, NotFound
from koschey.services.cases import Case, FileRow
from koschey.services.contents import StoredFiles
from koschey.services.subjects import counterpart, last_release
from koschey.stores.database import Database, now
from koschey.stores.locks import Locks
from koschey.stores.lookup import Lookup
from koschey.stores.quarantine_rows import ComparisonRow

if TYPE_CHECKING:
    from koschey.checks.examiner import Examiner

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: A file that is not stored is fetched for a comparison up to this size, in bytes.
_LARGEST = 256 * 2**20
_NOTHING = ""
#: Microseconds after which a comparison that failed is tried again when somebody looks: it may have crashed.
_AGAIN = 3_600_000_000


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a version beside the one of the last visible version."""

    filename: str
    others: tuple[str, ...]
    """The version's other files, which can be compared as well."""
    previous_version: str | None
    """None: no version is visible, so everything is new."""
    previous_filename: str | None
    comparison: Comparison | None
    """None: it is being made, or there is a ``problem``."""
    problem: str = ""


class Comparisons:
    """Finds comparisons, has them made, and makes them.

    Args:
        submit: puts a job into the queue.
    """

    def __init__(
        self,
        database: Database,
        lookup: Lookup,
        locks: Locks,
        files: StoredFiles,
        examiner: Examiner,
        submit: Callable[..., None],
    ) -> None:
        self._database = database
        self._lookup = lookup
        self._locks = locks
        self._files = files
        self._examiner = examiner
        self._submit = submit

    def of(self, case: Case, version: str, filename: str | None = None) -> Compared:
        """The comparison of one of a version's files; a job is put into the queue when there is none yet.

        Args:
            filename: None: the one that says most: a pure wheel, else an sdist, else the first.

        Raises:
            NotFound: no such version or file.
        """
        spelled = case.spelling(version)
        if spelled is None:
            raise NotFound("version", f"{case.name}=={version}")
        files = [file for file, _ in case.releases[spelled]]
        file = next((f for f in files if f.filename == filename), None) if filename else _telling(files)
        if file is None:
            raise NotFound("file", filename or "")
        visible = [
            other
            for judged in case.releases.values()
            for other, verdict in judged
            if verdict.visible and other.version and canonical(other.version) != canonical(spelled)
        ]
        release = last_release(spelled, visible)
        before = counterpart(file.filename, release)
        facts = {
            "filename": file.filename,
            "others": tuple(f.filename for f in files if f is not file),
            "previous_version": None if before is None else before.version,
            "previous_filename": None if before is None else before.filename,
        }
        kept = self._kept(_NOTHING if before is None else before.sha256, file.sha256)
        if kept is None:
            self._submit("compare_files", 0 if before is None else before.id, file.id)
            return Compared(comparison=None, **facts)  # type: ignore[arg-type]
        if kept[2]:
            self._submit("compare_files", 0 if before is None else before.id, file.id)
        return Compared(comparison=kept[0], problem=kept[1], **facts)  # type: ignore[arg-type]

    def _kept(self, before: str | None, after: str | None) -> tuple[Comparison | None, str, bool] | None:
        """What is kept of a pair: the comparison, or why there is none and whether to try once more."""
        if before is None or after is None:
            return None  # a digest that nobody promised is known once the file is stored
        query = select(ComparisonRow.body, ComparisonRow.problem, ComparisonRow.made_at)
        query = query.where(ComparisonRow.before == before, ComparisonRow.after == after)
        with self._database.reading() as session:
            row = session.execute(query).first()
        if row is None:
            return None
        if row.body is None:
            return None, row.problem, row.made_at < now() - _AGAIN
        body = zstandard.ZstdDecompressor().decompress(row.body, max_output_size=2**26)
        return msgspec.json.decode(body, type=Comparison), row.problem, False

    def make(self, before_id: int, after_id: int) -> None:
        """Compare two files by their ids (0: with nothing) and keep what is found, or why nothing is.

        Raises:
            UpstreamError, StoreUnavailable: one could not be had now.
        """
        with self._locks.hold(f"compare:{before_id}:{after_id}", 0.0):
            self._make(before_id, after_id)

    def _make(self, before_id: int, after_id: int) -> None:
        from koschey.checks.examiner import Unreadable

        looks = [self._lookup.file(file_id) if file_id else None for file_id in (before_id, after_id)]
        before, after = looks
        if after is None or (before_id and before is None):
            return  # forgotten meanwhile
        body, problem = None, ""
        try:
            if any(look and look.stored_at is None and (look.size or 0) > _LARGEST for look in looks):
                raise Unreadable(after.filename, f"it is larger than {_LARGEST // 2**20} MiB and not stored")
            before = None if before is None else self._files.stored(before)
            after = self._files.stored(after)
            assert after.sha256 is not None
            with self._files.on_disk(after.sha256) as new:
                if before is None or before.sha256 is None:
                    found = self._examiner.compare(None, (new.path, after.filename))
                else:
                    with self._files.on_disk(before.sha256) as old:
                        pair = (old.path, before.filename)
                        found = self._examiner.compare(pair, (new.path, after.filename))
            body = zstandard.ZstdCompressor(level=9).compress(msgspec.json.encode(found))
        except Unreadable as error:
            problem = error.problem
        except KoscheyError as error:
            log.warning("files.not_compared", filename=after.filename, problem=str(error))
            raise
        self._keep((before.sha256 if before else None) or _NOTHING, after.sha256 or _NOTHING, body, problem)

    def _keep(self, before: str, after: str, body: bytes | None, problem: str) -> None:
        with self._database.transaction() as tx:
            pair = (ComparisonRow.before == before) & (ComparisonRow.after == after)
            tx.session.execute(delete(ComparisonRow).where(pair))
            row = {"before": before, "after": after, "body": body, "problem": problem, "made_at": now()}
            tx.session.execute(insert(ComparisonRow).values(row))


def _telling(files: Sequence[FileRow]) -> FileRow | None:
    return min(
        files,
        key=lambda file: (
            not file.filename.endswith("-none-any.whl"),
            not file.filename.endswith((".tar.gz", ".zip")),
            file.filename,
        ),
        default=None,
    )
