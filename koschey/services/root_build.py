"""Building the root lists of indexes with many names: by a job, and only what changed since the last time.

A list lies in the database as chunks of some hundred names each, compressed so that they can be sent as they
are. A build writes the chunks in which a name changed; ``RootList`` puts them together. Small lists are not
built at all: they are made when they are asked for.
"""

from __future__ import annotations

import secrets
import time
import zlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

import structlog
from sqlalchemy import Connection, bindparam, text

from koschey.domain.negotiation import Representation
from koschey.domain.page import RootEntry
from koschey.domain.simple_api import read_entries, render_entries
from koschey.errors import Busy
from koschey.services.configuration import Configuration, IndexConfig
from koschey.services.known import batches
from koschey.services.root_names import Name, listed
from koschey.stores.database import Database, now
from koschey.stores.locks import Locks

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Up to so many projects in its sources, a list is made in the request that asks for it.
SMALL = 5_000
#: The mark of a list that is being built for the first time, and has no bytes yet.
ANNOUNCED = ""
#: Names of a new chunk; one that has twice as many is split.
_NAMES = 500
#: With 6, a chunk is a hundredth smaller, and takes twice as long to write.
_LEVEL = 4
#: Changed names, of which there are more than a part of all: building from the beginning is cheaper.
_FEW = 0.2


class Chunk(NamedTuple):
    """A chunk as it is stored."""

    first: str
    names: int
    body: bytes


class Built(NamedTuple):
    """The stored list of an index."""

    serial: int
    sources: str
    names: int
    mark: str


class RootBuilder:
    """Brings stored root lists up to date. ``small``: see ``SMALL``."""

    def __init__(
        self, database: Database, configuration: Configuration, locks: Locks, *, small: int = SMALL
    ) -> None:
        self._database = database
        self._configuration = configuration
        self._locks = locks
        self._small = small

    def build(self) -> None:
        """Bring every list up to date; one that somebody else builds is left to them.

        Raises:
            StoreUnavailable: the database failed; what was there before stays.
        """
        for index in self._configuration.indexes():
            with suppress(Busy), self._locks.hold(f"root:{index.id}", 0.0):
                self._index(index)

    def is_small(self, index: IndexConfig) -> bool:
        """Whether the sources of an index have so few projects that its list is made when it is asked for."""
        with self._database.reading() as session:
            return not _more_than(session.connection(), index, self._small)

    def _index(self, index: IndexConfig) -> None:
        begun = time.perf_counter()
        with self._database.snapshot() as connection:
            built = stored(connection, index.id)
            serial = connection.execute(_SERIAL).scalar_one()
            sources = fingerprint(index)
            if built is not None and (built.serial, built.sources) == (serial, sources):
                return
            is_long = _more_than(connection, index, self._small)
            if not is_long or built is None:
                changes = None
            elif built.sources == sources:
                names = _changed(connection, built)
                few = len(names) <= _FEW * built.names
                changes = _patch(connection, index, names) if few else _whole(connection, index)
            else:
                changes = _whole(connection, index)
        if changes is None:
            if is_long:
                self._announce(index)
                self._index(index)
            elif built is not None:
                with self._database.transaction() as tx:
                    _forget(tx.connection, index.id)
            return
        with self._database.transaction() as tx:
            changes.write(tx.connection, index.id, built, serial, sources)
        log.info(
            "root.built",
            index=index.name,
            serial=serial,
            chunks=len(changes.chunks),
            whole=changes.whole,
            seconds=round(time.perf_counter() - begun, 3),
        )

    def _announce(self, index: IndexConfig) -> None:
        """Say that a list is about to be built for the first time: nobody makes it at once from now on.

        A list that was made meanwhile would have a later serial than the one that is built, and a reader
        would see the serial of the root list go backwards.
        """
        with self._database.transaction() as tx:
            announced = {"serial": 0, "sources": "", "names": 0, "mark": ANNOUNCED}
            tx.connection.execute(_STATE, {"index": index.id, "at": now(), **announced})


class _Changes(NamedTuple):
    """Chunks to be written in place of ``gone`` ones, or of all."""

    chunks: Sequence[Chunk]
    gone: Sequence[str]
    more: int
    """Names that the list has more than before."""
    whole: bool

    def write(
        self, connection: Connection, index_id: int, built: Built | None, serial: int, sources: str
    ) -> None:
        if self.whole:
            _forget(connection, index_id)
        for batch in batches(self.gone):
            connection.execute(_DROP, {"index": index_id, "firsts": batch})
        if self.chunks:
            connection.execute(_ADD, [{"index": index_id, **chunk._asdict()} for chunk in self.chunks])
        names = self.more if self.whole or built is None else built.names + self.more
        connection.execute(
            _STATE,
            {
                "index": index_id,
                "serial": serial,
                "sources": sources,
                "names": names,
                "mark": secrets.token_hex(16),
                "at": now(),
            },
        )


def fingerprint(index: IndexConfig) -> str:
    """What the names of an index hang on besides its projects."""
    order = [source.id for source in index.sources]
    return ",".join(map(str, [*order, *sorted(index.concerned.difference(order))]))


def stored(connection: Connection, index_id: int) -> Built | None:
    """The stored list of an index, if it has one."""
    row = connection.execute(_BUILT, {"index": index_id}).one_or_none()
    return None if row is None else Built._make(row)


