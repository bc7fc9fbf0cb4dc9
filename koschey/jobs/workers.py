"""The parent of the worker processes: forks them, replaces dead ones, passes signals on, watches Redis."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_LOOK_SECONDS = 0.2
#: Seconds between two looks whether Redis answers.
_PING_SECONDS = 2.0
#: A child that died is replaced after so many seconds, lest one that cannot live uses up the machine.
_RESPAWN_SECONDS = 1.0
#: RQ takes a second signal within one second for the same one.
_SECOND_SIGNAL_SECONDS = 1.2
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class Duty:
    """What a child does, until SIGTERM or by itself."""

    name: str
    work: Callable[[], None]


class Parent:
    """Keeps one child alive for each duty.

    Args:
        answers: whether Redis answers now.
        say: tells people something, in one line.
        greeting: what is said when Redis answers for the first time, or again.
        once: whether each child is left to end by itself, and not replaced.
    """

    def __init__(
        self,
        duties: Sequence[Duty],
        answers: Callable[[], bool],
        say: Callable[[str], None],
        greeting: str,
        *,
        once: bool = False,
    ) -> None:
        self._once = once
        self._waiting = dict.fromkeys(duties, 0.0)
        self._children: dict[int, Duty] = {}
        self._answers = answers
        self._say = say
        self._greeting = greeting
        self._answered: bool | None = None
        self._pinged = -_PING_SECONDS
        self._signals = 0
        self._told = 0
        self._first_told = 0.0

    def run(self) -> None:
        """Until SIGTERM or SIGINT and the end of the jobs that run; a second signal ends those as well."""
        self._lifeline, self._lifeline_end = os.pipe()
        for number in _SIGNALS:
            signal.signal(number, self._note)
        while self._children or (self._waiting and not self._signals):
            self._bury()
            if self._signals:
                self._pass_on()
            else:
                self._watch_redis()
                self._fork_due()
            time.sleep(_LOOK_SECONDS)

    def _note(self, *_: object) -> None:
        self._signals += 1

    def _pass_on(self) -> None:
        """The first signal at once, a second one when RQ takes it for a second one."""
        if self._told and (
            self._signals <= self._told or time.monotonic() - self._first_told < _SECOND_SIGNAL_SECONDS
        ):
            return
        if not self._told:
            self._first_told = time.monotonic()
        self._told = self._told + 1
        for pid in self._children:
            os.kill(pid, signal.SIGTERM)

    def _watch_redis(self) -> None:
        if time.monotonic() - self._pinged < _PING_SECONDS:
            return
        answers = self._answers()
        self._pinged = time.monotonic()
        if answers != self._answered:
            self._answered = answers
            self._say(self._greeting if answers else "Redis does not answer; waiting for it")

    def _fork_due(self) -> None:
        for duty, at in list(self._waiting.items()):
            if time.monotonic() >= at:
                del self._waiting[duty]
                self._fork(duty)

    def _bury(self) -> None:
        for pid in list(self._children):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                duty = self._children.pop(pid)
                code = os.waitstatus_to_exitcode(status)
                if not self._once:
                    self._waiting[duty] = time.monotonic() + _RESPAWN_SECONDS
                if not self._signals and (code or not self._once):
                    log.error("worker.died", duty=duty.name, pid=pid, exit_status=code)

    def _fork(self, duty: Duty) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid == 0:
            os._exit(self._child(duty))
        self._children[pid] = duty
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def _child(self, duty: Duty) -> int:
        os.close(self._lifeline_end)
        return run_child(duty, self._lifeline)


def run_child(duty: Duty, lifeline: int | None = None) -> int:
    """Everything that a forked child does; its exit status.

    Args:
        lifeline: ends when the parent does, however that comes; then the child ends, too.
    """
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        if lifeline is not None:
            threading.Thread(target=_watch, args=[lifeline], name="lifeline", daemon=True).start()
        duty.work()
    except SystemExit:
        return 1  # a second signal
    except BaseException:  # noqa: BLE001 - the process ends here; nothing may unwind into the parent's code
        traceback.print_exc()
        return 1
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
    return 0


def _watch(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)
