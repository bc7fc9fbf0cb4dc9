"""Root lists of upstreams: what is read of them, and what they say that is new."""

from __future__ import annotations

import json
from typing import Any

import pytest

from koschey.domain.root_diff import RootDiff, Synced, Why, shrunk
from koschey.domain.upstream_page import PageInvalid
from koschey.domain.upstream_root import RootListing, parse_root_html, parse_root_json


def listing(projects: list[Any], **meta: Any) -> RootListing:
    return parse_root_json(json.dumps({"meta": {"api-version": "1.4"} | meta, "projects": projects}).encode())


def test_names_are_normalised_and_serials_may_be_text_or_nonsense() -> None:
    found = listing(
        [
            {"name": "Foo_.Bar", "_last-serial": "12"},
            {"name": "foo-bar", "_last-serial": 9},
            {"name": "odd", "_last-serial": -1},
            {"name": "../evil"},
        ],
        **{"_last-serial": "99"},
    )
    assert (found.serials, found.serial, found.refused) == ({"foo-bar": 12, "odd": None}, 99, 1)
    assert not found.has_serials


@pytest.mark.parametrize("serial", [1.5, True, [1], {"a": 1}, "x", 2**63, 10**40])
def test_a_serial_of_any_kind_costs_no_other_project(serial: Any) -> None:
    found = listing([{"name": "odd", "_last-serial": serial}, {"name": "foo", "_last-serial": 3}])
    assert (found.serials, found.refused) == ({"odd": None, "foo": 3}, 0)


@pytest.mark.parametrize(
    ("entry", "serials", "refused"),
    [
        (b'{"name": "odd", "_last-serial": 1e400}', {"odd": None}, 0),
        (b'{"name": "odd", "_last-serial": ' + b"9" * 5000 + b"}", {"odd": None}, 0),
        (b"5", {}, 1),
        (b'"odd"', {}, 1),
        (b'{"name": "\xff"}', {}, 1),
        (b'{"name": "odd", "_last-serial": "\xff"}', {"odd": None}, 0),
        (b'7, {"name": "\xff"}', {}, 2),
    ],
    ids=["beyond-floats", "beyond-integers", "number", "text", "name", "serial", "two"],
)
def test_an_entry_that_cannot_be_read_costs_no_other_project(
    entry: bytes, serials: dict[str, int | None], refused: int
) -> None:
    body = b'{"meta": {"api-version": "1.4"}, "projects": [%b, {"name": "foo", "_last-serial": 3}]}' % entry
    found = parse_root_json(body)
    assert (found.serials, found.refused) == (serials | {"foo": 3}, refused)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"<html>", b'{"meta":{}}', b'{"meta":{"api-version":"2.0"},"projects":[]}', b"[" * 100_000],
    ids=["nothing", "array", "html", "no-projects", "version-2", "deep"],
)
def test_what_is_no_root_list_is_refused(body: bytes) -> None:
    with pytest.raises(PageInvalid):
        parse_root_json(body)


def test_html() -> None:
    page = b'<html><body><a href="/simple/foo/">Foo</a>\n<a href="bar/">bar</a></body></html>'
    assert parse_root_html([page], expired=lambda: False).serials == {"foo": None, "bar": None}
    with pytest.raises(PageInvalid, match="time"):
        parse_root_html([page], expired=lambda: True)
    with pytest.raises(PageInvalid, match="no links"):
        parse_root_html([b"<html>sign in</html>"], expired=lambda: False)


def test_each_project_is_compared_with_its_own_serial() -> None:
    diff = RootDiff({"same": 5, "risen": 8, "late": 99, "fallen": 1, "new": 3, "again": 7}, settled=90)
    known = [
        Synced("same", 5, True),
        Synced("risen", 7, True),
        Synced("late", 99, True),
        Synced("fallen", 4, True),
        Synced("gone", 4, True),
        Synced("never", None, False),
        Synced("again", None, False),
    ]
    assert list(diff.compare(known)) == [
        ("risen", 8, Why.CHANGED),
        ("late", 99, Why.AGAIN),
        ("gone", None, Why.UNLISTED),
        ("again", 7, Why.NEW),
    ]
    assert (list(diff.rest()), diff.backwards) == ([("new", 3, Why.NEW)], 1)


def test_a_list_that_lost_much_at_once_is_not_believed() -> None:
    assert not shrunk(10, 5)
    assert shrunk(10_000, 1_001)
    assert not shrunk(10_000, 1_000)
