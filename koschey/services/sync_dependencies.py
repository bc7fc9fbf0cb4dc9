"""What the names of a seed require: kept as well, round after round, until nothing new comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from packaging.metadata import parse_email
from sqlalchemy import text

from koschey.domain.filters import wanted
from koschey.domain.seeds import Names, extras_of, required
from koschey.errors import KoscheyError, StoreUnavailable
from koschey.services.configuration import SourceConfig
from koschey.services.documents import Documents
from koschey.services.keeping import Keeping
from koschey.services.sync_pass import Stopped
from koschey.stores.database import Database
from koschey.stores.lookup import FileLook, Lookup

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Of each demand on a name so many newest versions are read: an installer that steps back finds its needs.
_VERSIONS = 2


class Dependencies:
    """Reads METADATA of what seeds ask for, and keeps what it requires."""

    def __init__(self, database: Database, lookup: Lookup, keeping: Keeping, documents: Documents) -> None:
        self._database = database
        self._lookup = lookup
        self._keeping = keeping
        self._documents = documents

    def expand(self, source: SourceConfig, stopping: Callable[[], str | None]) -> set[str]:
        """Keep what the names that came without their dependencies require.

        Returns:
            The names that are new, or of which more is asked than before.

        Raises:
            Stopped: ``stopping`` said so. StoreUnavailable.
        """
        new: set[str] = set()
        for name, specifiers in self._keeping.unresolved(source.id).items():
            if problem := stopping():
                raise Stopped("stopped", problem)
            extras = sorted({extra for each in specifiers for extra in extras_of(each)})
            found: Names = {}
            for look in self._read(source, name, specifiers):
                for other, demands in required(self._lines(look), extras, source.filters.pythons).items():
                    known = found.setdefault(other, [])
                    known += [each for each in demands if each not in known]
            new |= self._keeping.add_dependencies(source.id, name, found)
        return new

    def _read(self, source: SourceConfig, name: str, specifiers: list[str]) -> list[FileLook]:
        """The newest wheels of a name that are kept, one of each version."""
        with self._database.reading() as session:
            rows = session.execute(_FILES, {"source_id": source.id, "name": name}).all()
        kept = wanted(source.filters, [_Listed(row) for row in rows], specifiers)
        byversion: dict[str, _Listed] = {}
        for file in kept:
            if file.filename.endswith(".whl") and file.version is not None and file.metadata:
                byversion.setdefault(file.version, file)
        from packaging.version import InvalidVersion, Version

        def order(version: str) -> Version:
            try:
                return Version(version)
            except InvalidVersion:
                return Version("0.dev0")

        newest = sorted(byversion, key=order, reverse=True)[:_VERSIONS]
        looks = (self._lookup.file(byversion[version].id) for version in newest)
        return [look for look in looks if look is not None]

    def _lines(self, look: FileLook) -> list[str]:
        try:
            raw, _ = parse_email(self._documents.metadata(look))
        except StoreUnavailable:
            raise
        except KoscheyError as error:
            log.warning("sync.metadata_failed", filename=look.filename, problem=str(error))
            return []
        return raw.get("requires_dist", [])


class _Listed:
    """A file as the filters look at it."""

    def __init__(self, row: Any) -> None:
        self.id: int = row.id
        self.filename: str = row.filename
        self.version: str | None = row.version
        self.size: int | None = row.size
        self.requires_python: str | None = row.requires_python
        self.yanked: bool = bool(row.yanked)
        self.metadata: bool = bool(row.metadata_stored or row.metadata_advertised)


_FILES = text(
    "SELECT f.id, f.filename, f.version, f.size, f.requires_python, f.yanked, f.metadata_stored, "
    "f.metadata_advertised FROM file f JOIN project p ON p.id = f.project_id "
    "WHERE p.source_id = :source_id AND p.name = :name AND f.withdrawn_at IS NULL ORDER BY f.id"
)
