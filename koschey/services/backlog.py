"""What is to be done and does not get done: files whose storing or checking was begun in vain."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import select

from koschey.domain.checks import Outcome, outcomes
from koschey.domain.page import Microseconds
from koschey.services.keyset import PAGE, Keyset, Page
from koschey.stores.database import Database
from koschey.stores.models import File, Project, Source
from koschey.stores.quarantine_rows import CheckResult

_FAILING = Keyset("failing files", File.id)
#: The latest answers of a file that are looked through for its errors.
_ANSWERS = 400


class FailingFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is tried again and again."""

    id: int
    project: str
    source: str
    filename: str
    attempts: int
    due_at: Microseconds | None
    """When it is tried again."""
    stored: bool
    problems: list[str]
    """What the checks that could not be done said."""


class Backlog:
    """Answers from the files that were begun in vain, which an index of their own finds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def failing(self, *, at: str | None = None, limit: int = PAGE) -> Page[FailingFile]:
        """Files that failed, in the order in which they came. Raises: RequestInvalid."""
        query: Any = (
            select(File, Project.name, Source.name)
            .join(Project, Project.id == File.project_id)
            .join(Source, Source.id == Project.source_id)
            .where(File.attempts > 0)
        )
        with self._database.reading() as session:
            page: Page[Any] = _FAILING.page(session, query, at=at, limit=limit)
            wanted = [row[0].id for row in page.rows if Outcome.ERROR in outcomes(row[0].checks).values()]
            found: dict[int, dict[str, str]] = {}
            answers = session.execute(
                select(CheckResult.file_id, CheckResult.check, CheckResult.outcome, CheckResult.reason)
                .where(CheckResult.file_id.in_(wanted))
                .order_by(CheckResult.file_id, CheckResult.id.desc())
                .limit(_ANSWERS)
            ).all()
            for file_id, check, outcome, reason in answers:
                known = found.setdefault(file_id, {})
                if check not in known:
                    known[check] = f"{check}: {reason}" if outcome == Outcome.ERROR else ""
        return page.of(
            lambda row: FailingFile(
                id=row[0].id,
                project=row[1],
                source=row[2],
                filename=row[0].filename,
                attempts=row[0].attempts,
                due_at=row[0].due_at,
                stored=row[0].stored_at is not None,
                problems=[words for words in found.get(row[0].id, {}).values() if words],
            )
        )
