"""Looking at an upstream's page, and recording what it says: the only writer of outside projects."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from sqlalchemy import delete, select

from koschey.domain.filters import Mode
from koschey.domain.names import NormalizedName
from koschey.errors import NameOwned, UpstreamError, UpstreamInvalid
from koschey.services.configuration import Configuration, SourceConfig
from koschey.services.flights import Flights
from koschey.services.hourly import ASKED, FAILED, UNCHANGED
from koschey.services.looks import Seen, record
from koschey.services.recording import Look
from koschey.services.writes import NewFiles
from koschey.stores.database import Database, Transaction, now
from koschey.stores.lookup import Lookup, UpstreamLook
from koschey.stores.models import Event, Project, ProjectState
from koschey.upstream.client import PageFetched, PageMissing, UpstreamClient

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


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
        note: Callable[[str], None] | None = None,
    ) -> None:
        """``work_came`` is told after each look that found files to be stored and checked.

        ``note`` is told what came of each request, in a word of ``koschey.services.hourly``.
        """
        self._note = note or _silent
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
        try:
            outcome = self._client.project_page(source.endpoint, name, etag=etag, deadline=deadline)
        except UpstreamError:
            self._note(FAILED)
            raise
        self._note(ASKED if isinstance(outcome, (PageFetched, PageMissing)) else UNCHANGED)
        if isinstance(outcome, PageFetched):
            self._refuse_stale(source, name, known, outcome.page.serial)
        with self._database.transaction() as tx:
            recorded = record(tx, source, [Seen(name, outcome, started)], self._arrivals, self._configuration)
            if source.mode is Mode.FULL:
                from koschey.services.sync_file_choice import choose_files  # others need not carry it

                choose_files(tx, source, recorded)
            if isinstance(outcome, PageMissing):
                self._bound_absent(tx, started)
        look = recorded.looks[name]
        if look is Look.OWNED:
            raise NameOwned(source.name, name)
        if recorded.work_came:
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

    def _bound_absent(self, tx: Transaction, at: int) -> None:
        """Forget the oldest remembered 404s beyond the limit; looked at for one name in a hundred."""
        if at % 100:
            return
        absent = select(Project.id).where(Project.state == ProjectState.ABSENT)
        surplus = absent.order_by(Project.looked_at.desc()).offset(self._negative_names)
        tx.session.execute(delete(Project).where(Project.id.in_(surplus)))


def _silent(_: str) -> None:
    """Nobody counts."""
