"""Worker processes on a real Redis: whatever is killed or lost, everything is done once in the end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from redis import Redis
from sqlalchemy import Engine, create_engine, text

from koschey.jobs.queue import ThreadQueue
from koschey.jobs.rq_queue import RqQueue
from koschey.jobs.tasks import worker_terms
from tests import commands, prepared
from tests.fake_upstream import FakeUpstream
from tests.running import Running, clean_environment, eventually, free_port, start_koschey
from tests.services import Services, redis_binary

#: The machine is slow and shared: a kill is followed by another try after half a minute.
PATIENCE = 150.0


@dataclass
class OwnRedis:
    """A Redis that a test may stop, empty and start again."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = [redis_binary(), "--bind", "127.0.0.1", "--port", str(self.port), "--save", ""]
        self.process = subprocess.Popen(
            command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually(self.answers)

    def answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as c:
            c.sendall(b"PING\r\n")
            return c.recv(16).startswith(b"+PONG")
        return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def empty(self) -> None:
        with Redis.from_url(self.url) as client:
            client.flushall()


@dataclass
class Deployment:
    """A web process, worker processes, and the database that both use."""

    environment: Mapping[str, str]
    engine: Engine
    redis: OwnRedis
    upstream: FakeUpstream
    log: Path
    web: Running

    def ask(self, name: str) -> dict[str, Any]:
        """The page of a project as a client gets it."""
        accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
        page: dict[str, Any] = requests.get(f"{self.web.simple}{name}/", headers=accept, timeout=30).json()
        return page

    def hurry(self) -> None:
        """Make what is put off for another try due now, and the next sweep that finds it."""
        with self.engine.begin() as connection:
            connection.execute(text("UPDATE file SET due_at = 1 WHERE due_at IS NOT NULL"))
        if self.redis.process is not None:
            RqQueue(self.redis.url, ThreadQueue({}), worker_terms(20.0)).put("derive_work")

    def rows(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(text(statement), values).mappings()]

    @contextlib.contextmanager
    def worker(self, *options: str, **settings: str) -> Iterator[commands.Process]:
        """``koschey worker`` until the end of the block, with the settings changed."""
        with self.log.open("ab") as out:
            process = commands.Process(["worker", *options], {**self.environment, **settings}, out)
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        return commands.koschey("worker", *options, environment=self.environment, timeout=PATIENCE)

    def unchecked(self) -> int:
        """How many held files wait; 1.0, which they are compared with, has half a minute of its own."""
        waiting = "SELECT count(*) AS n FROM file WHERE due_at IS NOT NULL AND version <> '1.0'"
        return int(self.rows(waiting)[0]["n"])

    def tries(self, filename: str) -> int:
        """How often it was begun to check a file; a check that was recorded is one as well."""
        rows = self.rows("SELECT attempts, checks FROM file WHERE filename = :filename", filename=filename)
        return int(rows[0]["attempts"]) or bool(rows[0]["checks"])

    def checked(self, filename: str) -> bool:
        rows = self.rows("SELECT due_at, checks FROM file WHERE filename = :filename", filename=filename)
        return bool(rows) and rows[0]["due_at"] is None and bool(rows[0]["checks"])

    def events(self, filename: str) -> list[str]:
        rows = self.rows("SELECT action FROM event WHERE subject = :filename ORDER BY id", filename=filename)
        return [row["action"] for row in rows]

    def workers(self) -> int:
        """How many workers of this Redis say that they live: ``koschey worker --check`` in no time."""
        with Redis.from_url(self.redis.url) as client:
            return int(client.scard("rq:workers"))

    def says(self, words: str) -> bool:
        return self.log.exists() and words in self.log.read_text(errors="replace")


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, upstream: FakeUpstream, services: Services
) -> Iterator[Deployment]:
    """One web process for all tests here; each has projects of its own."""
    folder = tmp_path_factory.mktemp("worker")
    redis = OwnRedis(folder, free_port())
    redis.start()
    with prepared.postgres() as database_url:
        settings = {
            "KOSCHEY_DATABASE_URL": database_url,
            "KOSCHEY_REDIS_URL": redis.url,
            "KOSCHEY_QUARANTINE_DAYS": "7",
            "KOSCHEY_UPSTREAM_RETRIES": "0",
            "KOSCHEY_FILE_DEADLINE": "20",
        }
        web = start_koschey(folder, upstream.simple_url, settings, workers=1)
        engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg2://"))
        try:
            yield Deployment(web.environment, engine, redis, upstream, web.log_path, web)
        finally:
            web.stop()
            engine.dispose()
            redis.kill()


@pytest.fixture
def deployment(shared: Deployment, tmp_path: Path) -> Deployment:
    """With an empty Redis, a log of its own, and nothing to do that earlier tests left."""
    shared.redis.empty()
    with shared.engine.begin() as connection:
        connection.execute(text("UPDATE file SET due_at = NULL"))
    return replace(shared, log=tmp_path / "worker.log")


