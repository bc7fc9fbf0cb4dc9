"""An upstream that a person paused: no job asks it, and nothing counts as a failure of what waits for it."""

from __future__ import annotations

from typing import Any

import pytest

from koschey.domain.filters import Mode
from koschey.errors import Conflict, StoreUnavailable, UpstreamError
from koschey.services import sync as sync_module
from koschey.services.keeping import KeepSpec
from koschey.services.sync_schedule import lock_name, submit_due
from koschey.stores.database import now
from tests.fake_upstream import FakeUpstream, Seen
from tests.service_layer.conftest import Deploy, Deployment, on_both
from tests.service_layer.test_checking import recently


def pause(here: Deployment) -> None:
    here.koschey.indexes.pause_upstream("upstream", reason="it was broken into", actor="ann")


def resume(here: Deployment) -> None:
    here.koschey.indexes.resume_upstream("upstream", actor="ann")


@pytest.fixture
def here(deploy: Deploy) -> Deployment:
    """A process in which no job is done that the test does not do."""
    deployment = deploy()
    deployment.koschey.queue.close()
    return deployment


@pytest.fixture
def full(deploy: Deploy, upstream: FakeUpstream) -> Deployment:
    """An upstream of three projects that is mirrored whole."""
    here = deploy()
    for name in ("one", "two", "three"):
        upstream.project(name).release("1.0")
    here.koschey.keeping.edit("upstream", KeepSpec(mode=Mode.FULL, sync_seconds=3600), actor="test")
    return here


def test_it_is_not_synced_by_anybody(full: Deployment, upstream: FakeUpstream) -> None:
    """Not by a person, not by a job that was handed over before, not by the schedule."""
    submitted: list[tuple[Any, ...]] = []

    def schedule() -> None:
        submit_due(full.koschey.database, full.koschey.locks, lambda *given: submitted.append(given))

    [source] = full.koschey.configuration.upstreams()
    pause(full)

    for attempt in (full.koschey.sync.start, full.koschey.sync.run):
        with pytest.raises(Conflict, match="paused"):
            attempt("upstream")
    full.koschey.sync.scheduled(source.id)
    schedule()
    assert (submitted, upstream.requests) == ([], [])

    resume(full)
    schedule()
    assert submitted == [("sync_upstream", source.id)], "or the schedule had nothing to do before either"


@on_both
@pytest.mark.parametrize("seconds", [3600, 0])
def test_a_sync_that_an_upstream_asked_to_end_goes_on_when_that_is_over(
    full: Deployment, upstream: FakeUpstream, seconds: float
) -> None:
    """Not only an hour later, when the next one would have come, or never where none would."""
    full.koschey.keeping.edit("upstream", KeepSpec(sync_seconds=seconds), actor="test")
    submitted: list[tuple[Any, ...]] = []

    def schedule() -> None:
        submit_due(full.koschey.database, full.koschey.locks, lambda *given: submitted.append(given))

    upstream.fail("/", status=503, retry_after=900)
    with pytest.raises(UpstreamError):
        full.koschey.sync.run("upstream")
    schedule()
    assert submitted == [], "it asked for peace"

    full.execute(f"UPDATE sync_state SET paused_until = {now() - 1}")
    schedule()
    [source] = full.koschey.configuration.upstreams()
    assert submitted == [("sync_upstream", source.id)]


@on_both
def test_a_sync_that_was_killed_is_due_at_once_and_one_that_waits_is_not(full: Deployment) -> None:
    """However short ago another one had ended: a lock tells, which the kernel or the server takes back."""
    koschey = full.koschey
    submitted: list[tuple[Any, ...]] = []
    [source] = koschey.configuration.upstreams()
    koschey.sync.run("upstream")
    full.execute(f"UPDATE sync_state SET phase = 'pages', outcome = NULL, seen_at = {now() - 15_000_000}")

    def schedule() -> list[tuple[Any, ...]]:
        submitted.clear()
        submit_due(koschey.database, koschey.locks, lambda *given: submitted.append(given))
        return list(submitted)

    with koschey.locks.hold(lock_name(source.id), 0.0):
        assert (schedule(), koschey.sync.status()[0]["running"]) == ([], True), "it waits for the upstream"
        with pytest.raises(Conflict, match="runs already"):
            koschey.sync.start("upstream")
    assert (schedule(), koschey.sync.status()[0]["running"]) == ([("sync_upstream", source.id)], False)

    full.execute(f"UPDATE sync_state SET seen_at = {now()}")
    assert schedule() == [], "it may only just have begun"


def test_a_sync_that_failed_is_due_again_soon(full: Deployment, upstream: FakeUpstream) -> None:
    """An upstream that was away for a moment is not a whole period of the schedule behind."""
    upstream.fail("/", status=502)
    with pytest.raises(UpstreamError):
        full.koschey.sync.run("upstream")
    assert _scheduled(full) == [], "it is left alone for a while"

    full.execute(f"UPDATE sync_state SET ended_at = {now() - 310_000_000}")

    assert len(_scheduled(full)) == 1


