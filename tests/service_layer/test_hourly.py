"""Counts by the hour: what is noted, what is read from the journal, and once only."""

from __future__ import annotations

from koschey.services import hourly
from koschey.services.hourly import HOUR
from koschey.services.pages import PAGE_MADE, PAGE_READY
from koschey.stores.database import now
from tests.fake_upstream import FakeUpstream
from tests.service_layer.conftest import Deploy, Deployment, on_both
from tests.service_layer.test_downloads import received


def counted(here: Deployment, name: str) -> int:
    return sum(here.koschey.hourly.series([name], 0)[name].values())


@on_both
def test_what_is_noted_is_written_and_added(here: Deployment) -> None:
    for _ in range(3):
        here.koschey.hourly.add(hourly.ASKED)
    here.koschey.hourly.flush()
    here.koschey.hourly.add(hourly.ASKED, 2)
    here.koschey.hourly.flush()
    here.koschey.hourly.flush()

    assert here.koschey.hourly.series([hourly.ASKED], 0) == {hourly.ASKED: {now() // HOUR: 5}}


@on_both
def test_events_are_counted_once_when_they_have_settled(here: Deployment) -> None:
    here.execute(
        "INSERT INTO event (at, actor, action) VALUES "
        "(:old, 'a', 'decision.hold'), (:old, 'a', 'file.released'), (:old, 'a', 'file.held'), "
        "(:new, 'a', 'decision.hold')",
        old=now() - 2 * HOUR,
        new=now(),
    )
    for _ in range(2):
        here.koschey.tasks["count_hourly"]()
    assert (counted(here, hourly.DECIDED), counted(here, hourly.RELEASED)) == (1, 1)

    here.execute("UPDATE event SET at = :old WHERE action = 'decision.hold'", old=now() - 2 * HOUR)
    here.koschey.tasks["count_hourly"]()
    assert (counted(here, hourly.DECIDED), counted(here, hourly.RELEASED)) == (2, 1)


def test_what_a_process_counted_is_there_after_it_ended(deploy: Deploy) -> None:
    first = deploy()
    first.koschey.hourly.add(hourly.FETCHED)
    first.koschey.hourly.close()

    assert counted(deploy(), hourly.FETCHED) == 1


def test_plots_add_up(here: Deployment) -> None:
    here.koschey.hourly.add(hourly.FAILED, 7)
    here.koschey.hourly.flush()
    here.koschey.tasks["count_hourly"]()

    plots = {plot.key: plot for plot in here.koschey.plots.plots()}

    assert plots["upstream"].total == plots["upstream"].highest == 7
    assert "7 failed, 0 by syncs in the last 48 hours" in plots["upstream"].description
    assert all(len(row.values) == len(plot.times) for plot in plots.values() for row in plot.series)


def test_pages_that_were_ready_are_counted_by_what_the_cache_counted(
    here: Deployment, upstream: FakeUpstream
) -> None:
    upstream.project("sample").release("1.0")
    for _ in range(4):
        here.page("sample")
    here.koschey.hourly.flush()
    here.koschey.hourly.flush()

    assert counted(here, PAGE_MADE) >= 1
    assert counted(here, PAGE_READY) == here.koschey.page_cache.ready >= 3


@on_both
def test_what_syncs_asked_is_counted_by_how_much_it_grew(here: Deployment) -> None:
    here.koschey.tasks["count_hourly"]()
    [source] = here.koschey.configuration.upstreams()
    here.execute("DELETE FROM sync_state")
    columns = (
        "projects_due, projects_done, projects_changed, projects_failed, files_due, files_done, files_failed"
    )
    here.execute(
        f"INSERT INTO sync_state (source_id, {columns}, run_requests, run_unchanged, run_bytes, "
        "requests, unchanged, bytes, failures) VALUES (:id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 2, 900, 0)",
        id=source.id,
    )
    for _ in range(2):
        here.koschey.tasks["count_hourly"]()
    assert (counted(here, hourly.SYNC_REQUESTS), counted(here, hourly.SYNC_BYTES)) == (5, 900)
    here.execute("UPDATE sync_state SET requests = 1, bytes = 1000")  # an upstream was removed, another asked
    here.koschey.tasks["count_hourly"]()
    assert (counted(here, hourly.SYNC_REQUESTS), counted(here, hourly.SYNC_BYTES)) == (5, 1000)
    [plot] = [plot for plot in here.koschey.plots.plots() if plot.key == "fetched"]
    assert [sum(row.values) for row in plot.series] == [0, 1000]


def test_bytes_that_clients_waited_for_are_counted_apart_from_those_of_syncs(
    here: Deployment, upstream: FakeUpstream
) -> None:
    file = upstream.project("sample").release("1.0")
    here.page("sample")
    here.koschey.hourly.flush()
    of_the_page = counted(here, hourly.UPSTREAM_BYTES)
    assert of_the_page > 0

    assert received(here.fetch(file)) == (file.content, None)
    here.koschey.hourly.flush()

    assert counted(here, hourly.UPSTREAM_BYTES) >= of_the_page + len(file.content)
    [plot] = [plot for plot in here.koschey.plots.plots() if plot.key == "fetched"]
    assert [(row.label, sum(row.values)) for row in plot.series] == [
        ("on demand", counted(here, hourly.UPSTREAM_BYTES)),
        ("by syncs", 0),
    ]
