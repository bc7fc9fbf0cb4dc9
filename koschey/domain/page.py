"""The frozen page: what an index says of a project, and what an upstream said of it.

Times are integers: microseconds since 1970-01-01T00:00:00 UTC.
"""

from __future__ import annotations

import msgspec

Microseconds = int


def offers_metadata(filename: str, advertised: bool | int) -> bool:  # noqa: FBT001 - a column of the row
    """Whether a file's metadata, where it is known, is for installers to resolve by (PEP 658).

    A wheel's is. The PKG-INFO of an sdist may say something else than what is built of it, so it is only
    offered where an upstream does that.
    """
    return bool(advertised) or filename.endswith(".whl")


class ListedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One visible file as an index lists it."""

    filename: str
    path: str
    """Public path below the index's prefix, unquoted: ``/packages/ab/cd/<60 hex>/<filename>``."""
    version: str | None = None
    sha256: str | None = None
    """Lower-case hex, or None while it is not known (``hashes`` is then empty)."""
    size: int | None = None
    """Bytes (PEP 700); None is left out, never ``null``."""
    upload_time: Microseconds | None = None
    """The upstream's own time (PEP 700); None is left out."""
    requires_python: str | None = None
    """PEP 345, as the upstream spells it, valid or not."""
    yanked: bool | str = False
    """PEP 592: False, True, or a non-empty reason."""
    core_metadata: bool | str = False
    """PEP 658/714: False, True (there, digest unknown), or the sha256 of the sidecar."""
    provenance: bool = False
    """PEP 740: whether there is a provenance document."""


class ProjectPage(msgspec.Struct, frozen=True, kw_only=True):
    """A project's page in one index (PEP 503/691), visible files only."""

    name: str
    serial: int
    files: tuple[ListedFile, ...] = ()
    status: str = "active"
    """PEP 792: active, archived, quarantined, deprecated."""
    status_reason: str | None = None
    hidden: int = 0
    """How many files are known and not visible."""


class RootEntry(msgspec.Struct, frozen=True):
    """A project in the root list: name as the project spells it, and its serial."""

    name: str
    serial: int


class RootPage(msgspec.Struct, frozen=True, kw_only=True):
    """The names that an index knows, in order of normalised name."""

    serial: int
    projects: tuple[RootEntry, ...] = ()


class UpstreamFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file as an upstream's page describes it, after validation."""

    filename: str
    url: str
    """Absolute http(s) URL without fragment."""
    version: str | None = None
    sha256: str | None = None
    digest: str | None = None
    """Another digest when there is no sha256: ``algorithm:hex``."""
    size: int | None = None
    upload_time: Microseconds | None = None
    requires_python: str | None = None
    yanked: bool | str = False
    core_metadata: bool | str = False
    provenance: str | None = None
    """Absolute URL of the provenance document."""


class Refusal(msgspec.Struct, frozen=True):
    """An entry of an upstream's page that was not believed, and why."""

    filename: str
    problem: str


class UpstreamPage(msgspec.Struct, frozen=True, kw_only=True):
    """An upstream's project page, parsed and rebuilt; nothing of its text is passed on."""

    name: str
    """Normalised."""
    files: tuple[UpstreamFile, ...] = ()
    serial: int | None = None
    status: str = "active"
    status_reason: str | None = None
    refused: tuple[Refusal, ...] = ()
