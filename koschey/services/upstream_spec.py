"""What a person says of an upstream: checked, kept in its row, and told without its secrets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy.orm import Session

from koschey.errors import RequestInvalid
from koschey.stores.database import now
from koschey.stores.models import Source, SourceKind

#: Characters of a path that an error repeats.
_LONGEST_PATH = 200


@dataclass(frozen=True)
class UpstreamSpec:
    """What a person says of an upstream; None leaves a value as it is, an empty string takes it away."""

    url: str | None = None
    username: str | None = None
    password: str | None = None
    token: str | None = None
    ca_file: str | None = None
    proxy: str | None = None
    internal: bool | None = None
    refresh_seconds: float | None = None


def new_upstream(session: Session, name: str, spec: UpstreamSpec) -> Source:
    """A new upstream, in no index yet. Raises: RequestInvalid."""
    if not spec.url:
        raise RequestInvalid("an upstream needs a URL, such as https://packages.example/simple/")
    row = Source(name=name, kind=SourceKind.UPSTREAM, created_at=now())
    apply(row, spec)
    session.add(row)
    return row


def apply(row: Source, spec: UpstreamSpec) -> bool:
    """Copy what was said into the row; returns whether the address changed. Raises: RequestInvalid."""
    moved = False
    if spec.url is not None:
        spec = _with_url_credentials(spec)
        moved = row.url is not None and row.url != spec.url
        if row.url is not None and _origin(row.url) != _origin(spec.url or ""):
            row.username = row.password = row.token = None  # they were for the other host, and stay secret
        row.url = spec.url
    for name in ("username", "password", "token", "ca_file", "proxy"):
        value = getattr(spec, name)
        if value is not None:
            setattr(row, name, value or None)
    if row.ca_file and not _is_file(row.ca_file):
        raise RequestInvalid(f"CA file {row.ca_file[:_LONGEST_PATH]} is not there or is no file")
    if spec.proxy:
        _check_proxy(spec.proxy)
    if row.token and (row.username or row.password):
        raise RequestInvalid("an upstream takes a user and password, or a token, not both")
    if spec.internal is not None:
        row.internal = spec.internal
    if spec.refresh_seconds is not None:
        row.refresh_seconds = _finite("refresh seconds", spec.refresh_seconds)
    return moved


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # longer than a path can be; not to be looked at by us
        return False


def _check_proxy(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise RequestInvalid("a proxy is an http:// or https:// URL with a host")


def _finite(what: str, number: float) -> float:
    if not (isfinite(number) and number >= 0):
        raise RequestInvalid(f"{what}: a number, 0 or more")
    return number


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def _with_url_credentials(spec: UpstreamSpec) -> UpstreamSpec:
    """Check the URL, end it in a slash, and move credentials out of it to where they are kept secret."""
    assert spec.url is not None
    try:
        parts = urlsplit(spec.url.strip())
        _ = parts.port
    except ValueError as error:
        raise RequestInvalid(f"not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RequestInvalid("an upstream's URL begins with http:// or https:// and names a host")
    if parts.query or parts.fragment:
        raise RequestInvalid("an upstream's URL has no query and no fragment")
    if parts.username is not None and spec.username is None:
        spec = replace(spec, username=parts.username, password=parts.password or "")
    netloc = parts.netloc.rpartition("@")[2]
    path = parts.path if parts.path.endswith("/") else parts.path + "/"
    return replace(spec, url=f"{parts.scheme}://{netloc}{path}")


def without_userinfo(url: str) -> str:
    """The URL with user and password masked, for people to read."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2]).geturl()


def masked(row: Source) -> str:
    """The row in one line for the audit; of secrets, that they are set."""
    secrets = [name for name in ("password", "token") if getattr(row, name)]
    parts = [f"url={row.url}", f"internal={row.internal}", f"refresh_seconds={row.refresh_seconds:g}"]
    if row.username:
        parts.append(f"username={row.username}")
    if row.ca_file:
        parts.append(f"ca_file={row.ca_file}")
    if row.proxy:
        parts.append(f"proxy={without_userinfo(row.proxy)}")
    return " ".join(parts + [f"{name}=***" for name in secrets])
