"""Where the ways to run Koschey differ: which queue and schedule, which door to the outside, whose mail."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from koschey.checks.slots import Slots
from koschey.jobs import tasks as jobs
from koschey.jobs.queue import Queue, Task, ThreadQueue
from koschey.jobs.rq_queue import RqQueue
from koschey.jobs.schedule import LOCK, Schedule
from koschey.settings import Settings
from koschey.stores.database import Database
from koschey.stores.locks import Locks

if TYPE_CHECKING:
    from pluggy import PluginManager

    from koschey.services.telling import Telling
    from koschey.upstream.session import OutgoingSession


def plugin_modules(settings: Settings) -> list[str]:
    """Modules that the settings name as plug-ins."""
    return [name.strip() for name in settings.plugins.split(",") if name.strip()]


def make_queue(settings: Settings, tasks: dict[str, Task]) -> Queue:
    """Threads of this process; with Redis they are left what must not hang on a worker."""
    threads = ThreadQueue(tasks, lanes=jobs.LANES)
    if not settings.redis_url:
        return threads
    return RqQueue(settings.redis_url, threads, jobs.worker_terms(settings.file_deadline))


def make_schedule(settings: Settings, queue: Queue, locks: Locks) -> Schedule:
    """With Redis, worker processes have the schedule; each machine still sweeps a folder of its own."""
    if not settings.redis_url:
        return Schedule(queue, locks, jobs.IN_PROCESS)
    return Schedule(queue, locks, jobs.ON_EACH_MACHINE, lock=f"{LOCK}:{socket.gethostname()}")


def checking_slots(settings: Settings) -> Slots | None:
    """What web processes that check files themselves share. How many workers there are is chosen."""
    if settings.redis_url:
        return None
    return Slots(settings.data_dir / "locks", jobs.CHECKING_PROCESSES)


def make_session(settings: Settings, hooks: PluginManager) -> OutgoingSession:
    """The door to the outside.

    Loaded with the first request that goes out: requests and urllib3 are a good part of an idle worker.
    """
    from koschey.upstream.pace import Pace
    from koschey.upstream.session import OutgoingSession

    return OutgoingSession(
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        retries=settings.upstream_retries,
        hooks=hooks,
        pace=Pace(settings.data_dir / "locks"),
    )


def make_telling(
    settings: Settings, database: Database, locks: Locks, session: Callable[[], OutgoingSession]
) -> Telling:
    """Mail and webhooks, as far as they are set up. Raises: SettingsInvalid."""
    from koschey.services.telling import Telling, signature
    from koschey.upstream.messages import MailServer, webhook

    url, secret = settings.webhook_url, settings.webhook_secret
    return Telling(
        database,
        locks,
        post=MailServer.of(settings.smtp_url, settings.mail_from).post if settings.smtp_url else None,
        hook=webhook(url, secret, session, signature) if url else None,
        reviewers=settings.review_mail,
        public_url=settings.public_url,
    )