def bodies(connection: Connection, index_id: int) -> Iterator[bytes]:
    """The bodies of an index's chunks in order, as ``deflate`` made them."""
    order = ' COLLATE "C"' if connection.dialect.name == "postgresql" else ""
    query = f"SELECT body FROM root_chunk WHERE index_id = :index ORDER BY first{order}"  # noqa: S608 - ours
    rows = connection.execute(text(query), {"index": index_id}, execution_options={"yield_per": 50})
    return (bytes(body) for (body,) in rows)


def deflate(piece: bytes) -> bytes:
    """Compressed so that what is joined to it is one stream with it."""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(piece) + compressor.flush(zlib.Z_FULL_FLUSH)


def inflate(body: bytes) -> bytes:
    """What ``deflate`` was given."""
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(body)


def _whole(connection: Connection, index: IndexConfig) -> _Changes:
    chunks = list(_chunks(listed(connection, index, now())))
    return _Changes(chunks, (), sum(chunk.names for chunk in chunks), whole=True)


def _chunks(names: Iterable[Name]) -> Iterator[Chunk]:
    """Chunks of names in order."""
    entries = (RootEntry(name, serial) for name, serial in names if serial is not None)
    while piece := list(islice(entries, _NAMES)):
        yield _chunk(piece[0].name, piece)


def _patch(connection: Connection, index: IndexConfig, names: Sequence[str]) -> _Changes:
    """What the changed ``names`` change."""
    firsts = sorted(row[0] for row in connection.execute(_FIRSTS, {"index": index.id}))
    concerned: dict[str, dict[str, int | None]] = defaultdict(dict)
    for name, serial in listed(connection, index, now(), names):
        place = bisect_right(firsts, name)
        concerned[firsts[max(0, place - 1)] if firsts else ""][name] = serial
    chunks: list[Chunk] = []
    gone: list[str] = []
    more = 0
    for batch in batches(sorted(concerned)):
        rows = connection.execute(_BODIES, {"index": index.id, "firsts": batch}).all()
        known = {row.first: Chunk._make(row) for row in rows}
        for first in batch:
            before = known.get(first)
            made = list(_patched(first, before, concerned[first]))
            more += sum(chunk.names for chunk in made) - (0 if before is None else before.names)
            if before is not None:
                gone.append(first)
            chunks += made
    return _Changes(chunks, gone, more, whole=False)


def _patched(first: str, before: Chunk | None, changes: dict[str, int | None]) -> Iterator[Chunk]:
    entries = {} if before is None else {entry.name: entry for entry in read_entries(inflate(before.body))}
    is_new = False
    for name, serial in changes.items():
        if serial is None:
            entries.pop(name, None)
        else:
            is_new = is_new or name not in entries
            entries[name] = RootEntry(name, serial)
    kept = [entries[name] for name in sorted(entries)] if is_new else list(entries.values())
    size = _NAMES if len(kept) > 2 * _NAMES else max(1, len(kept))
    for start in range(0, len(kept), size):
        piece = kept[start : start + size]
        lowest = piece[0].name
        yield _chunk(min(first, lowest) if first and not start else lowest, piece)


def _chunk(first: str, entries: Sequence[RootEntry]) -> Chunk:
    return Chunk(first, len(entries), deflate(render_entries(entries, Representation.JSON)))


def _more_than(connection: Connection, index: IndexConfig, number: int) -> bool:
    given = {"sources": [source.id for source in index.sources], "number": number}
    return connection.execute(_BEYOND, given).first() is not None


def _changed(connection: Connection, built: Built) -> list[str]:
    """Names of the projects whose pages are newer than the list."""
    return sorted(connection.execute(_CHANGED, {"serial": built.serial}).scalars())


def _forget(connection: Connection, index_id: int) -> None:
    connection.execute(text("DELETE FROM root_chunk WHERE index_id = :index"), {"index": index_id})
    connection.execute(text("DELETE FROM root_list WHERE index_id = :index"), {"index": index_id})


_SERIAL = text("SELECT value FROM counter WHERE name = 'serial'")
_BUILT = text("SELECT serial, sources, names, mark FROM root_list WHERE index_id = :index")
_FIRSTS = text("SELECT first FROM root_chunk WHERE index_id = :index")
_BODIES = text(
    "SELECT first, names, body FROM root_chunk WHERE index_id = :index AND first IN :firsts"
).bindparams(bindparam("firsts", expanding=True))
_DROP = text("DELETE FROM root_chunk WHERE index_id = :index AND first IN :firsts").bindparams(
    bindparam("firsts", expanding=True)
)
_ADD = text("INSERT INTO root_chunk (index_id, first, names, body) VALUES (:index, :first, :names, :body)")
_STATE = text(
    "INSERT INTO root_list (index_id, serial, sources, names, mark, built_at) "
    "VALUES (:index, :serial, :sources, :names, :mark, :at) ON CONFLICT (index_id) DO UPDATE "
    "SET serial = excluded.serial, sources = excluded.sources, names = excluded.names, "
    "mark = excluded.mark, built_at = excluded.built_at"
)
_CHANGED = text("SELECT DISTINCT name FROM project WHERE serial > :serial")
_BEYOND = text(
    "SELECT 1 FROM project WHERE source_id IN :sources AND state <> 'absent' LIMIT 1 OFFSET :number"
).bindparams(bindparam("sources", expanding=True))
