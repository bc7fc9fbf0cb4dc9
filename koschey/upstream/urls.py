"""Outgoing URLs: what is accepted, whose origin they are of, and how they are shown without secrets."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
# Everything that two URL parsers could understand differently is refused, for the origin decides about
# credentials here and about the connection in urllib3.
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|[0-9a-f:.]+", re.ASCII)
#: What stands in a URL for itself, and the sign of what is quoted already (RFC 3986 section 2).
_AS_IT_IS = "!#$%&'()*+,/:;=?@[]~"
#: Lower case, no user information, query or fragment, nothing to quote; a port that cannot be too large.
_PLAIN = re.compile(
    r"(https?)://([a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?)(?::([1-9][0-9]{0,3}|[1-5][0-9]{4}))?"
    r"(/[A-Za-z0-9_.~!$&'()*+,/:;=@%-]*)",
    re.ASCII,
)
_NEVER = re.compile(r"[\x00-\x20\x7f\\]")


class Origin(NamedTuple):
    """Scheme, host and port (RFC 6454), in lower case and with the port spelled out."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """Host, and the port where it is not the scheme's own, as the Host header has it (RFC 9110)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


class Target(NamedTuple):
    """A URL that may be asked for: quoted, without user information and fragment."""

    url: str
    origin: Origin


def parsed(url: str) -> Target:
    """The target that ``url`` means. Raises: ValueError, with a sentence that shows no part of the URL."""
    if plain := _PLAIN.fullmatch(url):  # what nearly all are, for which a parser takes ten times as long
        scheme, host, given, path = plain.groups()
        origin = Origin(scheme, host, int(given) if given else _DEFAULT_PORTS[scheme])
        return Target(f"{origin}{path}", origin)
    if _NEVER.search(url):
        raise ValueError("a URL with blanks, control characters or backslashes is not followed")
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        raise ValueError("only http and https URLs are followed")
    host = (parts.hostname or "").removesuffix(".")
    try:
        host = host if host.isascii() else host.encode("idna").decode()
        port = parts.port or _DEFAULT_PORTS[scheme]
    except ValueError:
        host = ""
    if not _HOST.fullmatch(host):
        raise ValueError("a URL without a proper host and port is not followed")
    origin = Origin(scheme, host, port)
    rest = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_AS_IT_IS)
    return Target(f"{origin}{rest}", origin)


def shown(url: str) -> str:
    """``url`` for messages: no user information, and a query only hinted at."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "an unreadable URL"
    return urlunsplit((parts.scheme, host, parts.path, "…" if parts.query else "", ""))
