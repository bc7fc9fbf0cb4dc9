"""What jobs do: each task is one call of a service. Also what RQ's workers call."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import structlog

from koschey.domain.names import NormalizedName
from koschey.errors import KoscheyError
from koschey.jobs.queue import Argument, Lane, Task
from koschey.jobs.rq_queue import FILES, SWEEPS, Terms
from koschey.jobs.schedule_entry import Periodic
from koschey.services.storage import sweep_spool

if TYPE_CHECKING:
    from koschey.services.attempts import Attempts
    from koschey.services.catalog import Catalog
    from koschey.services.checking import Checking
    from koschey.services.eviction import Eviction
    from koschey.services.orphans import Orphans
    from koschey.services.root_build import RootBuilder
    from koschey.services.sweeps import Sweeps
    from koschey.services.tallies import Tallies
    from koschey.services.usage import Usage
    from koschey.stores.blobs import BlobStore

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Files that are checked at once in a process.
CHECKING_THREADS = 2
#: Processes that look into files, beside all web processes of a machine or beside each worker: they do
#: nothing but compute, and take memory of their own. Where there are few cores, one that hangs holds up the
#: others until its time is over.
CHECKING_PROCESSES = max(1, min(CHECKING_THREADS, (os.cpu_count() or 1) // 2))
_SWEEPS = ("release_due", "derive_work", "settle_policies", "refresh_stale")
#: Slow downloads and long sweeps keep no refresh behind an answer waiting.
LANES = (
    Lane(frozenset(["check_file", "compare_files"]), CHECKING_THREADS),
    Lane(frozenset(_SWEEPS), 2),
    Lane(frozenset(["build_roots"]), 1),
    Lane(frozenset(["sync_upstream", "sync_asked"]), 2),
    Lane(frozenset(["tally_storage", "sweep_blobs", "evict_files"]), 1),
)

#: What the web processes do from time to time when there are no worker processes.
IN_PROCESS = (
    Periodic("release_due", 5.0, first=1.0),
    Periodic("derive_work", 5.0, first=1.0),
    Periodic("settle_policies", 5.0, first=1.0),
    Periodic("build_roots", 1.0, first=1.0),
    Periodic("refresh_stale", 60.0),
    Periodic("sync_due", 30.0, first=10.0),
    Periodic("settle_asks", 15.0),
    Periodic("tell", 60.0),
    Periodic("resume_bulk", 30.0),
    Periodic("sweep_spool", 600.0),
    Periodic("sweep_usage", 3600.0),
    Periodic("sweep_deleted", 3600.0),
    Periodic("sweep_sign_in", 3600.0),
    Periodic("sweep_review", 3600.0),
    Periodic("tally_storage", 600.0),
    Periodic("count_hourly", 300.0, first=20.0),
    Periodic("sweep_blobs", 600.0),
    Periodic("evict_files", 3600.0),
)
#: The same for worker processes.
IN_WORKERS = (
    Periodic("release_due", 10.0),
    Periodic("derive_work", 10.0),
    Periodic("settle_policies", 10.0),
    Periodic("build_roots", 30.0),
    Periodic("refresh_stale", 60.0),
    Periodic("sync_due", 30.0),
    Periodic("settle_asks", 30.0),
    Periodic("tell", 60.0),
    Periodic("resume_bulk", 30.0),
    Periodic("sweep_spool", 600.0),
    Periodic("sweep_usage", 3600.0),
    Periodic("sweep_deleted", 3600.0),
    Periodic("sweep_sign_in", 3600.0),
    Periodic("sweep_review", 3600.0),
    Periodic("tally_storage", 600.0),
    Periodic("count_hourly", 300.0),
    Periodic("sweep_blobs", 600.0),
    Periodic("evict_files", 3600.0),
)
#: All of them for one run, each before what goes on with what it found.
IN_ORDER = (
    "settle_policies", "refresh_stale", "sync_due", "release_due", "derive_work", "build_roots",
    "settle_asks", "resume_bulk", "tell", "sweep_usage", "sweep_deleted", "sweep_sign_in", "sweep_spool",
    "sweep_review", "tally_storage", "count_hourly", "evict_files", "sweep_blobs",
)  # fmt: skip
#: What is left to each machine with web processes then: a spool folder is its own, and a root list that is
#: to be there within seconds is no job for a worker, which would start a process each time to look.
ON_EACH_MACHINE = (Periodic("build_roots", 1.0), Periodic("sweep_spool", 600.0))


def make_tasks(
    catalog: Catalog,
    checking: Checking,
    sweeps: Sweeps,
    usage: Usage,
    roots: RootBuilder,
    attempts: Attempts,
    store: BlobStore,
    file_deadline: float,
) -> dict[str, Task]:
    """Every task by its name."""
    return {
        "check_file": checking.check_file,
        "release_due": sweeps.release_due,
        "derive_work": sweeps.derive_work,
        "settle_policies": sweeps.settle_policies,
        "refresh_stale": sweeps.refresh_stale,
        "build_roots": roots.build,
        "refresh_page": lambda source_id, name: catalog.refresh(source_id, NormalizedName(name)),
        "sweep_usage": usage.sweep,
        "sweep_sign_in": attempts.sweep,
        "sweep_spool": lambda: sweep_spool(store, file_deadline),
    }


def storage_tasks(orphans: Orphans, tallies: Tallies, eviction: Eviction) -> dict[str, Task]:
    """The tasks that care for what is stored, by name."""
    return {
        "tally_storage": tallies.count,
        "sweep_blobs": orphans.sweep,
        "evict_files": eviction.evict_periodically,
    }


def worker_terms(file_deadline: float) -> dict[str, Terms]:
    """How Redis gets the tasks that worker processes do.

    ``refresh_page`` is none of them: it is quick, and how fresh a page is must not hang on a worker.
    """
    terms = {
        entry.task: Terms(
            SWEEPS,
            timeout=900,
            ttl=max(30, int(2 * entry.seconds)),
            slot=entry.seconds,
            here=any(entry.task == other.task for other in ON_EACH_MACHINE),
        )
        for entry in IN_WORKERS
    }
    # The file, the one that it is compared with, and the checks.
    # A sync does as much as it can in ten minutes, and is submitted again when something is left.
    for task in ("sync_upstream", "sync_asked"):
        terms[task] = Terms(FILES, timeout=3600, ttl=900, alone=True)
    terms["check_file"] = Terms(FILES, timeout=int(2 * file_deadline) + 900, ttl=900)
    # One of very many versions goes on with the next job where this one ends.
    terms["decide_bulk"] = Terms(SWEEPS, timeout=3600, ttl=900)
    terms["compare_files"] = Terms(FILES, timeout=int(2 * file_deadline) + 900, ttl=900)
    return terms


def run(task: str, *arguments: Argument) -> None:
    """Do one task; RQ calls this in a worker's child. A failure that is expected is a log line only."""
    work, done = _installed[-1]
    try:
        work[task](*arguments)
    except KoscheyError as error:
        log.warning("job.failed", task=task, arguments=arguments, problem=str(error))
    done(task)


_installed: list[tuple[Mapping[str, Task], Callable[[str], None]]] = []


def install(tasks: Mapping[str, Task], done: Callable[[str], None]) -> None:
    """Say what ``run`` does in this process and its children; ``done`` is told after each task."""
    _installed.append((tasks, done))