@pytest.fixture
def fresh(deployment: Deployment, upstream: FakeUpstream) -> Callable[..., str]:
    """Publishes a project with a release that has to be held and has it seen; the wheel's name."""

    def publish(name: str, releases: int = 1) -> str:
        project = upstream.project(name)
        project.release("1.0", upload_time=_ago(days=100))
        files = [project.release(f"1.{n}", upload_time=_ago(days=2)) for n in range(1, releases + 1)]
        page = deployment.ask(name)
        assert [file["filename"] for file in page["files"]] == [
            f"{name.replace('-', '_')}-1.0-py3-none-any.whl"
        ]
        return files[-1].filename

    return publish


def _ago(**span: float) -> str:
    return (datetime.now(UTC) - timedelta(**span)).isoformat().replace("+00:00", "Z")


def _horses(worker: commands.Process) -> list[int]:
    """Processes that do a job: grandchildren of the parent, in groups of their own."""
    found = []
    for child in _children(worker.pid):
        found += [pid for pid in _children(child) if os.getpgid(pid) == pid]
    return found


def _children(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def test_without_redis_a_worker_says_what_it_needs(tmp_path: Path) -> None:
    done = commands.koschey("worker", "--data", str(tmp_path), environment=clean_environment())

    assert done.returncode == 1
    assert done.stderr.startswith("koschey: setting KOSCHEY_REDIS_URL: is needed for workers")
    assert done.stderr.count("\n") == 1


def test_workers_store_and_check_what_a_web_process_found_and_stop_cleanly(
    deployment: Deployment, fresh: Callable[..., str]
) -> None:
    wheel = fresh("worked")
    assert not deployment.checked(wheel), "with Redis, web processes leave that to workers"
    assert deployment.run("--check").returncode == 1, "no worker is alive yet"

    with deployment.worker("--workers", "1") as worker:
        eventually(lambda: deployment.checked(wheel), PATIENCE)
        eventually(lambda: deployment.run("--check").returncode == 0, PATIENCE)
        assert len(_children(worker.pid)) == 3, "the schedule, one for sweeps, one for files"
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE) == 0

    assert deployment.events(wheel) == ["file.held"]
    assert deployment.run("--check").returncode == 1


def test_a_burst_does_what_is_due_and_ends(deployment: Deployment, fresh: Callable[..., str]) -> None:
    wheel = fresh("burst", releases=3)

    done = deployment.run("--burst")

    assert done.returncode == 0, done.stderr
    assert deployment.checked(wheel)
    assert deployment.unchecked() == 0


def test_an_emptied_redis_loses_nothing(deployment: Deployment, fresh: Callable[..., str]) -> None:
    wheel = fresh("emptied", releases=4)
    with deployment.worker("--workers", "1", KOSCHEY_FAIL="check.before_record:sleep:1"):
        eventually(lambda: Redis.from_url(deployment.redis.url).llen("rq:queue:koschey-files"), PATIENCE)
        deployment.redis.empty()
        eventually(lambda: deployment.unchecked() == 0, PATIENCE)
        eventually(lambda: deployment.workers() == 2, PATIENCE)  # known again, too

    assert deployment.checked(wheel)
    assert deployment.events(wheel) == ["file.held"]


def test_a_redis_that_was_killed_and_comes_back_is_used_again(
    deployment: Deployment, fresh: Callable[..., str]
) -> None:
    with deployment.worker("--workers", "1") as worker:
        eventually(lambda: deployment.workers() == 2, PATIENCE)
        deployment.redis.kill()
        eventually(lambda: deployment.says("Redis does not answer"), PATIENCE)
        wheel = fresh("comeback")
        assert worker.poll() is None
        deployment.redis.start()
        eventually(lambda: deployment.checked(wheel), PATIENCE)

    assert deployment.events(wheel) == ["file.held"]


def test_a_job_that_is_killed_anywhere_is_done_by_another_one(
    deployment: Deployment, fresh: Callable[..., str], tmp_path: Path
) -> None:
    wheels = []
    for point in ("download.before_record", "check.before_record", "check.after_record"):
        deployment.redis.empty()
        killed = replace(deployment, log=tmp_path / f"{point}.log")
        wheel = fresh(f"killed{point.replace('.', '').replace('_', '')}")
        with killed.worker("--workers", "1", KOSCHEY_FAIL=f"{point}:kill"):
            eventually(
                lambda: killed.tries(wheel) and killed.says("terminated unexpectedly"),  # noqa: B023
                PATIENCE,
            )
        wheels.append(wheel)

    with deployment.worker("--workers", "1"):
        deployment.hurry()
        eventually(lambda: all(map(deployment.checked, wheels)), PATIENCE)

    assert [deployment.events(wheel) for wheel in wheels] == [["file.held"]] * 3


