"""What is kept of an upstream: its mode, its filters, and the names that lists and seeds ask for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import msgspec
from sqlalchemy import delete, insert, select

from koschey.domain.filters import Filters, Mode, filters_of
from koschey.domain.seeds import Names, named, seeded
from koschey.errors import NotFound, RequestInvalid
from koschey.services.configuration import Configuration
from koschey.stores.database import CONFIGURATION, Database, Transaction
from koschey.stores.models import Counter, Project, Source, SourceKind
from koschey.stores.sync_rows import KeptName

#: Where names of a list came from, beside the files of seeds and ``dependency of …``.
LIST = "names"
#: Connections to one upstream at once.
MOST_CONNECTIONS = 64


@dataclass(frozen=True)
class SeedFile:
    """A requirements or lock file: its name says which, see ``koschey.domain.seeds.seeded``."""

    filename: str
    text: str


@dataclass(frozen=True)
class KeepSpec:
    """What a person says of an upstream; None leaves a value as it is, an empty one takes it away."""

    mode: Mode | None = None
    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] | None = None
    names: str | None = None
    """Text of a list of names."""
    seeds: tuple[SeedFile, ...] | None = None
    newest: int | None = None
    """0: all."""
    prereleases: bool | None = None
    platforms: tuple[str, ...] | None = None
    pythons: tuple[str, ...] | None = None
    max_size: int | None = None
    """0: any size."""
    kinds: tuple[str, ...] | None = None
    sync_seconds: float | None = None
    requests_per_second: float | None = None
    """0: no limit."""
    connections: int | None = None


class Keeping:
    """Says and knows what is kept."""

    def __init__(self, database: Database, configuration: Configuration) -> None:
        self._database = database
        self._configuration = configuration

    def edit(self, upstream: str, spec: KeepSpec, *, actor: str) -> dict[str, int]:
        """Change what ``spec`` names, with one event; returns how many names each seed was found to have.

        Raises:
            NotFound: no such upstream. RequestInvalid: a value that cannot be, or a seed without any name.
        """
        with self._database.transaction() as tx:
            row = tx.session.scalar(
                select(Source).where(Source.name == upstream, Source.kind == SourceKind.UPSTREAM)
            )
            if row is None:
                raise NotFound("upstream", upstream)
            before = _told(row)
            row.filters = msgspec.json.encode(_filters(row, spec)).decode()
            if spec.mode is not None:
                row.mode = spec.mode
            _set_limits(row, spec)
            lists, found = self._set_names(tx, row.id, spec)
            tx.touch_configuration()
            after = " ".join([_told(row), *lists])
            tx.record("upstream.keep", actor=actor, subject=upstream, before=before, after=after)
            return found

    def _set_names(self, tx: Transaction, source_id: int, spec: KeepSpec) -> tuple[list[str], dict[str, int]]:
        """Replace the list or seeds that were given; returns words about them, and names in each seed."""
        told, found = [], {}
        if spec.names is not None:
            _replace(tx, source_id, KeptName.origin == LIST, [(LIST, named(spec.names), False)])
            told.append("names=(list)")
        if spec.seeds is not None:
            made = []
            for seed in spec.seeds:
                names, complete = seeded(seed.filename, seed.text)
                if not names:
                    raise RequestInvalid(
                        f"{seed.filename}: no project in it comes from an index; what is kept stays"
                    )
                found[seed.filename] = len(names)
                made.append((seed.filename, names, not complete))
            _replace(tx, source_id, KeptName.origin != LIST, made)
            told.append("seeds=" + ",".join(seed.filename for seed in spec.seeds))
        return told, found

    def names(self, source_id: int) -> dict[str, list[str]]:
        """The names of lists and seeds, with what is asked of each (``koschey.domain.seeds.Names``)."""
        query = select(KeptName.name, KeptName.specifiers).where(KeptName.source_id == source_id)
        with self._database.reading() as session:
            return {name: msgspec.json.decode(text, type=list[str]) for name, text in session.execute(query)}

    def unresolved(self, source_id: int) -> dict[str, list[str]]:
        """Those of them whose dependencies are to be kept as well."""
        query = select(KeptName.name, KeptName.specifiers).where(
            KeptName.source_id == source_id, KeptName.dependencies
        )
        with self._database.reading() as session:
            return {name: msgspec.json.decode(text, type=list[str]) for name, text in session.execute(query)}

    def add_dependencies(self, source_id: int, of: str, names: Names) -> int:
        """Keep what a kept name requires; returns how many names or demands are new."""
        new = 0
        with self._database.transaction() as tx:
            for name, specifiers in names.items():
                row = tx.session.get(KeptName, (source_id, name))
                if row is None:
                    tx.session.add(
                        KeptName(
                            source_id=source_id,
                            name=name,
                            specifiers=msgspec.json.encode(specifiers).decode(),
                            origin=f"dependency of {of}",
                            dependencies=True,
                        )
                    )
                    new += 1
                    continue
                known = msgspec.json.decode(row.specifiers, type=list[str])
                more = [each for each in specifiers if each not in known]
                if more and row.dependencies:
                    row.specifiers = msgspec.json.encode(known + more).decode()
                    new += 1
        return new

    def owned(self, source_id: int) -> Callable[[str], bool]:
        """Tells of normalised names whether they are the company's own, and never asked outside."""
        having: dict[str, list[int]] = defaultdict(list)
        with self._database.reading() as session:
            number = session.execute(select(Counter.value).where(Counter.name == CONFIGURATION)).scalar_one()
            rows = session.execute(
                select(Project.name, Project.source_id)
                .join(Source, Source.id == Project.source_id)
                .where(Source.kind == SourceKind.HOSTED)
            )
            for name, hosted_id in rows:
                having[name].append(hosted_id)
        configuration = self._configuration
        return lambda name: not configuration.may_ask(source_id, name, having.get(name, ()), number=number)

    def describe(self) -> dict[str, dict[str, Any]]:
        """What is kept of each upstream, by its name, as plain values."""
        with self._database.reading() as session:
            rows = session.scalars(select(Source).where(Source.kind == SourceKind.UPSTREAM)).all()
            origins = session.execute(select(KeptName.source_id, KeptName.origin, KeptName.name)).all()
        lists: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for source_id, origin, _ in origins:
            lists[source_id]["dependencies" if origin.startswith("dependency of ") else origin] += 1
        return {
            row.name: {
                "mode": row.mode,
                "filters": msgspec.json.decode(row.filters),
                "names": dict(lists[row.id]),
                "sync_seconds": row.sync_seconds,
                "requests_per_second": row.requests_per_second,
                "connections": row.connections,
            }
            for row in rows
        }


