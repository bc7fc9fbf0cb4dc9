"""Pages of lists: each row once, in order, forth and back, whatever happens meanwhile."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text, create_engine, insert, select
from sqlalchemy.orm import Session

from koschey.errors import RequestInvalid
from koschey.services.keyset import MOST, Keyset, Page, prefixed

ROWS = Table(
    "row",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("since", BigInteger, index=True),
    Column("name", Text),
)
OLDEST_FIRST = Keyset("oldest", ROWS.c.since, ROWS.c.id)
NEWEST_FIRST = Keyset("newest", ROWS.c.since, ROWS.c.id, descending=True)


@contextmanager
def filled(times: list[int]) -> Iterator[Session]:
    engine = create_engine("sqlite://")
    ROWS.metadata.create_all(engine)
    with Session(engine) as session:
        if times:
            session.execute(insert(ROWS), [{"since": time, "name": f"n{time}"} for time in times])
        yield session
    engine.dispose()


def ids(page: Page[Any]) -> list[int]:
    return [row[0] for row in page.rows]


def walk(session: Session, keyset: Keyset, limit: int) -> list[Page[Any]]:
    """From the first page to the last."""
    pages = [keyset.page(session, select(ROWS.c.id), limit=limit)]
    while pages[-1].older is not None:
        pages.append(keyset.page(session, select(ROWS.c.id), limit=limit, at=pages[-1].older))
    return pages


@given(times=st.lists(st.integers(-3, 3), max_size=25), limit=st.integers(1, 8), newest=st.booleans())
@hypothesis_settings(max_examples=40, deadline=None)
def test_every_row_stands_on_one_page_in_its_order_forth_and_back(
    times: list[int], limit: int, newest: bool
) -> None:
    keyset = NEWEST_FIRST if newest else OLDEST_FIRST
    with filled(times) as session:
        pages = walk(session, keyset, limit)

        order = sorted(enumerate(times, start=1), key=lambda row: (row[1], row[0]), reverse=newest)
        assert [row for page in pages for row in ids(page)] == [number for number, _ in order]
        assert pages[0].newer is None
        assert all(len(page.rows) == limit for page in pages[:-1])
        for before, page in itertools.pairwise(pages):
            assert page.newer is not None
            again = keyset.page(session, select(ROWS.c.id), limit=limit, at=page.newer)
            assert ids(again) == ids(before)
            assert (again.newer is None) == (before.newer is None)


def test_rows_that_come_and_go_meanwhile_move_no_other() -> None:
    with filled([10, 20, 30, 40, 50, 60]) as session:
        first = OLDEST_FIRST.page(session, select(ROWS.c.id), limit=3)
        session.execute(ROWS.delete().where(ROWS.c.id.in_([1, 3])))
        session.execute(insert(ROWS), [{"since": 5, "name": "new"}])

        second = OLDEST_FIRST.page(session, select(ROWS.c.id), limit=3, at=first.older)

        assert ids(first) == [1, 2, 3]
        assert ids(second) == [4, 5, 6]


def cursor(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "at",
    [
        "",
        "nonsense",
        "é",
        "a" * 5000,
        cursor("newest", False, [1, 1]),
        cursor("oldest", False, [1]),
        cursor("oldest", False, [1, "1"]),
        cursor("oldest", False, [1, None]),
        cursor("oldest", False, [1, True]),
        cursor("oldest", False, [1, 2**70]),
        cursor("oldest", "yes", [1, 1]),
        cursor("oldest"),
    ],
)
def test_a_place_that_no_page_gave_is_refused(at: str) -> None:
    with filled([1]) as session, pytest.raises(RequestInvalid, match="take it from the page before"):
        OLDEST_FIRST.page(session, select(ROWS.c.id), at=at)


@pytest.mark.parametrize("limit", [0, -1, MOST + 1])
def test_a_page_has_a_size_that_can_be(limit: int) -> None:
    with filled([1]) as session, pytest.raises(RequestInvalid, match="limit"):
        OLDEST_FIRST.page(session, select(ROWS.c.id), limit=limit)


@pytest.mark.parametrize(
    ("prefix", "found"), [("n1", [1, 2]), ("n", [1, 2, 3]), ("*", []), ("[n]", []), ("%", []), ("_", [])]
)
def test_a_prefix_is_taken_by_its_letters(prefix: str, found: list[int]) -> None:
    with filled([1, 10, 2]) as session:
        assert (
            list(session.scalars(select(ROWS.c.id).where(prefixed(ROWS.c.name, prefix, "sqlite")))) == found
        )
