"""What is kept of an upstream: its mode, its filters, and the names that lists and seeds ask for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, bindparam, delete, insert, select, text

from koschey.domain.filters import Filters, Mode, filters_of
from koschey.domain.seeds import Names, named, seeded
from koschey.errors import NotFound, RequestInvalid
from koschey.services.configuration import Configuration, SourceConfig
from koschey.stores.database import CONFIGURATION, Database, Transaction
from koschey.stores.models import Counter, Project, Source, SourceKind
from koschey.stores.sync_rows import KeptName

#: Where names of a list came from, beside the files of seeds and ``dependency of …``.
LIST = "names"
_DEPENDENCY = "dependency of "
#: Connections to one upstream at once.
MOST_CONNECTIONS = 64


@dataclass(frozen=True)
class SeedFile:
    """A requirements or lock file: its name says which, see ``koschey.domain.seeds.seeded``."""

    filename: str
    text: str
    beside: Mapping[str, str] = field(default_factory=dict)
    """Texts of the files that it names, as ``koschey.domain.seeds.seeded`` takes them."""


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
        """Change what ``spec`` names, with one event; returns how many names the list and each seed have.

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
            known = msgspec.json.decode(row.filters, type=Filters)
            row.filters = msgspec.json.encode(_filters(known, spec)).decode()
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
        told, found = list[str](), dict[str, int]()
        if spec.names is not None:
            names = named(spec.names)
            found["the list of names"] = len(names)
            _replace(tx, source_id, KeptName.origin == LIST, [(LIST, names, False)])
            told.append("names=(list)")
        if spec.seeds is not None:
            made = []
            for seed in spec.seeds:
                names, complete = seeded(seed.filename, seed.text, seed.beside)
                if not names:
                    raise RequestInvalid(
                        f"{seed.filename}: no project in it comes from an index; what is kept stays"
                    )
                found[seed.filename] = len(names)
                made.append((_origin(seed.filename), names, not complete))
            _replace(tx, source_id, KeptName.origin != LIST, made)
            told.append("seeds=" + ",".join(seed.filename for seed in spec.seeds))
        return told, found

    def names(self, source_id: int) -> Names:
        """The names of lists and seeds, with what is asked of each (``koschey.domain.seeds.Names``)."""
        return self._asked(KeptName.source_id == source_id)

    def unresolved(self, source_id: int) -> Names:
        """Those of them whose dependencies are to be kept as well, as far as it is asked with them."""
        return self._asked((KeptName.source_id == source_id) & KeptName.dependencies)

    def _asked(self, which: ColumnElement[bool]) -> Names:
        query = (
            select(KeptName.name, KeptName.specifiers).where(which).order_by(KeptName.name, KeptName.origin)
        )
        names: Names = {}
        with self._database.reading() as session:
            for name, specifiers in session.execute(query):
                _more(names.setdefault(name, []), msgspec.json.decode(specifiers, type=list[str]))
        return names

    def add_dependencies(self, source_id: int, of: str, names: Names) -> set[str]:
        """Keep what a kept name requires; returns the names that are new, or of which more is asked."""
        new = set()
        with self._database.transaction() as tx:
            for name, specifiers in names.items():
                rows = tx.session.scalars(
                    select(KeptName).where(
                        KeptName.source_id == source_id, KeptName.name == name, KeptName.dependencies
                    )
                ).all()
                asked = [each for row in rows for each in msgspec.json.decode(row.specifiers, type=list[str])]
                if not set(specifiers) - set(asked):
                    continue
                new.add(name)
                row = next((row for row in rows if row.origin.startswith(_DEPENDENCY)), None)
                if row is None:
                    row = KeptName(source_id=source_id, name=name, specifiers="[]", dependencies=True)
                    row.origin = _DEPENDENCY + of
                    tx.session.add(row)
                known = msgspec.json.decode(row.specifiers, type=list[str])
                row.specifiers = msgspec.json.encode(_more(known, specifiers)).decode()
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
        given = {
            (source_id, name) for source_id, origin, name in origins if not origin.startswith(_DEPENDENCY)
        }
        for source_id, origin, name in origins:
            if not origin.startswith(_DEPENDENCY):
                lists[source_id][origin] += 1
            elif (source_id, name) not in given:
                lists[source_id]["dependencies"] += 1
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


def asked_of(connection: Connection, source_id: int, names: Sequence[str]) -> tuple[Names, bool]:
    """Of those names what lists and seeds of a source ask for, and whether there are any of these at all."""
    if not names or connection.execute(_ANY, {"source_id": source_id}).first() is None:
        return {}, False
    asked: Names = {}
    for name, specifiers in connection.execute(_ASKED, {"source_id": source_id, "names": list(names)}):
        _more(asked.setdefault(name, []), msgspec.json.decode(specifiers, type=list[str]))
    return asked, True


def _origin(filename: str) -> str:
    """Where names of a seed are said to come from: a file may be called as what comes from none."""
    return "./" + filename if filename == LIST or filename.startswith(_DEPENDENCY) else filename


def _replace(tx: Transaction, source_id: int, which: Any, lists: Sequence[tuple[str, Names, bool]]) -> None:
    """Names that were of that kind go. Those of others stay, and what they ask of the same names."""
    tx.session.execute(delete(KeptName).where(KeptName.source_id == source_id, which))
    asked: dict[tuple[str, str, bool], list[str]] = defaultdict(list)
    for origin, names, dependencies in lists:
        for name, specifiers in names.items():
            _more(asked[origin, name, dependencies], specifiers)
    if asked:
        rows = [
            {"source_id": source_id, "origin": origin, "name": name, "dependencies": dependencies}
            | {"specifiers": msgspec.json.encode(specifiers).decode()}
            for (origin, name, dependencies), specifiers in asked.items()
        ]
        tx.session.execute(insert(KeptName), rows)


def _more(known: list[str], others: Iterable[str]) -> list[str]:
    """``known``, with what of the others it has not."""
    known += [each for each in dict.fromkeys(others) if each not in known]
    return known


def tried(source: SourceConfig, spec: KeepSpec) -> SourceConfig:
    """A source with the mode and filters that ``spec`` names; nothing is stored. Raises: RequestInvalid."""
    return replace(source, mode=spec.mode or source.mode, filters=_filters(source.filters, spec))


def _filters(filters: Filters, spec: KeepSpec) -> Filters:
    """The filters with what is said otherwise. Raises: RequestInvalid."""
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


_ANY = text("SELECT 1 FROM kept_name WHERE source_id = :source_id LIMIT 1")
_ASKED = text(
    "SELECT name, specifiers FROM kept_name WHERE source_id = :source_id AND name IN :names "
    "ORDER BY name, origin"
).bindparams(bindparam("names", expanding=True))
