"""Finding projects by a part of their name, among those that an index shows to the one who asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import batched, islice
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, text

from koschey.domain.permissions import Names
from koschey.errors import Busy, RequestInvalid
from koschey.services.configuration import Configuration, IndexConfig
from koschey.services.root_names import listed
from koschey.stores.database import Database, now
from koschey.stores.locks import Locks

#: Results on a page, and candidates that one search looks at before it leaves the rest to the next page.
PAGE = 50
_CANDIDATES = 500
_LONGEST = 200
#: Projects of one transaction of the catching up.
_PROJECTS_AT_ONCE = 2_000
_SERIAL, _ID = "search:serial", "search:id"


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the names that fit, best first: itself, what begins so, what has a part that begins so."""

    names: tuple[str, ...]
    next: str | None
    """``after`` of the page behind; None: that is all."""


class _Place(NamedTuple):
    """Where a search stands in the table, in its order."""

    part: bool
    word: str
    name: str


class Search:
    """Finds names, and keeps what they are found by in step with the projects that there are."""

    def __init__(self, database: Database, configuration: Configuration, locks: Locks) -> None:
        self._database = database
        self._configuration = configuration
        self._locks = locks

    def find(
        self,
        index_name: str,
        typed: str,
        names: Names,
        *,
        after: str | None = None,
        number: int | None = None,
    ) -> Found:
        """Names in an index that begin with what was typed, or have a part that does.

        Args:
            typed: the beginning of a name or of one of its parts, in any spelling.
            names: those that the one who asks may read.
            after: ``next`` of the page before.
            number: the configuration's, if the caller has just read it.

        Raises:
            NotFound: no such index. RequestInvalid: nothing that could be part of a name.
        """
        index = self._configuration.index(index_name, number)
        self.catch_up()
        wanted, last = beginning(typed), _decoded(after)
        found: list[str] = []
        with self._database.reading() as session:
            rows = islice(_rows(session.connection(), wanted, last), _CANDIDATES)
            for place, shown in self._judged(session.connection(), index, names, rows):
                if shown and _is_new(place, wanted, found):
                    if len(found) == PAGE:
                        return Found(names=tuple(found), next=_encoded(last))
                    found.append(place.name)
                last = place
            rest = next(_rows(session.connection(), wanted, last), None)
        return Found(names=tuple(found), next=None if rest is None else _encoded(last))

    def catch_up(self) -> None:
        """Take in the projects whose pages changed since the last time; another one who does it is enough.

        Raises:
            StoreUnavailable: the database failed; what was taken in before stays.
        """
        with self._database.reading() as session:
            behind = session.execute(_BEHIND, {"serial": _SERIAL}).scalar()
        if not behind:
            return
        with suppress(Busy), self._locks.hold("search:catch_up", 0.0):
            while self._step():
                pass

    def _step(self) -> bool:
        """Take in one batch; False: there is no more."""
        with self._database.reading() as session:
            known = {row.name: row.value for row in session.execute(_REACHED, {"serial": _SERIAL, "id": _ID})}
            given = {"serial": known.get(_SERIAL, 0), "id": known.get(_ID, 0), "limit": _PROJECTS_AT_ONCE}
            rows = session.execute(_CHANGED, given).all()
        if not rows:
            return False
        words = [word._asdict() for row in rows for word in words_of(row.name)]
        with self._database.transaction() as tx:
            tx.connection.execute(_ADD, words)
            for counter, value in ((_SERIAL, rows[-1].serial), (_ID, rows[-1].id)):
                tx.connection.execute(_REMEMBER, {"name": counter, "value": value})
        return len(rows) == _PROJECTS_AT_ONCE

    @staticmethod
    def _judged(
        connection: Connection, index: IndexConfig, names: Names, rows: Iterable[_Place]
    ) -> Iterator[tuple[_Place, bool]]:
        """Each place, and whether the index lists its name for the one who asks."""
        for batch in batched(rows, PAGE):
            candidates = sorted({row.name for row in batch if row.name in names})
            known = dict(listed(connection, index, now(), candidates)) if candidates else {}
            yield from ((row, known.get(row.name) is not None) for row in batch)


def _rows(connection: Connection, wanted: str, after: _Place | None) -> Iterator[_Place]:
    """What begins as wanted, behind a place, in the order of the table."""
    for part in (False, True):
        if after is not None and part < after.part:
            continue
        here = after if after is not None and after.part == part else _Place(part, wanted, "")
        while True:
            given = here._asdict() | {"end": wanted[:-1] + chr(ord(wanted[-1]) + 1), "limit": PAGE}
            rows = [_Place(part, *row) for row in connection.execute(_FITTING, given)]
            yield from rows
            if len(rows) < PAGE:
                break
            here = rows[-1]


def _is_new(place: _Place, wanted: str, found: Sequence[str]) -> bool:
    """Under one of its parts, a name is found again that itself begins so."""
    return not (place.part and place.name.startswith(wanted)) and place.name not in found


def beginning(typed: str) -> str:
    """What was typed, spelt as normalised names are. Raises: RequestInvalid."""
    signs = typed.strip().lower().replace("_", "-").replace(".", "-").replace(" ", "-")
    wanted = "-".join(part for part in signs.split("-") if part)
    if not (wanted.replace("-", "").isalnum() and wanted.isascii() and len(wanted) <= _LONGEST):
        raise RequestInvalid("type the beginning of a project's name: letters, digits, and . _ - between")
    return wanted


def words_of(name: str) -> list[_Place]:
    """The places at which a normalised name is found: itself, and from each of its parts on."""
    parts = name.split("-")
    return [_Place(start > 0, "-".join(parts[start:]), name) for start in range(len(parts))]


def _encoded(place: _Place | None) -> str:
    assert place is not None
    return f"{'p' if place.part else 'n'}:{place.word}:{place.name}"


def _decoded(cursor: str | None) -> _Place | None:
    if not cursor:
        return None
    kind, _, rest = cursor.partition(":")
    word, colon, name = rest.partition(":")
    if kind not in ("p", "n") or not colon or len(cursor) > 3 * _LONGEST:
        raise RequestInvalid("after: not the end of a page of this search")
    return _Place(kind == "p", word, name)


_FITTING = text(
    "SELECT word, name FROM name_word WHERE part = :part AND (word, name) > (:word, :name) AND word < :end "
    "ORDER BY word, name LIMIT :limit"
)
# The counter of serials is behind every one of them; projects are what may have moved.
_BEHIND = text(
    "SELECT 1 FROM counter c WHERE c.name = 'serial' "
    "AND c.value > coalesce((SELECT value FROM counter WHERE name = :serial), 0)"
)
_REACHED = text("SELECT name, value FROM counter WHERE name IN (:serial, :id)")
_CHANGED = text(
    "SELECT id, name, serial FROM project WHERE serial >= :serial AND (serial > :serial OR id > :id) "
    "AND state <> 'absent' ORDER BY serial, id LIMIT :limit"
)
_ADD = text("INSERT INTO name_word (part, word, name) VALUES (:part, :word, :name) ON CONFLICT DO NOTHING")
_REMEMBER = text(
    "INSERT INTO counter (name, value) VALUES (:name, :value) "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
