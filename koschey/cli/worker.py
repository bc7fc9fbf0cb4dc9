"""``koschey worker``: processes that do the jobs in Redis, so that web processes need not."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from functools import partial

import click

from koschey import settings as settings_module
from koschey.cli.running import data_option
from koschey.errors import SettingsInvalid, StoreUnavailable
from koschey.jobs import rq_worker
from koschey.jobs.queue import ThreadQueue
from koschey.jobs.rq_queue import RqQueue
from koschey.jobs.workers import Duty, Parent
from koschey.settings import Settings

#: Seconds since the last sweep after which something is wrong: one is due every ten.
_LONGEST_LAG = 120.0


@click.command()
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="Processes for files.")
@click.option("--burst", is_flag=True, help="Do what is due now, and end.")
@click.option("--check", is_flag=True, help="Exit with 0 if this machine's workers do their work, else 1.")
@data_option
def worker(*, workers: int, burst: bool, check: bool) -> None:
    """Run worker processes for the jobs in Redis."""
    settings = settings_module.load()
    if not settings.redis_url:
        raise SettingsInvalid(
            "KOSCHEY_REDIS_URL", "is needed for workers; without it the web processes do the jobs themselves"
        )
    if check:
        _check(settings)
    else:
        _work(settings, workers, burst=burst)


def _check(settings: Settings) -> None:
    queue = RqQueue(settings.redis_url, ThreadQueue({}), {})
    found = rq_worker.problem(queue, hostname=socket.gethostname(), longest_lag=_LONGEST_LAG)
    if found is not None:
        raise StoreUnavailable("worker", found)
    click.echo("koschey worker: alive")


def _work(settings: Settings, workers: int, *, burst: bool) -> None:
    # Heavy, and loaded before the fork, so that the children share it and no job loads it again.
    import koschey.upstream.session  # noqa: F401
    from koschey.jobs import tasks
    from koschey.opening import open_services

    services = open_services(settings)
    queue = services.queue
    assert isinstance(queue, RqQueue)  # ``worker`` has seen to it that there is a Redis
    tasks.install(services.tasks, partial(_done, queue))
    sweeper = Duty("sweeps", partial(rq_worker.work, settings.redis_url, rq_worker.SWEEPERS, burst=burst))
    files = [
        Duty(f"files-{number}", partial(rq_worker.work, settings.redis_url, rq_worker.WORKERS, burst=burst))
        for number in range(1, workers + 1)
    ]
    if burst:
        _burst(queue, tasks.IN_ORDER, sweeper, files)
        return
    cron = Duty("schedule", partial(rq_worker.schedule, queue, services.locks, tasks.IN_WORKERS))
    greeting = f"{workers} processes for files and one for sweeps; SIGTERM to {os.getpid()} ends them"
    Parent([cron, sweeper, *files], partial(rq_worker.answers, queue), _say, greeting).run()


def _burst(queue: RqQueue, sweeps: Sequence[str], sweeper: Duty, files: Sequence[Duty]) -> None:
    """The sweeps first, for they find what is to be done with files."""
    for task in sweeps:
        queue.put(task)
    for duties in ([sweeper], files):
        Parent(duties, partial(rq_worker.answers, queue), lambda _: None, "", once=True).run()


def _done(queue: RqQueue, task: str) -> None:
    """After each task, in the process that did it and ends now: what it submitted has to leave first."""
    queue.note(task)
    queue.drain(10.0)


def _say(line: str) -> None:
    click.echo(f"koschey worker: {line}")
    sys.stdout.flush()
