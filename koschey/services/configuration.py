"""The indexes and their sources, as a process last read them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from koschey.errors import NotFound
from koschey.stores.database import CONFIGURATION, Database
from koschey.stores.models import Counter, IndexRow, IndexSource, Source, SourceKind
from koschey.upstream.endpoint import Endpoint

MAIN = "main"


@dataclass(frozen=True)
class SourceConfig:
    """A source as an index uses it. ``endpoint`` is None for a hosted one."""

    id: int
    name: str
    kind: SourceKind
    refresh_seconds: float
    endpoint: Endpoint | None


@dataclass(frozen=True)
class IndexConfig:
    """An index: its sources in order, hosted ones first."""

    id: int
    name: str
    hold_days: float
    sources: tuple[SourceConfig, ...]

    @property
    def prefix(self) -> str:
        """Path prefix of the index: empty for ``main``."""
        return "" if self.name == MAIN else f"/{self.name}"


class Configuration:
    """The indexes as this process last read them; read again when the configuration number moved."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._number = -1
        self._indexes: dict[str, IndexConfig] = {}
        self._sources: dict[int, SourceConfig] = {}

    def index(self, name: str, number: int | None = None) -> IndexConfig:
        """The index of that name. ``number``: the configuration number just read, if the caller has it.

        Raises:
            NotFound: there is no such index.
        """
        self._refresh(number)
        try:
            return self._indexes[name]
        except KeyError:
            raise NotFound("index", name) from None

    def indexes(self) -> list[IndexConfig]:
        """All indexes by name."""
        self._refresh(None)
        return sorted(self._indexes.values(), key=lambda index: index.name)

    def source(self, source_id: int) -> SourceConfig:
        """One source by its id, as of the last look at an index or file. Raises: NotFound."""
        if source_id not in self._sources:
            self._refresh(None)
        try:
            return self._sources[source_id]
        except KeyError:
            raise NotFound("source", str(source_id)) from None

    def upstreams(self) -> list[SourceConfig]:
        """All upstreams by name."""
        self._refresh(None)
        return sorted((s for s in self._sources.values() if s.endpoint), key=lambda source: source.name)

    def _refresh(self, number: int | None) -> None:
        if number is not None and number == self._number:
            return
        with self._lock, self._database.reading() as session:
            stored = session.execute(select(Counter.value).where(Counter.name == CONFIGURATION)).scalar_one()
            if stored == self._number:
                return
            sources = {row.id: _source_config(row) for row in session.scalars(select(Source))}
            members = session.execute(
                select(IndexSource.index_id, IndexSource.source_id).order_by(IndexSource.position)
            ).all()
            self._indexes = {
                row.name: IndexConfig(
                    id=row.id,
                    name=row.name,
                    hold_days=row.hold_days,
                    sources=_in_order([sources[s] for i, s in members if i == row.id]),
                )
                for row in session.scalars(select(IndexRow))
            }
            self._sources = sources
            self._number = stored


def _in_order(sources: Sequence[SourceConfig]) -> tuple[SourceConfig, ...]:
    return tuple(sorted(sources, key=lambda source: source.kind != SourceKind.HOSTED))


def _source_config(row: Source) -> SourceConfig:
    endpoint = None
    if row.kind == SourceKind.UPSTREAM:
        assert row.url is not None
        endpoint = Endpoint(
            name=row.name,
            url=row.url,
            username=row.username,
            password=row.password,
            token=row.token,
            ca_file=row.ca_file,
            proxy=row.proxy,
            internal=row.internal,
        )
    return SourceConfig(row.id, row.name, SourceKind(row.kind), row.refresh_seconds, endpoint)
