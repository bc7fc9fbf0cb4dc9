"""Pages of long lists by the keys of their ends: no page costs more than the first one, however far it lies.

A list is sorted by columns of one index, the last of them unique, all in one direction and none of them
null. A page says where it ends by the keys of its first and last rows, in a cursor that says nothing to
those who carry it; what comes or goes meanwhile moves no row to another page.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Row, Select, literal, tuple_
from sqlalchemy.orm import Session

from koschey.errors import RequestInvalid

PAGE = 50
MOST = 200
_LONGEST = 1000


class Page[T](NamedTuple):
    """A part of a list. ``newer`` and ``older`` are cursors of the parts beside it, None at the ends.

    ``newer`` is what stands before it in the list's order, ``older`` what follows, whatever that order is.
    """

    rows: tuple[T, ...]
    newer: str | None = None
    older: str | None = None

    def of[S](self, make: Callable[[T], S]) -> Page[S]:
        """The same part with something else made of its rows."""
        return Page(tuple(make(row) for row in self.rows), self.newer, self.older)


class Lead(NamedTuple):
    """A column that has one value in all rows of a list, and stands before the keys in an index.

    It is said by bounds. Of a column that equals something PostgreSQL knows that it sorts nothing, so that an
    index of the keys alone would do as well; where it takes that one for a value that is common but was not
    seen lately, it goes through all that came since.
    """

    column: Any
    value: str

    def bounds(self, *, begun: bool, descending: bool) -> ColumnElement[bool]:
        """Holds the column fast.

        Args:
            begun: a place in the list is given: it bounds the side on which the list begins, and a second
                bound there would have PostgreSQL begin at the first row all the same.
        """
        lower: ColumnElement[bool] = self.column >= self.value
        upper: ColumnElement[bool] = self.column <= self.value
        if not begun:
            return lower & upper
        return lower if descending else upper


class _Place(msgspec.Struct, frozen=True, array_like=True):
    """What a cursor holds: its list, whether it leads to its beginning, the keys of the row to go on from."""

    list: str
    back: bool
    keys: tuple[int | str, ...]


_places = msgspec.json.Decoder(_Place)


class Keyset:
    """The order of one list.

    Args:
        name: of the list, in its cursors: one of another list is refused.
        columns: that it is sorted by, in order; an index has them in this order, after what the query holds
            fast.
        descending: whether the greatest come first.
    """

    def __init__(self, name: str, *columns: Any, descending: bool = False) -> None:
        self.name = name
        self._columns = columns
        self._descending = descending
        self._kinds = tuple(column.type.python_type for column in columns)

    def page(
        self,
        session: Session,
        query: Select[Any],
        *,
        at: str | None = None,
        limit: int = PAGE,
        lead: Lead | None = None,
    ) -> Page[Row[Any]]:
        """The part of a query's rows at a cursor, the first one for None.

        Args:
            query: without an order and a limit; its last columns are not the keys: they are added here, and
                end each row.
            lead: holds fast what an index has before the keys, and has the database go by that index.

        Raises:
            RequestInvalid: the cursor is none of this list, or the limit cannot be.
        """
        if not 1 <= limit <= MOST:
            raise RequestInvalid(f"limit: from 1 to {MOST}")
        place = None if at is None else self._place(at)
        back = place is not None and place.back
        descending = self._descending != back
        if place is not None:
            query = query.where(self._beyond(place, lead))
        if lead is not None:
            query = query.where(lead.bounds(begun=place is not None, descending=descending))
        sorted_by = (*(() if lead is None else (lead.column,)), *self._columns)
        order = [column.desc() if descending else column for column in sorted_by]
        rows = session.execute(query.add_columns(*self._columns).order_by(*order).limit(limit + 1)).all()
        more, shown = len(rows) > limit, rows[:limit]
        if back:
            shown = shown[::-1]
        return Page(
            tuple(shown),
            newer=self._cursor(shown[0], back=True) if shown and (more if back else place) else None,
            older=self._cursor(shown[-1], back=False) if shown and (more or back) else None,
        )

    def _beyond(self, place: _Place, lead: Lead | None) -> ColumnElement[bool]:
        """What follows a place: a comparison of rows, for which both databases go by the index."""
        first = () if lead is None else ((lead.value, lead.column),)
        keys = (*first, *zip(place.keys, self._columns, strict=True))
        here = tuple_(*(column for _, column in keys))
        there = tuple_(*(literal(key, column.type) for key, column in keys))
        return here < there if self._descending != place.back else here > there

    def _cursor(self, row: Sequence[Any], *, back: bool) -> str:
        keys = tuple(row[-len(self._columns) :])
        body = msgspec.json.encode(_Place(self.name, back, keys))
        return base64.urlsafe_b64encode(body).decode().rstrip("=")

    def _place(self, cursor: str) -> _Place:
        try:
            if len(cursor) > _LONGEST:
                raise ValueError(cursor)
            padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
            place = _places.decode(base64.b64decode(padded, altchars=b"-_", validate=True))
        except (binascii.Error, ValueError, msgspec.MsgspecError):
            raise RequestInvalid("not a place in this list: take it from the page before") from None
        fitting = len(place.keys) == len(self._kinds) and all(
            type(key) is kind and (kind is not int or abs(key) < 2**63)  # type: ignore[arg-type]
            for key, kind in zip(place.keys, self._kinds, strict=True)
        )
        if place.list != self.name or not fitting:
            raise RequestInvalid("a place in another list: take it from the page before")
        return place


def prefixed(column: Any, prefix: str, dialect: str) -> ColumnElement[bool]:
    """Whether a column of normalised names begins so, as an index of the database finds it.

    PostgreSQL goes by an index with ``text_pattern_ops``; SQLite by any, but for GLOB only.
    """
    if dialect == "postgresql":
        literal_prefix = prefix.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        like: ColumnElement[bool] = column.like(literal_prefix + "%")
        return like
    quoted = "".join(f"[{sign}]" if sign in "*?[" else sign for sign in prefix)
    glob: ColumnElement[bool] = column.op("GLOB")(quoted + "*")
    return glob
