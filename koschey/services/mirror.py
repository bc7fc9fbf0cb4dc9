"""Looking at an upstream's page, and recording what it says: the only writer of outside projects."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from sqlalchemy import delete, select

from koschey.domain.names import NormalizedName
from koschey.errors import Busy, NameOwned, UpstreamInvalid
from koschey.services.configuration import Configuration, SourceConfig
from koschey.services.flights import Flights
from koschey.services.recording import (
    Known,
    Look,
    NewFiles,
    Recorder,
    known_project,
    new_project,
    set_project,
)
from koschey.stores.database import Database, Transaction, now
from koschey.stores.lookup import Lookup, UpstreamLook
from koschey.stores.models import Event, Project, ProjectState
from koschey.upstream.client import PageFetched, PageMissing, PageOutcome, PageUnchanged, UpstreamClient

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: A 404 for a project that was there counts once it is confirmed by a second look at least so much later.
CONFIRM_SECONDS = 10.0


class Mirror:
    """Keeps projects of upstreams in step, one flight for each project across threads and processes."""

    def __init__(
        self,
        database: Database,
        lookup: Lookup,
        client: UpstreamClient,
        flights: Flights,
        configuration: Configuration,
        arrivals: NewFiles,
        work_came: Callable[[], None],
        *,
        page_deadline: float,
        negative_names: int,
    ) -> None:
        """``work_came`` is told after each look that found files to be stored and checked."""
        self._database = database
        self._lookup = lookup
        self._client = client
        self._flights = flights
        self._configuration = configuration
        self._arrivals = arrivals
        self._work_came = work_came
        self._page_deadline = page_deadline
        self._negative_names = negative_names

    def look(
        self, source: SourceConfig, name: NormalizedName, *, seen: int | None, deadline: float | None = None
    ) -> Look:
        """Look at the upstream's page of a project and record what changed.

        Args:
            seen: when the caller's knowledge of the project dates from (``looked_at``, None for never):
                a look by anybody else since then is as good as this one.
            deadline: seconds to wait; the look goes on when a follower gives up.

        Raises:
            UpstreamError: the upstream could not be asked or not be believed; nothing was changed.
            Busy: somebody else is looking and did not finish in time.
        """
        wait = self._page_deadline if deadline is None else deadline
        look, leading = self._flights.run(
            f"page:{source.id}:{name}", lambda: self._look(source, name, seen, wait), timeout=wait
        )
        return look if leading else Look.SHARED

    def _look(self, source: SourceConfig, name: NormalizedName, seen: int | None, deadline: float) -> Look:
        known = self._lookup.upstream(source.id, name)
        if known is not None and known.looked_at != seen:
            return Look.SHARED
        assert source.endpoint is not None
        etag = known.etag if known is not None and known.state == ProjectState.PRESENT else None
        started = now()
        outcome = self._client.project_page(source.endpoint, name, etag=etag, deadline=deadline)
        if isinstance(outcome, PageFetched):
            self._refuse_stale(source, name, known, outcome.page.serial)
        with self._database.transaction() as tx:
            look, work = self._recorded(tx, source, name, outcome, started)
        if work:
            self._work_came()
        log.info("upstream.look", upstream=source.name, project=name, outcome=str(look))
        return look

    def _refuse_stale(
        self, source: SourceConfig, name: NormalizedName, known: UpstreamLook | None, serial: int | None
    ) -> None:
        """A page with a serial below the stored one comes from a cache that lags (PROTOCOL section 4).

        Or the upstream's serials were reset, which only a person can tell: one event for each such serial,
        and ``koschey upstream reset``.
        """
        stored = known.upstream_serial if known else None
        if stored is None or serial is None or serial >= stored:
            return
        said = select(Event.id).where(
            Event.project == name, Event.action == "project.serial_backwards", Event.after == str(serial)
        )
        with self._database.transaction() as tx:
            if tx.session.scalar(said.limit(1)) is None:
                tx.record(
                    "project.serial_backwards",
                    actor=f"upstream:{source.name}",
                    project=name,
                    before=str(stored),
                    after=str(serial),
                    reason="the stored page stays; were the serials reset? then: koschey upstream reset",
                )
        raise UpstreamInvalid(
            source.name, f"its page of {name} has serial {serial}, older than {stored} seen before"
        )

    def _recorded(
        self, tx: Transaction, source: SourceConfig, name: NormalizedName, outcome: PageOutcome, at: int
    ) -> tuple[Look, bool]:
        """How the look ended, and whether it found work."""
        self._refuse_owned(tx, source, name)
        known = known_project(tx, source.id, name)
        if isinstance(outcome, PageMissing):
            return self._record_missing(tx, source, name, known, at), False
        if isinstance(outcome, PageUnchanged):
            if known is None:
                raise Busy(f"the project {name}")  # it was forgotten while the upstream was asked
            set_project(tx, known.id, looked_at=at, missing_since=None)
            return Look.UNCHANGED, False
        recorder = Recorder(tx, source, name, known, at, self._arrivals)
        return recorder.record(outcome), recorder.work_came

    def _refuse_owned(self, tx: Transaction, source: SourceConfig, name: NormalizedName) -> None:
        """A name that became the company's own while its page was asked for is not recorded.

        Whoever uploads or claims it holds the name, too, so one of the two sees the other.
        """
        tx.lock_name(name)
        having = tx.session.scalars(select(Project.source_id).where(Project.name == name)).all()
        if not self._configuration.may_ask(source.id, name, having, session=tx.session):
            raise NameOwned(source.name, name)

    def _record_missing(
        self, tx: Transaction, source: SourceConfig, name: NormalizedName, known: Known | None, at: int
    ) -> Look:
        if known is None:
            new_project(
                tx,
                source_id=source.id,
                name=name,
                state=ProjectState.ABSENT,
                status="active",
                status_reason=None,
                serial=0,
                first_seen=at,
                looked_at=at,
            )
            self._bound_absent(tx, at)
            return Look.ABSENT
        if known.state != ProjectState.PRESENT:
            set_project(tx, known.id, looked_at=at)
            return Look.ABSENT
        if known.missing_since is None or at - known.missing_since < CONFIRM_SECONDS * 1e6:
            # One 404 for a project that was there may be a cache's or a proxy's mistake.
            set_project(tx, known.id, looked_at=at, missing_since=known.missing_since or at)
            log.warning("upstream.project_missing", upstream=source.name, project=name, confirmed=False)
            return Look.SUSPICIOUS
        set_project(tx, known.id, state=ProjectState.DELETED, looked_at=at, etag=None, upstream_serial=None)
        tx.record(
            "project.deleted_upstream",
            actor=f"upstream:{source.name}",
            project=name,
            before="present",
            after="deleted",
            reason="its page is gone (404, confirmed)",
        )
        tx.session.flush()
        self._arrivals.settle(tx, known.id, actor=f"upstream:{source.name}", at=at)
        log.warning("upstream.project_missing", upstream=source.name, project=name, confirmed=True)
        return Look.CHANGED

    def _bound_absent(self, tx: Transaction, at: int) -> None:
        """Forget the oldest remembered 404s beyond the limit; looked at for one name in a hundred."""
        if at % 100:
            return
        absent = select(Project.id).where(Project.state == ProjectState.ABSENT)
        surplus = absent.order_by(Project.looked_at.desc()).offset(self._negative_names)
        tx.session.execute(delete(Project).where(Project.id.in_(surplus)))
