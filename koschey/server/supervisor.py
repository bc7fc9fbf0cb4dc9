"""The parent process: forks the workers, replaces dead ones, passes signals on.

It imports neither the application nor the event loop, and little of the standard library, so it stays small,
and a reload (SIGHUP) gets the code that is on the disk then.
"""

from __future__ import annotations

import collections
import os
import selectors
import signal
import socket
import sys
import time

from koschey.errors import KoscheyError
from koschey.server.listener import url_of

TYPE_CHECKING = False  # see koschey.serving
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: More deaths than workers can die by accident: ``DEATHS`` within ``DEATH_WINDOW`` seconds end the service.
DEATHS = 5
DEATH_WINDOW = 30.0
#: The worker's own limit for requests in flight is 10 s; then it is killed.
STOP_SECONDS = 15.0

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


def run(
    app_factory: Callable[[], Any],
    listener: socket.socket,
    *,
    workers: int,
    threads: int,
    on_ready: Callable[[str], None],
) -> int:
    """Serve until SIGTERM or SIGINT; the exit status for this process.

    ``app_factory`` makes the WSGI application; it is called in each worker process. ``threads`` is per
    worker. ``on_ready`` gets the URL once all workers accept. SIGTERM and SIGINT let requests in flight
    finish (10 s), a second SIGINT does not; SIGHUP replaces the workers, one by one, without a gap.
    """
    return _Supervisor(app_factory, listener, workers, threads, on_ready).run()


class _Worker:
    def __init__(self, pid: int, ready: int) -> None:
        self.pid = pid
        self.ready: int | None = ready
        """Pipe on which the worker says that it accepts; None once it was heard from."""
        self.serving = False
        self.dismissed: float | None = None
        """When it was told to stop (monotonic seconds)."""


