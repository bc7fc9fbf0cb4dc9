"""Asking for the page of a project that is due, past caches that have an older one."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from koschey.domain.names import NormalizedName
from koschey.errors import NameOwned, UpstreamError
from koschey.services.configuration import SourceConfig
from koschey.services.looks import Recorded, Seen
from koschey.services.recording import Look
from koschey.services.sync_due import DueProject
from koschey.stores.database import now
from koschey.stores.models import ProjectState
from koschey.upstream.client import PageFetched, PageOutcome, PageUnchanged, Permit, UpstreamClient
from koschey.upstream.manners import Tally

#: Tries for a page that is older than the root list says, and the pause before each, in seconds.
_STALE_TRIES = 2
_STALE_SECONDS = 0.5
#: Looks after which a project is due no more.
_SETTLED = frozenset([Look.CHANGED, Look.UNCHANGED, Look.ABSENT, Look.OWNED])
#: What is said of the others.
_UNBELIEVED = {
    Look.SUSPICIOUS: "its page is gone, or has none of its many files any more; what is stored stays",
    Look.STALE: "its page is older than the one that is known; what is stored stays",
}


@dataclass(frozen=True)
class Answer:
    """What came of asking for a page: an answer or a problem."""

    due: DueProject
    seen: Seen | None
    problem: UpstreamError | None = None
    stale: bool = False
    """Whether the page is older than the root list says, however it was asked for."""

    @property
    def host(self) -> str:
        """As of the project."""
        return self.due.host

    @property
    def files(self) -> int:
        """How many files its page has."""
        outcome = None if self.seen is None else self.seen.outcome
        return len(outcome.page.files) if isinstance(outcome, PageFetched) else 0

    def left(self, recorded: Recorded) -> str | None:
        """Why its project stays due once that was recorded, None when it does not."""
        if self.problem is not None:
            return None if isinstance(self.problem, NameOwned) else str(self.problem)
        look = recorded.looks[self.due.name]
        if self.stale and look in (Look.CHANGED, Look.UNCHANGED):
            return f"its page is older than serial {self.due.serial} of the root list"
        if look is Look.SHARED:
            return None if self.due.serial is None else "it was looked at from elsewhere meanwhile"
        return None if look in _SETTLED else _UNBELIEVED[look]


class Asking:
    """Asks for single pages. ``deadline``: of one, in seconds."""

    def __init__(self, client: UpstreamClient, *, deadline: float) -> None:
        self._client = client
        self._deadline = deadline

    def ask(
        self, source: SourceConfig, due: DueProject, permit: Permit, tally: Tally, ending: threading.Event
    ) -> Answer:
        """Ask for a page, again when a cache on the way has an older one; ``ending``: no further request."""
        assert source.endpoint is not None
        name = NormalizedName(due.name)
        etag, past_caches = due.etag if due.state == ProjectState.PRESENT else None, False
        for attempt in range(_STALE_TRIES + 1):
            if ending.is_set():
                return Answer(due, None, UpstreamError(source.name, "the sync ended before it was asked"))
            at = now()
            try:
                outcome = self._client.project_page(
                    source.endpoint,
                    name,
                    etag=etag,
                    deadline=self._deadline,
                    past_caches=past_caches,
                    apart=due.attempts > 0,
                    permit=permit,
                    tally=tally,
                )
            except UpstreamError as error:
                return Answer(due, None, error)
            stale = _is_stale(due, outcome)
            if not stale or attempt == _STALE_TRIES:
                break
            etag, past_caches = None, True
            if isinstance(outcome, PageFetched):
                time.sleep(_STALE_SECONDS)
        seen = Seen(name, outcome, at, due.serial, unlisted=due.why == "unlisted")
        return Answer(due, seen, stale=stale)


def _is_stale(due: DueProject, outcome: PageOutcome) -> bool:
    """Whether a cache on the way answered with an older page than the root list promises."""
    if due.serial is None:
        return False
    if isinstance(outcome, PageUnchanged):
        return (due.synced or 0) < due.serial
    return (
        isinstance(outcome, PageFetched)
        and outcome.page.serial is not None
        and outcome.page.serial < due.serial
    )
