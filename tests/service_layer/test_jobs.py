"""Jobs in threads of this process, and what a killed process leaves."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest

from koschey.jobs.queue import ThreadQueue
from koschey.services.storage import sweep_spool
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
