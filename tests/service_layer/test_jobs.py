"""Jobs in threads of this process, and what a killed process leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog.testing

from koschey.errors import StoreUnavailable
from koschey.jobs import tasks
from koschey.jobs.queue import Lane, ThreadQueue
from koschey.jobs.rq_queue import FILES, RqQueue, Terms
from koschey.jobs.schedule import Schedule
from koschey.jobs.schedule_entry import Periodic
from koschey.services.storage import sweep_spool
from koschey.stores.locks import FileLocks
from tests.running import eventually, free_port
from tests.service_layer.conftest import Deployment

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded.*fork:DeprecationWarning"
)  # that is the case


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_forked_worker_does_its_own_jobs_although_its_parent_had_some() -> None:
    done = threading.Event()
    queue = ThreadQueue({"work": done.set}, threads=1)
    queue.submit("work")
    assert done.wait(5)
    done.clear()

    child = os.fork()
    if child == 0:
        queue.submit("work")
        os._exit(0 if done.wait(5) else 1)
    _, status = os.waitpid(child, 0)
    queue.close()

    assert os.waitstatus_to_exitcode(status) == 0


def _wait(event: threading.Event) -> None:
    event.wait()


def test_slow_work_with_a_lane_of_its_own_keeps_no_other_waiting() -> None:
    go, done = threading.Event(), threading.Event()
    queue = ThreadQueue(
        {"slow": lambda _: _wait(go), "quick": done.set}, threads=1, lanes=[Lane(frozenset(["slow"]), 1)]
    )
    try:
        for number in range(3):
            queue.submit("slow", number)
        queue.submit("quick")

        assert done.wait(10)
    finally:
        go.set()
        queue.close()


@pytest.mark.parametrize(
    "problem",
    [RuntimeError("cannot schedule new futures after shutdown"), StoreUnavailable("checks", "being stopped")],
)
def test_a_stop_leaves_what_waits_and_what_breaks_because_of_it_is_no_crash(problem: Exception) -> None:
    """The database is being closed under the job that runs: it is derived again after the next start."""
    begun, go, done = threading.Event(), threading.Event(), list[int]()

    def work(number: int) -> None:
        begun.set()
        _wait(go)
        done.append(number)
        raise problem

    queue = ThreadQueue({"work": work}, threads=1)
    with structlog.testing.capture_logs() as lines:
        for number in range(3):
            queue.submit("work", number)
        assert begun.wait(5)
        queue.close()
        go.set()
        eventually(lambda: lines)

    assert [(line["event"], line["log_level"]) for line in lines] == [("job.left", "info")]
    assert done == [0]


def test_slow_files_have_a_lane_and_refreshes_do_not_share_it() -> None:
    lanes = [lane.tasks for lane in tasks.LANES]

    assert any("check_file" in names for names in lanes)
    assert not any("refresh_page" in names for names in lanes)


def test_the_first_run_of_a_sweep_comes_soon_after_the_start(tmp_path: Path) -> None:
    ran: list[str] = []
    queue = ThreadQueue({"soon": lambda: ran.append("soon"), "late": lambda: ran.append("late")})
    periodic = [Periodic("soon", 600.0, first=0.5), Periodic("late", 600.0)]
    schedule = Schedule(queue, FileLocks(tmp_path), periodic)
    schedule.start()
    try:
        eventually(lambda: ran, 30)
    finally:
        schedule.close()
        queue.close()

    assert ran == ["soon"]


TERMS = {
    "work": Terms(FILES, timeout=60, ttl=60),
    "sweep": Terms(FILES, timeout=60, ttl=60, slot=3600.0),
    "alone": Terms(FILES, timeout=60, ttl=60, alone=True),
}


@pytest.fixture
def jobs(redis_url: str) -> Iterator[RqQueue]:
    """A queue in a real Redis without a worker, so that what it takes can be looked at."""
    queue = RqQueue(redis_url, ThreadQueue({"near": lambda: None}), TERMS)
    yield queue
    queue.close()


def test_the_same_job_waits_once_in_redis(jobs: RqQueue) -> None:
    for _ in range(3):
        jobs.submit("work", 1, 0)
        jobs.submit("work", 1, 1)
        jobs.submit("sweep")
    jobs.drain(30)

    ids = jobs.rq(FILES).get_job_ids()
    assert ids[:2] == ["work-1-0", "work-1-1"]
    assert len(ids) == 3, "a sweep waits once in each of its time slots"


def test_what_redis_gets_is_json_and_names_nothing_but_the_task(jobs: RqQueue) -> None:
    jobs.put("work", 17)

    data = jobs.client.hget("rq:job:work-17", "data")
    assert isinstance(data, bytes)
    assert json.loads(zlib.decompress(data)) == ["koschey.jobs.tasks.run", None, ["work", 17], {}]


def test_a_job_that_failed_is_taken_again(jobs: RqQueue) -> None:
    jobs.put("work", 1)
    job = jobs.rq(FILES).fetch_job("work-1")
    assert job is not None
    assert not jobs.put("work", 1)
    jobs.rq(FILES).empty()  # type: ignore[no-untyped-call]
    jobs.client.hset(job.key, mapping={"status": "failed", "origin": FILES, "data": job.data})

    assert jobs.put("work", 1)


def test_a_job_whose_worker_died_long_ago_is_taken_again(jobs: RqQueue) -> None:
    jobs.put("work", 1)
    job = jobs.rq(FILES).fetch_job("work-1")
    assert job is not None
    jobs.rq(FILES).empty()  # type: ignore[no-untyped-call]
    jobs.client.hset(job.key, mapping={"status": "failed", "origin": FILES, "data": job.data})
    # The list of its runs outlives the run itself, by a minute.
    jobs.client.zadd(job.execution_registry.key, {"gone": time.time() + 60})

    assert jobs.put("work", 1)


def test_a_job_of_a_killed_worker_is_in_the_way_of_none_that_sees_to_it_itself_that_it_runs_once(
    jobs: RqQueue,
) -> None:
    for task in ("work", "alone"):
        assert jobs.put(task, 1)
        assert not jobs.put(task, 1), "it waits"
    for task in ("work", "alone"):
        job = jobs.rq(FILES).fetch_job(f"{task}-1")
        assert job is not None
        jobs.client.hset(job.key, "status", "started")  # and nobody says otherwise

    assert not jobs.put("work", 1)
    assert jobs.put("alone", 1)
    for _ in range(10):
        jobs.put("alone", 1)
    again = [job_id for job_id in jobs.rq(FILES).get_job_ids() if job_id.startswith("alone-1-")]
    assert len(again) in (1, 2), "once a minute"


def test_jobs_are_dropped_and_nobody_waits_while_redis_is_away() -> None:
    queue = RqQueue(f"redis://127.0.0.1:{free_port()}/0", ThreadQueue({}), TERMS)

    begun = time.monotonic()
    for number in range(1000):
        queue.submit("work", number)
    assert time.monotonic() - begun < 2, "it is called on an event loop"

    queue.drain(60)
    with pytest.raises(StoreUnavailable):
        queue.put("work", 1)
    with pytest.raises(StoreUnavailable):
        queue.check()
    queue.close()


@pytest.mark.parametrize("task", ["refresh_page", "sweep_spool"])
def test_what_must_not_hang_on_a_worker_is_done_by_the_process_itself(redis_url: str, task: str) -> None:
    done = threading.Event()
    queue = RqQueue(redis_url, ThreadQueue({task: done.set}), tasks.worker_terms(60.0))

    queue.submit(task)

    assert done.wait(10)
    queue.close()


def test_every_task_has_its_place(here: Deployment) -> None:
    names = set(here.koschey.tasks)

    assert names == {*tasks.worker_terms(60.0), "refresh_page"}
    assert set(tasks.IN_ORDER) == {entry.task for entry in tasks.IN_WORKERS}
    assert {entry.task for entry in tasks.IN_PROCESS} == {entry.task for entry in tasks.IN_WORKERS}


def test_a_process_without_redis_carries_neither_redis_nor_rq(tmp_path: Path) -> None:
    program = (
        "import sys; from koschey import settings; from koschey.application import create_app; "
        "create_app(settings.load({}, data_dir=__import__('pathlib').Path(sys.argv[1]), upstream_url='')); "
        "print(sorted({'redis', 'rq', 'croniter'} & sys.modules.keys()))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.strip() == "[]"


def test_the_sweep_takes_what_killed_processes_left_and_nothing_that_is_in_use(here: Deployment) -> None:
    store = here.koschey.store
    old, new = store.spool_dir / "inspect-old", store.spool_dir / "inspect-new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "wheel").write_bytes(b"copy")
    part = store.spool_dir / "file-1.part"
    part.write_bytes(b"half")
    for path in (old, part):
        os.utime(path, (time.time() - 1000,) * 2)

    sweep_spool(store, 100.0)

    assert not old.exists()
    assert not part.exists()
    assert (new / "wheel").exists()