def test_a_sync_that_is_killed_in_a_worker_is_gone_on_with_by_another_one(
    deployment: Deployment, upstream: FakeUpstream, tmp_path: Path
) -> None:
    names = [f"by-worker-{number}" for number in range(3)]
    for name in names:
        upstream.project(name).release("1.0", upload_time=_ago(days=100))
    keep = ("upstream", "edit", "upstream", "--include", "by-worker-*", "--mode")
    queue = RqQueue(deployment.redis.url, ThreadQueue({}), worker_terms(20.0))
    [source] = deployment.rows("SELECT id FROM source WHERE kind = 'upstream'")
    stored = "SELECT p.name FROM file f JOIN project p ON p.id = f.project_id WHERE f.stored_at IS NOT NULL"
    try:
        assert commands.koschey(*keep, "full", environment=deployment.environment).returncode == 0
        killed = replace(deployment, log=tmp_path / "killed.log")
        queue.put("sync_upstream", source["id"])
        with killed.worker("--workers", "1", KOSCHEY_FAIL="sync.after_record:kill"):
            eventually(lambda: killed.says("terminated unexpectedly"), PATIENCE)
        assert not deployment.rows(f"{stored} AND p.name LIKE 'by-worker-%'")

        # As after a kill of all of it, when another sync has ended a moment ago.
        redis = Redis.from_url(deployment.redis.url)
        redis.hset(f"rq:job:sync_upstream-{source['id']}", mapping={"status": "started"})
        with deployment.engine.begin() as connection:
            connection.execute(text(f"UPDATE sync_state SET ended_at = {int(time.time() * 1_000_000)}"))
        with deployment.worker("--workers", "1"):
            eventually(
                lambda: {row["name"] for row in deployment.rows(stored)} >= set(names),
                PATIENCE,
            )
    finally:
        assert commands.koschey(*keep, "known", environment=deployment.environment).returncode == 0

    assert [upstream.count(f"{name.replace('-', '_')}-1.0-py3-none-any.whl") for name in names] == [1, 1, 1]


def test_a_killed_worker_is_replaced_and_its_job_done_once(
    deployment: Deployment, fresh: Callable[..., str]
) -> None:
    wheel = fresh("replaced")
    with deployment.worker("--workers", "1", KOSCHEY_FAIL="check.before_record:sleep:2") as worker:
        [horse] = eventually(lambda: _at_work(worker, deployment, wheel), PATIENCE)
        parent = int(Path(f"/proc/{horse}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(parent, signal.SIGKILL)
        os.kill(horse, signal.SIGKILL)
        deployment.hurry()
        eventually(lambda: deployment.checked(wheel), PATIENCE)
        assert len(_children(worker.pid)) == 3

    assert deployment.events(wheel) == ["file.held"]


def test_the_first_signal_lets_a_job_finish_and_a_second_one_does_not(
    deployment: Deployment, fresh: Callable[..., str]
) -> None:
    wheel = fresh("signalled")
    with deployment.worker("--workers", "1", KOSCHEY_FAIL="check.before_record:sleep:600") as worker:
        [horse] = eventually(lambda: _at_work(worker, deployment, wheel), PATIENCE)
        worker.send_signal(signal.SIGTERM)
        eventually(lambda: len(_children(worker.pid)) == 1, PATIENCE)
        assert _alive(horse)
        worker.send_signal(signal.SIGTERM)
        worker.wait(PATIENCE)
        eventually(lambda: not _alive(horse), PATIENCE)


def test_without_workers_a_killed_web_process_is_followed_by_another_try(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    wheel = upstream.project("in-process").release("1.0", upload_time=_ago(days=2))
    settings = {"KOSCHEY_QUARANTINE_DAYS": "7", "KOSCHEY_FAIL": "check.before_record:kill"}
    web = start_koschey(tmp_path, upstream.simple_url, settings, workers=1)
    engine = create_engine(f"sqlite:///{web.data_dir}/koschey.sqlite")
    deployment = Deployment(web.environment, engine, OwnRedis(tmp_path, 0), upstream, web.log_path, web)
    try:
        deployment.ask("in-process")
        eventually(lambda: deployment.says("SIGKILL"), PATIENCE)
        assert not deployment.checked(wheel.filename)
        web.stop()
        web.start_again(KOSCHEY_FAIL="")
        deployment.hurry()
        eventually(lambda: deployment.checked(wheel.filename), PATIENCE)
    finally:
        engine.dispose()
        web.stop()

    assert deployment.events(wheel.filename) == ["file.held"]


def test_the_processes_end_with_their_parent(deployment: Deployment) -> None:
    with deployment.worker("--workers", "1") as worker:
        children = eventually(lambda: len(c := _children(worker.pid)) == 3 and c, PATIENCE)
        eventually(lambda: deployment.workers() == 2, PATIENCE)
        worker.kill()
        worker.wait()
        eventually(lambda: not any(_alive(child) for child in children), PATIENCE)


def _at_work(worker: commands.Process, deployment: Deployment, filename: str) -> list[int]:
    """The process that checks a file, and is beyond its download: it has one that reads the archive."""
    [row] = deployment.rows("SELECT attempts, stored_at FROM file WHERE filename = :name", name=filename)
    begun = row["attempts"] and row["stored_at"]
    return [horse for horse in _horses(worker) if _children(horse)] if begun else []


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
