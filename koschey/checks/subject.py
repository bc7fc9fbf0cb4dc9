"""What a check is given: one stored file, what was found in it, and what came before it.

All of it crosses a process boundary as JSON. Times are microseconds since 1970, UTC; sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from koschey.domain.page import Microseconds


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in an archive, in bounded lists; what later releases are compared with.

    So names of entries are without what changes from version to version: an sdist's top folder is left out,
    and a wheel's ``NAME-VERSION.data/`` is ``.data/``.
    """

    startup: tuple[str, ...] = ()
    """Entries that Python runs by itself at its start: ``*.pth`` that import, ``sitecustomize``, …"""
    startup_digests: Mapping[str, str] = {}
    """sha256 of each of these entries, of its first megabyte where it is longer."""
    namespaces: tuple[str, ...] = ()
    """Those of these entries that only set up a namespace package, as setuptools writes them."""
    build_scripts: tuple[str, ...] = ()
    """Entries that an installation from this source archive runs: ``setup.py``, an in-tree build backend."""
    build_backend: str | None = None
    entry_points: tuple[str, ...] = ()
    """``group:name``, and ``scripts:name`` for files of a wheel's ``.data/scripts``."""
    native: tuple[str, ...] = ()
    """Compiled code: shared libraries, executables, by what the first bytes say."""
    name: str | None = None
    version: str | None = None
    requires_python: str | None = None
    requires_dist: tuple[str, ...] = ()
    """Dependencies as METADATA spells them; an sdist's when its PKG-INFO has them."""
    entries: int = 0
    unpacked: int = 0
    """Bytes of all entries, unpacked."""


class Previous(msgspec.Struct, frozen=True, kw_only=True):
    """The file of the last visible version that this one is compared with."""

    filename: str
    version: str
    size: int | None = None
    upload_time: Microseconds | None = None
    provenance: bool = False
    """Whether that file has a provenance document; when none is of this kind, any of its version."""
    contents: Contents | None = None
    """None: it could not be read."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """The file that is checked."""

    path: str
    """Where its bytes are, on this machine; never run, never imported."""
    filename: str
    project: str
    """Normalised name."""
    version: str | None = None
    sha256: str | None = None
    """What its upstream promised, or what was measured when it promised none."""
    digest: str | None = None
    """``algorithm:hex`` that the upstream gave in place of a sha256."""
    size: int | None = None
    """What the upstream promised."""
    requires_python: str | None = None
    """As the upstream's page says it."""
    metadata_sha256: str | None = None
    """Of the sidecar that the upstream advertises (PEP 658); None: none, or without a digest."""
    provenance: bool = False
    upload_time: Microseconds | None = None
    first_seen: Microseconds = 0
    project_since: Microseconds | None = None
    """The oldest time known of any file of the project, this one included."""
    contents: Contents | None = None
    previous: Previous | None = None
    """None: no other version is visible."""
    resembles: str | None = None
    """A private or widely used name that the project's could be mistaken for."""
    unknown_dependencies: tuple[str, ...] = ()
    """Names among the dependencies that this index has never seen and that are not widely used."""
