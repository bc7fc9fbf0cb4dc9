"""What reviewers decide by, put together when it is first asked for."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from koschey.web.core import Core

if TYPE_CHECKING:
    from koschey.services.asks import Asks
    from koschey.services.backlog import Backlog
    from koschey.services.bulk import Bulk
    from koschey.services.closure import Closure
    from koschey.services.comparisons import Comparisons
    from koschey.services.deliberation import Deliberation
    from koschey.services.departures import Departures
    from koschey.services.explanations import Explanations
    from koschey.services.metrics import Metrics
    from koschey.services.plots import Plots
    from koschey.services.releases import Releases
    from koschey.services.review import Review
    from koschey.services.review_queue import ReviewQueue
    from koschey.services.waiting import Waiting


class Deciding(Core):
    """The services behind the queue, its decisions, requests and numbers."""

    @cached_property
    def asks(self) -> Asks:
        from koschey.services.asks import Asks

        return Asks(self.database, self.explanations, self.locks, self.queue.submit)

    @cached_property
    def backlog(self) -> Backlog:
        from koschey.services.backlog import Backlog

        return Backlog(self.database)

    @cached_property
    def bulk(self) -> Bulk:
        from koschey.services.bulk import Bulk

        return Bulk(self.database, self.locks, self.review_queue, self.deliberation, self.queue.submit)

    @cached_property
    def closure(self) -> Closure:
        from koschey.services.closure import Closure
        from koschey.services.requirements import Requirements

        return Closure(self.database, self.configuration, Requirements(self.database, self.store))

    @cached_property
    def comparisons(self) -> Comparisons:
        from koschey.services.comparisons import Comparisons

        return Comparisons(
            self.database, self.lookup, self.locks, self.stored_files, self.examiner, self.queue.submit
        )

    @cached_property
    def deliberation(self) -> Deliberation:
        from koschey.services.deliberation import Deliberation

        return Deliberation(self.database, self.configuration, self.review)

    @cached_property
    def departures(self) -> Departures:
        from koschey.services.departures import Departures

        return Departures(self.database)

    @cached_property
    def explanations(self) -> Explanations:
        from koschey.services.explanations import Explanations

        return Explanations(self.database, self.gate, self.catalog, contact=self.settings.contact)

    @cached_property
    def metrics(self) -> Metrics:
        from koschey.services.metrics import Metrics

        return Metrics(self.database, self.tallies)

    @cached_property
    def plots(self) -> Plots:
        from koschey.services.plots import Plots

        return Plots(self.hourly)

    @cached_property
    def releases(self) -> Releases:
        from koschey.services.releases import Releases

        return Releases(self.database)

    @cached_property
    def review(self) -> Review:
        from koschey.services.review import Review

        return Review(self.database, self.configuration, self.holds)

    @cached_property
    def review_queue(self) -> ReviewQueue:
        from koschey.services.review_queue import ReviewQueue

        return ReviewQueue(self.database, self.configuration)

    @cached_property
    def waiting(self) -> Waiting:
        from koschey.services.waiting import Waiting

        return Waiting(self.database, self.configuration)
