"""Looking at the projects that are due: many at once, recorded in batches, each by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import structlog

from koschey.domain.filters import Mode
from koschey.domain.page import Microseconds
from koschey.errors import KoscheyError, NameOwned, UpstreamError
from koschey.failpoints import failpoint
from koschey.services.configuration import Configuration, SourceConfig
from koschey.services.looks import Recorded, record
from koschey.services.recording import Look
from koschey.services.sync_asking import Answer, Asking
from koschey.services.sync_due import DueProject, DueProjects, project_failures, projects_done
from koschey.services.sync_file_choice import choose_files
from koschey.services.sync_pass import Pass, Share
from koschey.services.sync_progress import Counted, count
from koschey.services.sync_retries import FOREVER
from koschey.services.writes import NewFiles
from koschey.stores.database import Database
from koschey.upstream.client import Permit, UpstreamClient
from koschey.upstream.manners import Tally

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: What is read of what is due at once; within it, what was looked at longest ago comes first.
_PIECE = 20_000
#: Of one transaction.
_PAGES = 100
_FILES = 5_000


class Pages:
    """Works off the projects that are due.

    Args:
        judging: what is told of files that are new.
        page_deadline: of one page, in seconds.
    """

    def __init__(
        self,
        database: Database,
        due: DueProjects,
        configuration: Configuration,
        client: UpstreamClient,
        judging: NewFiles,
        *,
        page_deadline: float,
    ) -> None:
        self._due = due
        self._client = client
        self._recording = _Recording(database, configuration, judging)
        self._asking = Asking(client, deadline=page_deadline)

    def run(
        self,
        source: SourceConfig,
        share: Share,
        connections: int,
        stopping: Callable[[], str | None],
        by: Microseconds = FOREVER,
    ) -> bool:
        """Look at every project that is due and in this share, once; at those that failed before last.

        Args:
            stopping: asked often; a text ends the sync and says why.
            by: what is to be left alone until after that is left alone.

        Returns:
            Whether files came that are to be stored and checked.

        Raises:
            Stopped: the upstream is away or asks for peace, or ``stopping`` said so. StoreUnavailable.
        """
        once = _PagesPass(source, self._client, stopping, self._asking, self._recording)
        once.run(self._pieces(source.id, by), share, connections)
        return once.work_came

    def _pieces(self, source_id: int, by: Microseconds) -> Iterator[list[DueProject]]:
        after = ""
        while piece := self._due.due(source_id, after, _PIECE, by):
            after = piece[-1].name
            yield piece


class _PagesPass(Pass[DueProject, Answer]):
    """One pass over the projects that are due."""

    things = "pages"
    batch = _PAGES
    batch_seconds = 0.25

    def __init__(
        self,
        source: SourceConfig,
        client: UpstreamClient,
        stopping: Callable[[], str | None],
        asking: Asking,
        recording: _Recording,
    ) -> None:
        super().__init__(source, client, stopping)
        self._asking = asking
        self._recording = recording
        self.work_came = False

    def ask(self, turn: tuple[DueProject, Permit]) -> Answer:
        due, permit = turn
        return self._asking.ask(self.source, due, permit, self.tally, self.ending)

    def is_outage(self, problem: UpstreamError) -> bool:
        return not isinstance(problem, NameOwned)

    def is_full(self, batch: Sequence[Answer]) -> bool:
        return super().is_full(batch) or sum(answer.files for answer in batch) >= _FILES

    def record(self, batch: Sequence[Answer]) -> None:
        """Record a batch; when that fails, one by one, so that one bad project holds up no other."""
        try:
            came = self._recording.record(self.source, batch, self.tally)
            self.work_came = self.work_came or came
        except KoscheyError as error:
            if len(batch) == 1:
                self._recording.record_failure(self.source, batch[0].due, error)
                return
            log.warning("sync.batch_failed", upstream=self.source.name, pages=len(batch), problem=str(error))
            for answer in batch:
                self.record([answer])


class _Recording:
    """Brings answers into the database, together with what is due and what the sync came to by them."""

    def __init__(self, database: Database, configuration: Configuration, judging: NewFiles) -> None:
        self._database = database
        self._configuration = configuration
        self._judging = judging

    def record(self, source: SourceConfig, batch: Sequence[Answer], tally: Tally) -> bool:
        """Record answers in one transaction; whether files came that are to be stored and checked."""
        seen = [answer.seen for answer in batch if answer.seen is not None]
        failpoint("sync.before_record")
        with self._database.transaction() as tx:
            recorded = Recorded({}, work_came=False, ids={})
            if seen:
                recorded = record(tx, source, seen, self._judging, self._configuration)
            problems = {a.due.name: left for a in batch if (left := a.left(recorded)) is not None}
            finished = [a.due.name for a in batch if a.due.name not in problems]
            projects_done(tx, source.id, finished)
            project_failures(tx, source.id, problems)
            for name, problem in problems.items():
                log.warning("sync.page_failed", upstream=source.name, project=name, problem=problem)
            files = choose_files(tx, source, recorded) if source.mode is Mode.FULL else 0
            requests, unchanged, received = tally.taken()
            counted = Counted(
                projects_done=len(finished),
                projects_changed=sum(look is Look.CHANGED for look in recorded.looks.values()),
                projects_failed=len(problems),
                files_due=files,
                requests=requests,
                unchanged=unchanged,
                bytes=received,
            )
            count(tx, source.id, counted)
        failpoint("sync.after_record")
        return recorded.work_came

    def record_failure(self, source: SourceConfig, due: DueProject, error: KoscheyError) -> None:
        """Record that an answer could not be recorded: its project stays due."""
        with self._database.transaction() as tx:
            project_failures(tx, source.id, {due.name: str(error)})
            count(tx, source.id, Counted(projects_failed=1))