def test_a_sync_that_our_own_storage_ended_is_due_at_once_and_asks_for_no_file_in_vain(
    full: Deployment, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StoreUnavailable("files", "no space is left")

    with monkeypatch.context() as broken:
        broken.setattr(type(full.koschey.store), "publish_all", fail)
        with pytest.raises(StoreUnavailable):
            full.koschey.sync.run("upstream")
    [status] = full.koschey.sync.status()
    assert (status["outcome"], status["problem"]) == ("failed", "files: no space is left")

    full.execute(f"UPDATE sync_state SET seen_at = {now() - 15_000_000}")
    assert len(_scheduled(full)) == 1
    assert not full.koschey.sync.status()[0]["running"]

    with monkeypatch.context() as broken:
        broken.setattr(type(full.koschey.store), "check", fail)
        upstream.requests.clear()
        with pytest.raises(StoreUnavailable):
            full.koschey.sync.run("upstream")
    assert [seen.target for seen in upstream.requests] == ["/"]
    assert full.koschey.sync.run("upstream")["outcome"] == "ok"


def test_a_part_of_a_sync_by_command_is_followed_by_the_others(full: Deployment) -> None:
    """Also where the schedule begins none by itself; what a person stopped stays stopped there."""
    full.koschey.keeping.edit("upstream", KeepSpec(sync_seconds=0), actor="test")
    [source] = full.koschey.configuration.upstreams()
    assert _scheduled(full) == []

    full.koschey.sync.scheduled(source.id, seconds=0)

    assert full.koschey.sync.status()[0]["outcome"] == "continues"
    assert len(_scheduled(full)) == 1
    full.koschey.sync.stop("signal SIGINT")
    assert full.koschey.sync.run("upstream")["outcome"] == "continues"
    assert _scheduled(full) == []


def _scheduled(full: Deployment) -> list[tuple[Any, ...]]:
    """What the schedule submits now."""
    submitted: list[tuple[Any, ...]] = []
    submit_due(full.koschey.database, full.koschey.locks, lambda *given: submitted.append(given))
    return submitted


def test_a_sync_that_runs_ends_and_the_next_one_goes_on(
    full: Deployment, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_module, "_PAUSE_LOOK_SECONDS", 0.0)
    for number in range(40):
        upstream.project(f"more-{number:02}").release("1.0")
    full.koschey.keeping.edit("upstream", KeepSpec(mode=Mode.FULL, connections=1), actor="test")

    class PausedAfterFive(list[Seen]):
        def append(self, seen: Seen) -> None:
            super().append(seen)
            if len(self) == 5:
                pause(full)

    upstream.requests = PausedAfterFive()

    summary = full.koschey.sync.run("upstream")

    assert (summary["outcome"], summary["problem"]) == ("continues", "it was paused")
    asked = len(upstream.requests)
    assert asked < 43
    resume(full)
    assert full.koschey.sync.run("upstream")["outcome"] == "ok"
    assert len(full.rows("SELECT id FROM file WHERE stored_at IS NOT NULL")) == 43


@on_both
def test_a_page_is_not_looked_at_behind_an_answer(here: Deployment, upstream: FakeUpstream) -> None:
    upstream.project("sample").release("1.0")
    here.look("sample")
    pause(here)
    here.execute("UPDATE project SET looked_at = 1")
    [source] = here.koschey.configuration.upstreams()
    asked, failing = len(upstream.requests), []
    here.koschey.catalog._outages.failed = lambda *given: failing.append(given)  # type: ignore[method-assign]

    here.koschey.tasks["refresh_page"](source.id, "sample")

    assert (len(upstream.requests), failing) == (asked, []), "and a pause is no failure"


@on_both
def test_files_that_are_due_wait_without_counting_attempts(here: Deployment, upstream: FakeUpstream) -> None:
    fresh = upstream.project("sample").release("1.0", upload_time=recently())
    here.look("sample")
    pause(here)
    for _ in range(3):
        here.execute("UPDATE file SET due_at = 1")
        here.koschey.checking.check_file(here.file(fresh.filename)["id"])
        row = here.file(fresh.filename)
        assert (row["attempts"], row["stored_at"]) == (0, None)
        assert row["due_at"] > now(), "tried by every sweep, a mirror's thousands would fill the queue"
    assert here.koschey.backlog.failing().rows == ()

    resume(here)

    assert here.file(fresh.filename)["due_at"] <= now()
    here.koschey.checking.check_file(here.file(fresh.filename)["id"])
    row = here.file(fresh.filename)
    assert row["stored_at"] is not None
    assert row["checks"]


def test_what_is_resumed_while_a_file_is_put_off_stays_due(here: Deployment, upstream: FakeUpstream) -> None:
    fresh = upstream.project("sample").release("1.0", upload_time=recently())
    here.look("sample")
    here.execute("UPDATE file SET due_at = 1")
    pause(here)
    checking = here.koschey.checking
    begin = checking._begin

    def begin_and_resume(file_id: int, attempt: int | None) -> int:
        begun = begin(file_id, attempt)
        config = here.koschey.configuration
        paused = config.source(config.upstreams()[0].id)
        resume(here)
        config.source = lambda _: paused  # type: ignore[method-assign, assignment]
        return begun

    checking._begin = begin_and_resume  # type: ignore[method-assign]
    checking.check_file(here.file(fresh.filename)["id"])

    assert here.file(fresh.filename)["due_at"] <= now()
