"""One sync in several processes, forked from a command that has no threads, and watched by it."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from koschey.errors import StoreUnavailable
from koschey.jobs.workers import Duty, run_child
from koschey.services.sync_pass import Share, Stopped

if TYPE_CHECKING:
    from koschey.services.sync_phases import Many
    from koschey.web.current import Koschey

#: Exit code of children whose part ended early, and who said why.
_ENDED_EARLY = 3
#: So much of a reason is told, that it fits into a pipe at once.
_LONGEST_REASON = 500
#: With fewer than so many, other processes would take longer to begin than this one to end.
_WORTH_IT = 400
_LOOK_SECONDS = 0.2
#: Between two looks whether a process has ended: the phase ends with the last one.
_WAIT_SECONDS = 0.01


def several(koschey: Koschey, processes: int | None, watch: Callable[[], None]) -> Many:
    """Do a phase in so many processes; by default in two, where the database lets several write.

    Args:
        watch: called a few times in a second meanwhile, to show how it goes.
    """
    if processes is None:
        processes = 1 if koschey.settings.embedded else min(2, os.cpu_count() or 1)

    def many(work: Callable[[Share, int], None], connections: int, due: int) -> None:
        parts = min(processes, connections) if due >= _WORTH_IT else 1
        if parts > 1 and _by_itself():
            _forked(koschey, work, connections, parts, watch)
        else:
            _watched(work, connections, watch)

    return many


def _watched(work: Callable[[Share, int], None], connections: int, watch: Callable[[], None]) -> None:
    """In this process, with a thread that watches."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(_LOOK_SECONDS):
            watch()

    thread = threading.Thread(target=look, name="watch", daemon=True)
    thread.start()
    try:
        work(Share(), connections)
    finally:
        done.set()
        thread.join()


def _by_itself() -> bool:
    """Whether this thread is the only one, after a moment for those that are just ending."""
    ends = time.monotonic() + 1.0
    while threading.active_count() > 1 and time.monotonic() < ends:
        time.sleep(0.02)
    return threading.active_count() == 1


def _forked(
    koschey: Koschey,
    work: Callable[[Share, int], None],
    connections: int,
    parts: int,
    watch: Callable[[], None],
) -> None:
    koschey.client.close()  # a child must not talk over its parent's connections
    koschey.engine.dispose()
    lifeline, end = os.pipe()
    told, tell = os.pipe()
    children: set[int] = set()
    codes: list[int] = []
    looked = time.monotonic()
    try:
        for number in range(parts):
            own = connections // parts + (number < connections % parts)
            pid = os.fork()
            if pid == 0:
                os.close(end)
                os._exit(_child(koschey, work, Share(number, parts), own, lifeline, tell))
            children.add(pid)
        while children:
            for pid in list(children):
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    children.remove(pid)
                    codes.append(os.waitstatus_to_exitcode(status))
            if any(codes) and children:
                _end(children)
            if time.monotonic() - looked > _LOOK_SECONDS:
                looked = time.monotonic()
                watch()
            time.sleep(_WAIT_SECONDS)
    finally:
        os.close(end)  # whatever is left of them ends with this
        os.close(lifeline)
        os.close(tell)
        _end(children)
        for pid in children:
            os.waitpid(pid, 0)
        with os.fdopen(told, "rb") as said:
            reasons = [_Reason(**json.loads(line)) for line in said]
    for code in codes:
        if code not in (0, _ENDED_EARLY):
            raise StoreUnavailable("sync", f"a process of the sync died ({code}); what it left is due")
    if reasons:
        raise max(reasons, key=_Reason.weight).stopped()


def _end(children: set[int]) -> None:
    """Have them end after what they are about."""
    for pid in children:
        os.kill(pid, signal.SIGTERM)


def _child(
    koschey: Koschey,
    work: Callable[[Share, int], None],
    share: Share,
    connections: int,
    lifeline: int,
    tell: int,
) -> int:
    code = 0

    def part() -> None:
        nonlocal code
        signal.signal(signal.SIGTERM, lambda *_: koschey.sync.stop("it was told to end"))
        try:
            work(share, connections)
        except Stopped as stop:
            reason = _Reason(stop.outcome, stop.problem[:_LONGEST_REASON], stop.retry_after, stop.ours)
            os.write(tell, json.dumps(asdict(reason)).encode() + b"\n")
            code = _ENDED_EARLY

    return run_child(Duty("sync", part), lifeline) or code


@dataclass(frozen=True)
class _Reason:
    """Why a process ended early, as it tells its parent."""

    outcome: str
    problem: str
    retry_after: float | None
    ours: bool

    def weight(self) -> tuple[bool, float, bool]:
        """Of several, the heaviest counts: others ended because of that one."""
        return self.ours, self.retry_after or 0.0, self.outcome != "stopped"

    def stopped(self) -> Stopped:
        return Stopped(self.outcome, self.problem, self.retry_after, ours=self.ours)
