"""How an upstream wants to be treated: so many requests in a second, and left alone when it says so."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from koschey.errors import UpstreamUnavailable
from koschey.upstream.deadlines import Exchange
from koschey.upstream.endpoint import Endpoint
from koschey.upstream.pace import Pace
from koschey.upstream.urls import shown

#: Seconds for which an upstream's word is taken; one that says more may be mistaken.
LONGEST_PAUSE = 3600.0
#: With Retry-After, these statuses ask for patience (RFC 6585, RFC 9110).
ASKING = frozenset((429, 503))
#: Of so many of its last answers, such a part that asks for peace, of several pages or files, is the
#: upstream's word.
_HEARD, _PART, _SEVERAL = 20, 0.25, 3
#: Pages and files that are left alone by themselves.
_MOST_APART = 10_000


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
    """One process's manners towards every upstream, by the upstream's name; the pace may be that of several.

    Retry-After (RFC 9110 section 10.2.3) comes from a server that is too busy, or from one broken page of a
    server that is not. It is taken for the whole upstream when its root list says so. It is taken for a whole
    host when several of its pages or files say so and are no small part of what it answered lately: files
    may be at several hosts. Else it is taken for the one that said it.
    """

    def __init__(self, pace: Pace | None = None) -> None:
        """
        Args:
            pace: shared with whom the requests in a second are; None: with nobody.
        """
        self._lock = threading.Lock()
        self._pace = pace or Pace()
        self._until: dict[tuple[str, str], float] = {}
        self._until_of: dict[tuple[str, str], float] = {}
        self._heard: dict[tuple[str, str], deque[str | None]] = defaultdict(lambda: deque(maxlen=_HEARD))

    def wait(self, endpoint: Endpoint, url: str, exchange: Exchange) -> None:
        """Wait for the turn of a request for ``url``.

        Raises:
            UpstreamUnavailable: its turn would come after the exchange's deadline, or the upstream asked to
                be left alone for longer than the exchange may wait.
        """
        name, rate = endpoint.name, endpoint.requests_per_second
        if rate is None and not self._until and not self._until_of:
            return
        at = time.monotonic()
        keys = (name, _EVERYWHERE), (name, _host(url))
        with ExitStack() as stack:
            turn = stack.enter_context(self._pace.turn(name)) if rate else None
            stack.enter_context(self._lock)
            whole = max(self._until.get(key, 0.0) for key in keys)
            asked = max(whole, self._until_of.get((name, url), 0.0))
            start = max(at, asked)
            bearable = exchange.bears(start - at)
            if turn:
                start = max(start, turn.at)
            pause = start - at
            bearable = bearable and pause < exchange.left()
            if bearable:
                if rate and turn:
                    turn.at = start + 1 / rate
                for key in keys:
                    if self._until.get(key, start) < at:
                        del self._until[key]
        if not bearable:
            who = shown(url)
            if whole >= asked:
                who = "it" if keys[1] == (name, _host(endpoint.url)) else _host(url)
            problem = f"{who} asked to be left alone for {pause:.0f} more seconds"
            if start > asked:
                problem = f"{rate:g} requests a second are allowed, and too many wait"
            is_whole = whole >= asked or start > asked
            raise UpstreamUnavailable(name, problem, retry_after=pause, whole=is_whole)
        if pause > 0:
            time.sleep(pause)

    def answered(self, endpoint: Endpoint, url: str) -> None:
        """The upstream answered as it should when it was asked for ``url``."""
        self._heard[endpoint.name, _host(url)].append(None)

    def pause(self, endpoint: Endpoint, url: str, seconds: float, *, apart: bool = False) -> bool:
        """It asked to be left alone for so long when asked for ``url``; whether all of that host is to be.

        Args:
            apart: what failed before: it says nothing of the upstream.
        """
        at = time.monotonic()
        until = at + min(seconds, LONGEST_PAUSE)
        with self._lock:
            if len(self._until_of) >= _MOST_APART:
                self._until_of = {key: end for key, end in self._until_of.items() if end > at}
            if len(self._until_of) < _MOST_APART:
                self._until_of[endpoint.name, url] = until
            heard = self._heard[endpoint.name, _host(url)]
            if not apart:
                heard.append(url)
            asking = [each for each in heard if each is not None]
            many = len(set(asking)) >= _SEVERAL and len(asking) >= _PART * len(heard)
            root = url == endpoint.url
            whole = root or (many and not apart)
            if whole:
                key = endpoint.name, _EVERYWHERE if root else _host(url)
                self._until[key] = max(until, self._until.get(key, 0.0))
        return whole


#: In the place of a host.
_EVERYWHERE = ""


def _host(url: str) -> str:
    """Host and port, as the URL has them."""
    return url.split("/", 3)[2]


def retry_after(value: str | None) -> float | None:
    """Seconds to wait (RFC 9110 section 10.2.3: seconds or a date); None when nothing usable is said."""
    value = (value or "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
