"""Where redirects lead, and which of them are not followed."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urljoin

from koschey.errors import UpstreamRefused
from koschey.upstream.endpoint import Endpoint
from koschey.upstream.urls import Target, parsed, shown

#: Statuses that are followed, all by GET (RFC 9110 section 15.4).
REDIRECTS = frozenset((301, 302, 303, 307, 308))


class Way:
    """One call's way from its URL on, hop by hop.

    Args:
        endpoint: for which the call is.
        url: where it begins.
        most: how many redirects it follows.

    Attributes:
        target: where it has come to.
    """

    def __init__(self, endpoint: Endpoint, url: str, most: int) -> None:
        self.target = target_of(endpoint, url)
        self._endpoint = endpoint
        self._url = url
        self._most = most
        self._seen = {self.target.url}

    def follow(self, location: str) -> None:
        """Go on to ``location``, a header as http.client reads it: in Latin-1, whatever it is.

        Raises:
            UpstreamRefused: it leads to nothing readable, away from TLS, in a circle, or on and on.
        """
        here = shown(self.target.url)
        following = self._following(location)
        if self.target.origin.scheme == "https" and following.origin.scheme == "http":
            raise UpstreamRefused(self._endpoint.name, f"{here} redirects from https to http")
        if following.url in self._seen:
            raise UpstreamRefused(self._endpoint.name, f"{here} redirects in a circle")
        if len(self._seen) > self._most:
            problem = f"{shown(self._url)} redirects more than {self._most} times"
            raise UpstreamRefused(self._endpoint.name, problem)
        self._seen.add(following.url)
        self.target = following

    def _following(self, location: str) -> Target:
        with suppress(UnicodeError):
            location = location.encode("latin-1").decode()
        try:
            return target_of(self._endpoint, urljoin(self.target.url, location))
        except ValueError:  # urljoin: brackets that are no IPv6 address
            problem = f"{shown(self.target.url)} redirects to something unreadable"
            raise UpstreamRefused(self._endpoint.name, problem) from None


def target_of(endpoint: Endpoint, url: str) -> Target:
    """What a URL names. Raises: UpstreamRefused: nothing that may be asked for."""
    try:
        return parsed(url)
    except ValueError as error:
        raise UpstreamRefused(endpoint.name, f"{shown(url)[:200]!r}: {error}") from None
