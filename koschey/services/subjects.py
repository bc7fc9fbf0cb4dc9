"""What checks are told about a file besides its bytes: its project, and what came before it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from packaging.version import InvalidVersion, Version
from sqlalchemy import String, bindparam, text

from koschey.checks.comparison import platform
from koschey.checks.subject import Contents, Previous, Subject
from koschey.domain.decisions import canonical
from koschey.domain.names import is_valid_name
from koschey.domain.policy import DAY
from koschey.services.catalog import Catalog
from koschey.services.configuration import Configuration, IndexConfig
from koschey.services.gate import Gate
from koschey.stores.database import Database, now
from koschey.stores.lookup import FileLook

if TYPE_CHECKING:
    from koschey.domain.lookalike import Lookalikes

#: A project whose oldest known file is younger may be somebody's look-alike.
_YOUNG = 90 * DAY
_USED_DAYS = 30
_MOST_USED = 1_000
#: Seconds for which the names that others would like to be mistaken for are remembered.
_NAMES_FOR = 600.0


class Versioned(Protocol):
    """A file, as far as it matters which one another is compared with."""

    @property
    def filename(self) -> str: ...
    @property
    def version(self) -> str | None: ...


class Neighbour(NamedTuple):
    """A file of the same project."""

    id: int
    filename: str
    version: str | None
    sha256: str | None
    size: int | None
    upload_time: int | None
    first_seen: int
    previous_look: int | None
    withdrawn_at: int | None
    checks: str | None
    provenance_url: str | None
    provenance_sha256: str | None
    requires_python: str | None


@dataclass
class _Names:
    """Well-known names, and when (monotonic seconds) they were read."""

    lookalikes: Lookalikes
    at: float


class Subjects:
    """Puts together what the checks of a file are given.

    Args:
        contents: what is in another file, by its id; None when that cannot be had.
    """

    def __init__(
        self,
        database: Database,
        configuration: Configuration,
        gate: Gate,
        catalog: Catalog,
        contents: Callable[[int], Contents | None],
    ) -> None:
        self._database = database
        self._configuration = configuration
        self._gate = gate
        self._catalog = catalog
        self._contents = contents
        self._names: _Names | None = None
        self._guard = threading.Lock()

    def subject(
        self, look: FileLook, path: str, contents: Contents | None, sidecar: str | None, *, compared: bool
    ) -> Subject:
        """What the checks of a stored file are given.

        Args:
            path: where its bytes are on this machine.
            sidecar: sha256 of the METADATA that its upstream advertises.
            compared: whether a check compares it with what came before.
        """
        with self._database.reading() as session:
            rows = session.execute(_NEIGHBOURS, {"project": look.project_id}).all()
        files = [Neighbour(*row) for row in rows]
        own = next((file for file in files if file.id == look.file_id), None)
        since = min(
            (at for f in files for at in (f.upload_time, f.first_seen) if at is not None), default=None
        )
        index = self._index(look) if compared else None
        return Subject(
            path=path,
            filename=look.filename,
            project=look.name,
            version=look.version,
            sha256=look.sha256,
            digest=look.digest,
            size=look.size,
            requires_python=own.requires_python if own else None,
            metadata_sha256=sidecar,
            provenance=_has_provenance(look),
            upload_time=look.upload_time,
            first_seen=look.first_seen,
            project_since=since,
            contents=contents,
            previous=None if index is None else self._previous(look, files, index),
            resembles=self._resembled(look.name) if since is None or now() - since < _YOUNG else None,
            unknown_dependencies=self._unknown(look, index, contents),
        )

    def _index(self, look: FileLook) -> IndexConfig | None:
        """The first index in which the file's project has its name."""
        for index in self._configuration.indexes_of(look.source_id):
            having = self._catalog.having(index.name, look)
            if having is not None:
                return having[0]
        return None

    def _previous(self, look: FileLook, files: Iterable[Neighbour], index: IndexConfig) -> Previous | None:
        judge, at = self._gate.judge(index, look.name, look), now()
        others = [
            file
            for file in files
            if file.version is not None
            and (look.version is None or canonical(file.version) != canonical(look.version))
            and judge.verdict(file, at).visible
        ]
        release = last_release(look.version, others)
        if not release:
            return None
        file = counterpart(look.filename, release)
        shown = file or release[0]
        assert shown.version is not None
        return Previous(
            filename=shown.filename,
            version=shown.version,
            size=shown.size,
            upload_time=shown.upload_time,
            # Some projects attest their wheels only: what counts is the file that this one follows.
            provenance=any(map(_has_provenance, release if file is None else [file])),
            contents=None if file is None else self._contents(file.id),
        )

    def _resembled(self, name: str) -> str | None:
        with self._guard:
            if self._names is None or time.monotonic() - self._names.at > _NAMES_FOR:
                # Heavy, and wanted for young projects only.
                from koschey.domain.lookalike import Lookalikes
                from koschey.domain.widely_used import widely_used

                self._names = _Names(Lookalikes(widely_used() | self._own_names()), time.monotonic())
            return self._names.lookalikes.resembled_by(name)

    def _own_names(self) -> set[str]:
        """Names of the company's own projects, and those that are downloaded most here."""
        used = {"day": now() // DAY - _USED_DAYS, "limit": _MOST_USED}
        with self._database.reading() as session:
            own = session.execute(_HOSTED).scalars()
            return {*own, *session.execute(_MOST_DOWNLOADED, used).scalars()}

    def _unknown(
        self, look: FileLook, index: IndexConfig | None, contents: Contents | None
    ) -> tuple[str, ...]:
        names = required_names(contents.requires_dist) if contents else set()
        if not names or index is None:
            return ()
        from koschey.domain.widely_used import widely_used  # wanted for files with dependencies only

        names -= widely_used() | {look.name}
        if not names:
            return ()
        sources = [source.id for source in index.sources]
        with self._database.reading() as session:
            known = session.execute(_PRESENT, {"names": sorted(names), "sources": sources}).scalars()
            return tuple(sorted(names.difference(known)))


def last_release[F: Versioned](version: str | None, files: Sequence[F]) -> list[F]:
    """The files of the newest version older than ``version``, else of the newest (PEP 440)."""
    by_version: dict[Version, list[F]] = {}
    for file in files:
        if (parsed := _parsed(file.version)) is not None:
            by_version.setdefault(parsed, []).append(file)
    if not by_version:
        return []
    own = _parsed(version)
    older = [other for other in by_version if own is not None and other < own]
    return by_version[max(older or by_version)]


def counterpart[F: Versioned](filename: str, release: Iterable[F]) -> F | None:
    """The file of a release to compare with: of the same kind, and among those the nearest by its tags."""
    kind = _kind(filename)
    alike = [file for file in release if _kind(file.filename) == kind]
    return max(alike, key=lambda file: _nearness(filename, file.filename), default=None)


def _nearness(one: str, other: str) -> tuple[bool, ...]:
    """Sort key: a wheel for another platform is nearer to one for any of them than to pure Python."""
    tags, others = _tags(one), _tags(other)
    return (
        tags == others,
        tags[-1:] == others[-1:],
        platform(one) == platform(other),
        (platform(one) == "any") == (platform(other) == "any"),
        tags[:1] == others[:1],
    )


def required_names(requirements: Iterable[str]) -> set[str]:
    """Normalised names of dependencies that no extra brings in; what cannot be read is left out."""
    # Not wanted by a web process that never checks.
    from koschey.checks.dependencies import required

    return set(filter(is_valid_name, required(requirements)))


def _parsed(version: str | None) -> Version | None:
    try:
        return None if version is None else Version(version)
    except InvalidVersion:
        return None


def _kind(filename: str) -> str:
    """The ending; all sdists are of one kind."""
    ending = filename.rpartition(".")[2].lower()
    return "sdist" if ending in ("gz", "zip", "bz2", "xz", "tgz", "tbz2", "z", "tar") else ending


def _tags(filename: str) -> list[str]:
    """Python, ABI and platform tags of a wheel; of anything else none."""
    return filename[:-4].split("-")[-3:] if filename.endswith(".whl") else []


def _has_provenance(file: Neighbour | FileLook) -> bool:
    return file.provenance_url is not None or file.provenance_sha256 is not None


_NEIGHBOURS = text(
    f"SELECT {', '.join(Neighbour._fields)} FROM file WHERE project_id = :project ORDER BY id"  # noqa: S608 - our own names
)
_HOSTED = text(
    "SELECT p.name FROM project p JOIN source s ON s.id = p.source_id "
    "WHERE s.kind = 'hosted' AND p.state = 'present'"
)
_MOST_DOWNLOADED = text(
    "SELECT p.name FROM download d JOIN file f ON f.id = d.file_id JOIN project p ON p.id = f.project_id "
    "WHERE d.day >= :day GROUP BY p.name ORDER BY sum(d.count) DESC LIMIT :limit"
)
_PRESENT: Any = text(
    "SELECT name FROM project WHERE state = 'present' AND name IN :names AND source_id IN :sources"
).bindparams(bindparam("names", expanding=True, type_=String), bindparam("sources", expanding=True))