def _replace(tx: Transaction, source_id: int, which: Any, lists: Sequence[tuple[str, Names, bool]]) -> None:
    """Names that were of that kind go; a name in several lists is kept for all that they ask of it."""
    tx.session.execute(delete(KeptName).where(KeptName.source_id == source_id, which))
    rows: dict[str, dict[str, Any]] = {}
    for origin, names, dependencies in lists:
        for name, specifiers in names.items():
            row = rows.setdefault(
                name, {"source_id": source_id, "name": name, "origin": origin, "specifiers": []}
            )
            row["specifiers"] += [each for each in specifiers if each not in row["specifiers"]]
            row["dependencies"] = row.get("dependencies", False) or dependencies
    others = {
        row.name: row for row in tx.session.scalars(select(KeptName).where(KeptName.source_id == source_id))
    }
    for name in others.keys() & rows.keys():
        row = rows.pop(name)
        known = msgspec.json.decode(others[name].specifiers, type=list[str])
        others[name].specifiers = msgspec.json.encode(
            known + [each for each in row["specifiers"] if each not in known]
        ).decode()
    if rows:
        made = [
            row | {"specifiers": msgspec.json.encode(row["specifiers"]).decode()} for row in rows.values()
        ]
        tx.session.execute(insert(KeptName), made)


def _filters(row: Source, spec: KeepSpec) -> Filters:
    filters = msgspec.json.decode(row.filters, type=Filters)
    said: dict[str, Any] = {
        field.name: getattr(spec, field.name)
        for field in fields(spec)
        if field.name in Filters.__struct_fields__ and getattr(spec, field.name) is not None
    }
    for name in ("newest", "max_size"):
        if said.get(name) == 0:
            said[name] = None
    return filters_of(msgspec.to_builtins(filters) | said)


def _set_limits(row: Source, spec: KeepSpec) -> None:
    if spec.sync_seconds is not None:
        row.sync_seconds = spec.sync_seconds
    if spec.requests_per_second is not None:
        row.requests_per_second = spec.requests_per_second or None
    if spec.connections is not None:
        if not 1 <= spec.connections <= MOST_CONNECTIONS:
            raise RequestInvalid(f"connections: 1 to {MOST_CONNECTIONS}")
        row.connections = spec.connections


def _told(row: Source) -> str:
    rate = "none" if row.requests_per_second is None else f"{row.requests_per_second:g}"
    return (
        f"mode={row.mode} filters={row.filters} sync_seconds={row.sync_seconds:g} "
        f"requests_per_second={rate} connections={row.connections}"
    )
