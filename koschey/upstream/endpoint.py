"""How to reach an upstream."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import urlsplit

from koschey.errors import RequestInvalid
from koschey.upstream.urls import Origin, parsed, shown


@dataclass(frozen=True)
class Endpoint:
    """An upstream as its operator described it. Project pages live at ``url`` + name + ``/``.

    Raises:
        RequestInvalid: ``url`` is not an http(s) URL, or carries a user name or password.
    """

    name: str
    url: str
    """Always with a trailing slash; one is added when it is missing."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    """Sent as ``Authorization: Bearer``; goes before user name and password."""
    ca_file: str | None = None
    """PEM file or folder of the certification authorities to accept, instead of the usual ones."""
    proxy: str | None = field(default=None, repr=False)  # may carry a password
    """URL of a proxy; empty: none; None: what HTTP_PROXY, HTTPS_PROXY and NO_PROXY say."""
    internal: bool = False
    """The operator declares that pages may point to private and loopback addresses too."""
    requests_per_second: float | None = None
    """So many of this process at the most; None: no limit."""
    paused: str | None = None
    """Why a person has it left alone: nothing is asked of it. None: it may be asked."""

    def __post_init__(self) -> None:
        if not self.url.endswith("/"):
            object.__setattr__(self, "url", self.url + "/")
        try:
            parsed(self.url)
        except ValueError as error:
            raise RequestInvalid(f"upstream {self.name}: {shown(self.url)}: {error}") from None
        if "@" in urlsplit(self.url).netloc:
            raise RequestInvalid(
                f"upstream {self.name}: give user name and password apart from {shown(self.url)}"
            )

    @cached_property
    def origin(self) -> Origin:
        """The only place that ever sees the credentials."""
        return parsed(self.url).origin

    @cached_property
    def authorization(self) -> str | None:
        """Value of the Authorization header (RFC 6750, RFC 7617), or None."""
        if self.token is not None:
            return f"Bearer {self.token}"
        if self.username is None:
            return None
        return "Basic " + b64encode(f"{self.username}:{self.password or ''}".encode()).decode()
