"""Which pages and upstreams failed a moment ago."""

from __future__ import annotations

import threading
import time

#: How long requests stop waiting for an upstream that has just failed, in seconds.
_PATIENCE = 3.0
_LONGEST_PATIENCE = 10.0
#: So many pages that fail without one that works between them are their upstream's outage.
_OUTAGE_PAGES = 3


class Outages:
    """What failed a moment ago: whoever has something stored does not wait for it again.

    A page that fails says something of that page; several in a row, of their upstream. Of an upstream
    that is out, one request at a time finds out whether it is back.
    """

    def __init__(self) -> None:
        self._pages: dict[tuple[int, str], float] = {}
        self._strikes: dict[int, int] = {}
        self._until: dict[int, float] = {}
        self._lock = threading.Lock()

    def failed(self, source_id: int, name: str) -> None:
        """A look at a page failed."""
        at = time.monotonic()
        with self._lock:
            if len(self._pages) > 1000:
                self._pages = {page: until for page, until in self._pages.items() if until > at}
            self._pages[source_id, name] = at + _PATIENCE
            strikes = self._strikes[source_id] = self._strikes.get(source_id, 0) + 1
            if strikes >= _OUTAGE_PAGES:
                self._until[source_id] = at + min(_PATIENCE * strikes / _OUTAGE_PAGES, _LONGEST_PATIENCE)

    def worked(self, source_id: int) -> None:
        """A look at a page of the upstream succeeded."""
        if source_id in self._strikes:
            with self._lock:
                self._strikes.pop(source_id, None)
                self._until.pop(source_id, None)

    def lasting(self, source_id: int, name: str) -> bool:
        """Whether to do without a look; False makes the caller the one that looks."""
        if source_id not in self._strikes:
            return False
        at = time.monotonic()
        with self._lock:
            if self._pages.get((source_id, name), 0.0) > at:
                return True
            until = self._until.get(source_id)
            if until is None:
                return False
            if until <= at:
                self._until[source_id] = at + _LONGEST_PATIENCE
                return False
            return True