class _Supervisor:
    def __init__(
        self,
        app_factory: Callable[[], Any],
        listener: socket.socket,
        workers: int,
        threads: int,
        on_ready: Callable[[str], None],
    ) -> None:
        self._app_factory = app_factory
        self._listener = listener
        self._count = workers
        self._threads = threads
        self._on_ready = on_ready
        self._workers: dict[int, _Worker] = {}
        self._deaths: collections.deque[float] = collections.deque()
        self._outgoing: list[_Worker] = []
        self._announced = False
        self._stopping = False
        self._status = 0
        self._interrupts = 0

    def run(self) -> int:
        # The workers read from the lifeline; it ends when this process does, however that comes.
        self._lifeline, lifeline_end = os.pipe()
        self._private = [lifeline_end]
        self._open_signals()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wakeup, selectors.EVENT_READ, None)
        for _ in range(self._count):
            self._fork()
        while self._workers:
            for key, _ in self._selector.select(timeout=1.0):
                if key.data is None:
                    self._take_signals()
                else:
                    self._heard_from(key.data)
            self._kill_overdue()
        return self._status

    def _open_signals(self) -> None:
        """Signals arrive as bytes on a socket, so that nothing but the loop in ``run`` acts on them."""
        self._wakeup, sender = socket.socketpair()
        self._wakeup.settimeout(0)
        sender.settimeout(0)
        self._sender = sender
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)

    def _take_signals(self) -> None:
        # A signal to the whole group may be heard of after the deaths that it brings: those come last.
        for number in sorted(self._wakeup.recv(64), key=signal.SIGCHLD.__eq__):
            if number == signal.SIGCHLD:
                self._reap()
            elif number == signal.SIGHUP and not self._stopping:
                self._renew()
            elif number == signal.SIGINT:
                self._interrupts += 1
                self._stop(signal.SIGTERM if self._interrupts == 1 else signal.SIGKILL)
            elif number == signal.SIGTERM:
                self._stop(signal.SIGTERM)

    def _stop(self, number: signal.Signals, status: int = 0) -> None:
        self._stopping = True
        self._status = max(status, self._status, 130 if number == signal.SIGKILL else 0)
        for worker in self._workers.values():
            self._dismiss(worker, number)

    def _dismiss(self, worker: _Worker, number: signal.Signals = signal.SIGTERM) -> None:
        worker.dismissed = worker.dismissed or time.monotonic()
        os.kill(worker.pid, number)

    def _kill_overdue(self) -> None:
        for worker in self._workers.values():
            if worker.dismissed is not None and time.monotonic() - worker.dismissed > STOP_SECONDS:
                _say(f"worker {worker.pid} does not stop; killing it")
                os.kill(worker.pid, signal.SIGKILL)

    def _renew(self) -> None:
        """Fork a successor for each worker; the old ones stop when all successors accept."""
        self._outgoing = [worker for worker in self._workers.values() if worker.dismissed is None]
        for _ in range(self._count):
            self._fork()

    def _heard_from(self, worker: _Worker) -> None:
        """The worker's pipe has its one byte, or has ended."""
        assert worker.ready is not None
        self._selector.unregister(worker.ready)
        worker.serving = bool(os.read(worker.ready, 1))
        os.close(worker.ready)
        worker.ready = None
        current = [w for w in self._workers.values() if w not in self._outgoing and w.dismissed is None]
        if len(current) < self._count or not all(w.serving for w in current):
            return
        if not self._announced:
            self._announced = True
            self._on_ready(url_of(self._listener))
        for old in self._outgoing:
            if old.pid in self._workers:
                self._dismiss(old)
        self._outgoing = []

    def _reap(self) -> None:
        for pid in list(self._workers):
            reaped, status = os.waitpid(pid, os.WNOHANG)
            if reaped:
                self._buried(self._workers.pop(pid), os.waitstatus_to_exitcode(status))

    def _buried(self, worker: _Worker, code: int) -> None:
        if worker.dismissed is not None or self._stopping:
            return
        if not self._announced and not worker.serving:
            _say(f"a worker could not start (exit status {code})")
            self._stop(signal.SIGTERM, status=1)
            return
        if self._outgoing:
            self._reload_lost(worker)
            return
        _say(f"worker {worker.pid} died ({_death(code)}); starting another")
        now = time.monotonic()
        self._deaths.append(now)
        while now - self._deaths[0] > DEATH_WINDOW:
            self._deaths.popleft()
        if len(self._deaths) >= DEATHS:
            _say(f"{len(self._deaths)} workers died within {DEATH_WINDOW:g} seconds; giving up")
            self._stop(signal.SIGTERM, status=1)
            return
        self._fork()

    def _reload_lost(self, worker: _Worker) -> None:
        """A worker died during a reload: an old one is not missed, a new one ends the reload."""
        if worker in self._outgoing:
            self._outgoing.remove(worker)
            return
        _say("a new worker could not start; keeping the old ones")
        for other in self._workers.values():
            if other not in self._outgoing and other.dismissed is None:
                self._dismiss(other)
        self._outgoing = []

    def _fork(self) -> None:
        ready, ready_end = os.pipe()
        # A signal between fork and the child's own handlers would be taken for one to the parent.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid == 0:
            os._exit(self._child(ready_end))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(ready_end)
        worker = self._workers[pid] = _Worker(pid, ready)
        self._selector.register(ready, selectors.EVENT_READ, worker)

    def _child(self, ready_end: int) -> int:
        """Everything that a worker process does; its exit status."""
        try:
            self._become_child()
            # Imported here and not above: the parent must not carry the event loop and its libraries.
            from koschey.server.deferred import defer

            defer("aiohttp")  # half of it is a client
            from koschey.server.worker import serve

            serve(
                self._app_factory(),
                self._listener,
                threads=self._threads,
                lifeline=self._lifeline,
                on_ready=lambda: _say_ready(ready_end),
            )
        except KoscheyError as error:
            _say(str(error))
            return 1
        except BaseException:  # noqa: BLE001 - the process ends here; nothing may unwind into the parent's code
            import traceback

            traceback.print_exc()
            return 1
        finally:
            if logging := sys.modules.get("logging"):
                logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
        return 0

    def _become_child(self) -> None:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        for number in (signal.SIGINT, signal.SIGHUP):
            # The terminal sends these to the whole group; only the parent decides what they mean.
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        for descriptor in self._private:
            os.close(descriptor)
        for worker in self._workers.values():
            if worker.ready is not None:
                os.close(worker.ready)
        self._selector.close()
        self._wakeup.close()
        self._sender.close()


def _say(words: str) -> None:
    """One line for people: nobody configures a log here."""
    sys.stderr.write(f"koschey: {words}\n")
    sys.stderr.flush()


def _say_ready(descriptor: int) -> None:
    os.write(descriptor, b"1")
    os.close(descriptor)


def _death(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
