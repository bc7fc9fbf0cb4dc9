"""The journal by filters: what is found, in which order, page by page, and how far one look goes."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from sqlalchemy import insert

from koschey.errors import RequestInvalid
from koschey.services import audit
from koschey.services.audit import Audit, AuditEvent, EventFilter
from koschey.stores.models import Event
from tests.service_layer.conftest import Deployment

COUNT = 400
FILTERS = [
    {},
    {"project": "p1"},
    {"project": "P_1"},
    {"actor": "user:a"},
    {"index": "main"},
    {"action": "decision.hold"},
    {"action": "decision.*"},
    {"action": "nothing.*"},
    {"subject": "s1"},
    {"since": 300},
    {"actor": "user:a", "action": "decision.*", "index": "main"},
    {"project": "p-1", "actor": "user:b", "since": 100},
    {"action": "*", "actor": "nobody"},
]


@pytest.fixture
def journal(here: Deployment) -> Iterator[Audit]:
    chosen = random.Random(7)
    with here.koschey.database.transaction() as tx:
        tx.connection.execute(
            insert(Event),
            [
                {
                    "at": number + 1,
                    "actor": chosen.choice(["user:a", "user:b", "koschey"]),
                    "action": chosen.choice(["decision.hold", "decision.approve", "file.released"]),
                    "project": chosen.choice(["p-1", "p1", None]),
                    "index": chosen.choice(["main", "team", None]),
                    "subject": chosen.choice(["s1", "s2"]),
                }
                for number in range(COUNT)
            ],
        )
    yield here.koschey.audit


def fits(event: AuditEvent, said: dict[str, object]) -> bool:
    def one(name: str, value: object) -> bool:
        if name == "since":
            return event.at >= value  # type: ignore[operator]
        if name == "action":
            return event.action == value or (
                str(value).endswith("*") and event.action.startswith(str(value)[:-1])
            )
        if name == "project":
            return event.project == str(value).lower().replace("_", "-")
        return bool(getattr(event, name) == value)

    return all(one(name, value) for name, value in said.items())


@pytest.mark.parametrize("window", [7, 10_000])
def test_filters_give_what_a_look_at_every_event_gives(
    journal: Audit, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    everything = list(journal.all(EventFilter()))
    monkeypatch.setattr(audit, "WINDOW", window)
    for said in FILTERS:
        assert_found(journal, everything, said)


def assert_found(journal: Audit, everything: list[AuditEvent], said: dict[str, object]) -> None:
    expected = [event.id for event in everything if fits(event, said)]

    assert [event.id for event in journal.all(EventFilter(**said))] == expected  # type: ignore[arg-type]
    pages, at = [], None
    while True:
        found = journal.page(EventFilter(**said), at=at, limit=11)  # type: ignore[arg-type]
        pages.append(found)
        at = found.page.older
        if at is None:
            break
    assert [event.id for part in pages for event in part.page.rows] == expected
    came, at = [], pages[-1].page.newer
    while at is not None:
        back = journal.page(EventFilter(**said), at=at, limit=11)  # type: ignore[arg-type]
        came = [event.id for event in back.page.rows] + came
        at = back.page.newer
    last = [event.id for event in pages[-1].page.rows]
    if len(pages) > 1 and last:
        assert came == expected[: -len(last)]


def test_a_look_that_finds_nothing_says_how_far_it_went(
    journal: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "WINDOW", 50)

    found = journal.page(EventFilter(subject="none such"))

    assert found.page.rows == () and found.page.older is not None and found.seen_to is not None


def test_a_cursor_that_is_none_is_refused(journal: Audit) -> None:
    for at in ("x1", "o", "o-1", "o" + "9" * 30, "n1x"):
        with pytest.raises(RequestInvalid):
            journal.page(EventFilter(), at=at)


def test_the_command_line_goes_as_far_as_it_must(journal: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "WINDOW", 10)
    rare = journal.events(actor="user:a", action="decision.hold", index="team", limit=1000)
    assert len(rare) > 5
    assert journal.events(actor="user:a", action="decision.hold", index="team", after=rare[2].id) == rare[3:]
