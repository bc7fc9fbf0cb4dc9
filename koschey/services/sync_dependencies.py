"""What the names of a seed require: kept as well, round after round, until nothing new comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from packaging.metadata import parse_email
from sqlalchemy import text

from koschey.domain.filters import wanted
from koschey.domain.seeds import Names, extras_of, required
from koschey.errors import KoscheyError, StoreUnavailable
from koschey.services.configuration import SourceConfig
from koschey.services.contents import StoredFiles
from koschey.services.documents import Documents
from koschey.services.keeping import Keeping
from koschey.services.scope import version_key
from koschey.services.sync_pass import Stopped
from koschey.services.sync_progress import Counted, count
from koschey.stores.database import Database
from koschey.stores.lookup import Lookup
from koschey.upstream.manners import Tally

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Of each demand on a name so many newest versions are read: an installer that steps back finds its needs.
_VERSIONS = 2


@dataclass(frozen=True)
class Told:
    """What one run has found out so far, so that no round asks again."""

    demands: dict[str, list[str]] = field(default_factory=dict)
    """Names of which it was read what they require, with what was asked of them then."""
    unread: dict[int, str] = field(default_factory=dict)
    """Ids and names of files of which it cannot be told."""


class Dependencies:
    """Reads METADATA of what seeds ask for, and keeps what it requires."""

    def __init__(
        self,
        database: Database,
        lookup: Lookup,
        keeping: Keeping,
        documents: Documents,
        stored_files: StoredFiles,
    ) -> None:
        self._database = database
        self._lookup = lookup
        self._keeping = keeping
        self._documents = documents
        self._stored_files = stored_files

    def expand(self, source: SourceConfig, stopping: Callable[[], str | None], told: Told) -> set[str]:
        """Keep what the names that came without their dependencies require.

        Args:
            told: is added to.

        Returns:
            The names that are new, or of which more is asked than before.

        Raises:
            Stopped: ``stopping`` said so. StoreUnavailable.
        """
        new: set[str] = set()
        tally = Tally()
        try:
            for name, specifiers in self._keeping.unresolved(source.id).items():
                if told.demands.get(name) == specifiers:
                    continue
                if problem := stopping():
                    raise Stopped("stopped", problem)
                required_of = self._required(source, name, specifiers, told, tally)
                new |= self._keeping.add_dependencies(source.id, name, required_of)
        finally:
            requests, unchanged, received = tally.taken()
            if requests:
                with self._database.transaction() as tx:
                    counted = Counted(requests=requests, unchanged=unchanged, bytes=received)
                    count(tx, source.id, counted)
        return new

    def _required(
        self,
        source: SourceConfig,
        name: str,
        specifiers: list[str],
        told: Told,
        tally: Tally,
    ) -> Names:
        extras = sorted({extra for each in specifiers for extra in extras_of(each)})
        found: Names = {}
        for file in self._newest(source, name, specifiers):
            told.demands[name] = specifiers
            lines = None if file.id in told.unread else self._lines(file, tally)
            if lines is None:
                told.unread[file.id] = file.filename
                continue
            for other, demands in required(lines, extras, source.filters.pythons).items():
                known = found.setdefault(other, [])
                known += [each for each in demands if each not in known]
        return found

    def _newest(self, source: SourceConfig, name: str, specifiers: Sequence[str]) -> list[_Listed]:
        """Of each demand on a name a file of each of the newest versions that are kept."""
        with self._database.reading() as session:
            rows = session.execute(_FILES, {"source_id": source.id, "name": name}).all()
        listed = [_Listed(row) for row in rows]
        chosen: dict[str, _Listed] = {}
        for specifier in specifiers:
            versions: dict[str, _Listed] = {}
            for file in sorted(wanted(source.filters, listed, [specifier]), key=lambda file: file.cost):
                if file.version is not None:
                    versions.setdefault(file.version, file)
            for version in sorted(versions, key=version_key, reverse=True)[:_VERSIONS]:
                chosen.setdefault(version, versions[version])
        return list(chosen.values())

    def _lines(self, file: _Listed, tally: Tally) -> list[str] | None:
        """What a file requires; None when it cannot be told.

        Where its upstream has no METADATA beside it, the file is stored and looked into.
        """
        if file.metadata and (look := self._lookup.file(file.id)) is not None:
            try:
                raw, _ = parse_email(self._documents.metadata(look, tally))
                return raw.get("requires_dist", [])
            except StoreUnavailable:
                raise
            except KoscheyError as error:
                log.warning("sync.metadata_failed", filename=file.filename, problem=str(error))
        contents = self._stored_files.contents(file.id, tally)
        return None if contents is None or contents.name is None else list(contents.requires_dist)


class _Listed:
    """A file as the filters look at it."""

    def __init__(self, row: Any) -> None:
        self.id: int = row.id
        self.filename: str = row.filename
        self.version: str | None = row.version
        self.size: int | None = row.size
        self.requires_python: str | None = row.requires_python
        self.yanked: bool = bool(row.yanked)
        self.metadata: bool = bool(row.metadata_stored or row.metadata_advertised) and row.filename.endswith(
            ".whl"
        )

    @property
    def cost(self) -> tuple[bool, bool, int]:
        """Of telling what it requires; least where METADATA lies beside it, and of sdists most."""
        return not self.metadata, not self.filename.endswith(".whl"), self.size or 0


_FILES = text(
    "SELECT f.id, f.filename, f.version, f.size, f.requires_python, f.yanked, f.metadata_stored, "
    "f.metadata_advertised FROM file f JOIN project p ON p.id = f.project_id "
    "WHERE p.source_id = :source_id AND p.name = :name AND f.withdrawn_at IS NULL ORDER BY f.id"
)
