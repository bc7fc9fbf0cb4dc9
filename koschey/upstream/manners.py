"""How an upstream wants to be treated: so many requests in a second, and left alone when it says so."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from koschey.errors import UpstreamUnavailable
from koschey.upstream.deadlines import Exchange
from koschey.upstream.endpoint import Endpoint

#: Seconds for which an upstream's word is taken; one that says more may be mistaken.
LONGEST_PAUSE = 3600.0
#: With Retry-After, these statuses ask for patience with the whole upstream (RFC 6585, RFC 9110).
ASKING = frozenset((429, 503))


@dataclass
class Tally:
    """What requests came to, counted by many threads."""

    requests: int = 0
    """Redirects and repetitions included."""
    bytes: int = 0
    """Of bodies, as they came over the wire."""
    unchanged: int = 0
    """Answers of 304."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, requests: int, received: int, *, unchanged: bool = False) -> None:
        """Count one exchange."""
        with self._lock:
            self.requests += requests
            self.bytes += received
            self.unchanged += unchanged

    def taken(self) -> tuple[int, int, int]:
        """Requests, answers of 304 and bytes since this was last asked."""
        with self._lock:
            counted = self.requests, self.unchanged, self.bytes
            self.requests = self.unchanged = self.bytes = 0
        return counted


class Manners:
    """One process's manners towards every upstream, by the upstream's name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next: dict[str, float] = {}
        self._until: dict[str, float] = {}

    def wait(self, endpoint: Endpoint, exchange: Exchange) -> None:
        """Wait for this request's turn.

        Raises:
            UpstreamUnavailable: its turn would come after the exchange's deadline, or the upstream asked to
                be left alone for longer than the exchange may wait.
        """
        rate = endpoint.requests_per_second
        if rate is None and endpoint.name not in self._until:
            return
        at = time.monotonic()
        with self._lock:
            start = max(at, self._until.get(endpoint.name, 0.0))
            bearable = exchange.bears(start - at)
            if rate:
                start = max(start, self._next.get(endpoint.name, 0.0))
            pause = start - at
            bearable = bearable and pause < exchange.left()
            if bearable:
                if rate:
                    self._next[endpoint.name] = start + 1 / rate
                if self._until.get(endpoint.name, start) < at:
                    del self._until[endpoint.name]
        if not bearable:
            problem = f"it asked to be left alone for {pause:.0f} more seconds"
            if start > self._until.get(endpoint.name, 0.0):
                problem = f"{rate:g} requests a second are allowed, and too many wait"
            raise UpstreamUnavailable(endpoint.name, problem, retry_after=pause)
        if pause > 0:
            time.sleep(pause)

    def pause(self, endpoint: Endpoint, seconds: float) -> None:
        """The upstream asked to be left alone for so long (Retry-After, RFC 9110 section 10.2.3)."""
        until = time.monotonic() + min(seconds, LONGEST_PAUSE)
        with self._lock:
            self._until[endpoint.name] = max(until, self._until.get(endpoint.name, 0.0))


def retry_after(value: str | None) -> float | None:
    """Seconds to wait (RFC 9110 section 10.2.3: seconds or a date); None when nothing usable is said."""
    value = (value or "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
