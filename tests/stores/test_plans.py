"""How PostgreSQL goes about the quarantine's statements: by an index, however many files are held."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import event

from bench import held, panel
from koschey.domain.names import NormalizedName
from koschey.services.audit import EventFilter
from koschey.services.project_lists import Which
from koschey.services.review_queue import Tab
from koschey.stores.database import now
from koschey.stores.hot_connections import HotConnections
from koschey.web.current import Koschey
from tests.services import Services

#: Grow with what is mirrored, held or said; a scan of any other table is a look at a few rows.
LARGE = frozenset(
    {"project", "file", "hold", "decision", "event", "check_result", "file_contents", "download"}
)
PROJECTS = 5_000
ENDED = 10
NAME = NormalizedName("held-200")

Work = Callable[[Koschey], object]


@pytest.fixture(scope="module")
def koschey(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Koschey]:
    """Services over a database of 50,000 held files, of which 100 are to be released."""
    with (
        services.database() as url,
        held.services(url, tmp_path_factory.mktemp("plans")) as koschey,
    ):
        held.fill(koschey, projects=PROJECTS, ended=ENDED)
        panel.add(koschey, known=PROJECTS, projects=2 * PROJECTS, events=100_000)
        yield koschey


def page_and_file(koschey: Koschey) -> None:
    [look] = koschey.lookup.files_named(NAME, f"{NAME}-1.3.tar.gz")
    koschey.lookup.page(look.project_id)
    koschey.lookup.files_at(look.path)
    koschey.lookup.name(NAME)


def later_page(koschey: Koschey) -> None:
    queue = koschey.review_queue
    queue.page(Tab.WAITING, at=queue.page(Tab.WAITING).older)
    queue.page(Tab.WAITING, at=queue.page(Tab.WAITING, at=queue.page(Tab.WAITING).older).newer)


WORK: dict[str, Work] = {
    "a sweep that releases": lambda koschey: koschey.tasks["release_due"](),
    "a sweep with nothing to do": lambda koschey: koschey.tasks["release_due"](),
    "finding what is to be checked": lambda koschey: koschey.tasks["derive_work"](),
    "the first page of the queue": lambda koschey: koschey.waiting.page(),
    "a later page of the queue": lambda koschey: koschey.waiting.page(after=koschey.waiting.page().next),
    "the oldest of the queue": lambda koschey: koschey.waiting.page(oldest_first=True),
    "what waits for review": lambda koschey: koschey.waiting.page(review=True),
    "the first page of the reviewers' queue": lambda koschey: koschey.review_queue.page(Tab.WAITING),
    "a later page of it": lambda koschey: later_page(koschey),
    "what needs review by versions": lambda koschey: koschey.review_queue.page(Tab.REVIEW),
    "what was rejected by versions": lambda koschey: koschey.review_queue.page(Tab.REJECTED),
    "the queue of one index": lambda koschey: koschey.review_queue.page(Tab.WAITING, index="main"),
    "a search in the queue": lambda koschey: koschey.review_queue.page(Tab.WAITING, search="held-20"),
    "a search for nothing": lambda koschey: koschey.review_queue.page(Tab.WAITING, search="zzz"),
    "what was released": lambda koschey: koschey.releases.page(),
    "a later part of what was released": lambda koschey: koschey.releases.page(
        at=koschey.releases.page().older
    ),
    "what was released in an index": lambda koschey: koschey.releases.page(index="main"),
    "what was released of a project": lambda koschey: koschey.releases.page(index="main", search=NAME),
    "one version of the queue": lambda koschey: koschey.review_queue.version(NAME, "1.4"),
    "one project of the queue": lambda koschey: koschey.waiting.page(project=NAME),
    "the numbers of the queue": lambda koschey: koschey.metrics.numbers(),
    "the numbers of the storage": lambda koschey: koschey.metrics.storage(),
    "an approve": lambda koschey: koschey.review.approve(NAME, "1.1", reason="read it", actor="rena"),
    "a reject": lambda koschey: koschey.review.reject(NAME, "1.2", reason="stolen", actor="rena"),
    "a revert": lambda koschey: koschey.review.revert(NAME, "1.2", reason="a mistake", actor="rena"),
    "the explanation of a version": lambda koschey: koschey.explanations.version("main", NAME, "1.3"),
    "a page and a file of it": page_and_file,
    "who refers to blobs": lambda koschey: koschey.orphans.referenced([f"{n:064x}" for n in range(500)]),
    "a publication of a blob": lambda koschey: koschey.orphans.spare(["ab" * 32]),
    "the report of what is stored": lambda koschey: koschey.storage_report.report(),
    "a project's decisions": lambda koschey: koschey.lookup.decisions(NAME),
    "all events": lambda koschey: koschey.audit.page(EventFilter()),
    "events by some filters": lambda koschey: koschey.audit.page(
        EventFilter(actor="rena", action="decision.*", index="main", project=NAME)
    ),
    "events by an action": lambda koschey: koschey.audit.page(EventFilter(action="file.*")),
    "projects": lambda koschey: koschey.project_lists.page(Which.ALL),
    "projects that begin so": lambda koschey: koschey.project_lists.page(Which.ALL, prefix="held-2"),
    "projects that are archived": lambda koschey: koschey.project_lists.page(Which.UNUSUAL),
    "a project's holds": lambda koschey: koschey.project_lists.held_by_index(NAME),
    "who uses a project": lambda koschey: koschey.project_lists.clients(NAME),
    "what is trusted": lambda koschey: koschey.project_lists.trusted(),
    "files that fail": lambda koschey: koschey.backlog.failing(),
    "upstreams": lambda koschey: koschey.upstreams.list(),
    "what upstreams took away": lambda koschey: koschey.departures.latest(10),
    "the checklist": lambda koschey: koschey.checklist.steps(),
}


@pytest.mark.parametrize("what", WORK)
def test_no_large_table_is_gone_through_from_end_to_end(koschey: Koschey, what: str) -> None:
    asked = statements(koschey, WORK[what])

    assert asked
    with koschey.engine.connect() as connection:
        cursor = connection.connection.cursor()
        for statement, parameters in asked:
            cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
            answer = cursor.fetchone()[0]
            plan = (json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]
            scanned = set(sequential_scans(plan)) & LARGE
            assert not scanned, f"{what}: goes through {scanned} for {statement}"


def statements(koschey: Koschey, work: Work) -> list[tuple[str, Any]]:
    """What some work asks the database, each statement with one set of its parameters."""
    asked: dict[str, Any] = {}

    def note(_1: Any, _2: Any, statement: str, parameters: Any, _3: Any, executemany: bool) -> None:
        if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE")):
            asked.setdefault(statement, parameters[0] if executemany else parameters)

    rows = HotConnections.rows

    def note_look(connections: HotConnections, statement: str, values: Any) -> list[Any]:
        asked.setdefault(statement, values)
        return rows(connections, statement, values)

    event.listen(koschey.engine, "before_cursor_execute", note)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HotConnections, "rows", note_look)
        try:
            work(koschey)
        finally:
            event.remove(koschey.engine, "before_cursor_execute", note)
    return list(asked.items())


def sequential_scans(plan: dict[str, Any]) -> Iterator[str]:
    if plan["Node Type"] == "Seq Scan":
        yield plan["Relation Name"]
    for part in plan.get("Plans", ()):
        yield from sequential_scans(part)


@pytest.mark.parametrize("index", [None, "main"])
@pytest.mark.parametrize("tab", Tab)
def test_a_tab_of_the_queue_is_read_in_its_order(koschey: Koschey, tab: Tab, index: str | None) -> None:
    """However long it is: where the first fifty are found by sorting, a tab of 250,000 takes seconds."""
    asked = statements(koschey, lambda koschey: koschey.review_queue.page(tab, index=index))
    [(leads, parameters)] = [(s, p) for s, p in asked if "hold_1" in s and "LIMIT" in s]

    with koschey.engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN {leads}", parameters).scalars().all()

    assert not [line for line in plan if "Sort" in line], plan


@pytest.mark.parametrize(("index", "by"), [(None, "ix_event_action_id"), ("main", "ix_event_released")])
def test_releases_are_read_in_an_index_of_their_own(koschey: Koschey, index: str | None, by: str) -> None:
    """However many other events came since: after a first sync, millions of files that are held."""
    first = koschey.releases.page(index=index)
    second = koschey.releases.page(index=index, at=first.older)
    for at, wanted in ((None, first), (first.older, second), (second.newer, first)):
        assert koschey.releases.page(index=index, at=at).rows == wanted.rows
        asked = statements(koschey, lambda koschey, at=at: koschey.releases.page(index=index, at=at))
        [(releases, parameters)] = [(s, p) for s, p in asked if "FROM event" in s]
        with koschey.engine.connect() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN (ANALYZE) {releases}", parameters).scalars().all()

        said = "\n".join(plan)
        assert by in said, said
        assert "Rows Removed" not in said, said


def test_the_oldest_held_file_is_found_among_those_that_are_held(koschey: Koschey) -> None:
    """What was rejected before it, and stays for ever, is not gone through."""
    asked = statements(koschey, WORK["the numbers of the queue"])
    [(oldest, parameters)] = [(s, p) for s, p in asked if "state = 'held'" in s]

    with koschey.engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN {oldest}", parameters).scalars().all()

    assert "ix_hold_held" in " ".join(plan)


def test_a_sweep_with_nothing_to_do_asks_two_small_questions(koschey: Koschey) -> None:
    """What has ended, and what has run out; the lock is asked elsewhere."""
    koschey.tasks["release_due"]()
    with koschey.database.reading() as session:
        released = session.connection().exec_driver_sql(
            "SELECT count(*) FROM event WHERE action = 'file.released' AND actor = 'koschey'"
        )
        assert released.scalar_one() == ENDED * held.EACH, "or there was nothing to do before either"

    asked = statements(koschey, WORK["a sweep with nothing to do"])

    assert sorted(statement.split(" FROM ")[1].split()[0] for statement, _ in asked) == ["decision", "hold"]


def test_a_scan_would_be_seen(koschey: Koschey) -> None:
    """Or the tests above would prove nothing."""

    def careless(koschey: Koschey) -> None:
        with koschey.database.reading() as session:
            session.connection().exec_driver_sql("SELECT id FROM file WHERE size = %s", (now(),))

    [(statement, parameters)] = statements(koschey, careless)
    with koschey.engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()

    assert set(sequential_scans(plan[0]["Plan"])) == {"file"}
