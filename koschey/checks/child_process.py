"""The parent's hold on one child process: started when it is needed, killed when it hangs."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from koschey.checks.slots import Slots
from koschey.errors import KoscheyError, StoreUnavailable

#: Seconds for what takes a tenth of one: to start, to take a request.
_PATIENCE = 60.0
_TRIES = 3
_MAX_ANSWER_BYTES = 16 * 2**20
#: Seconds between a child's last word and its end, when it dies by itself.
_LAST_BREATH = 5.0


class ChildLost(KoscheyError):
    """The child gave no answer and was killed; ``how`` says what became of it, ``it …``."""

    def __init__(self, how: str) -> None:
        self.how = how
        super().__init__(how)


class ChildProcess:
    """One child at a time; a new one takes the place of one that has gone.

    Args:
        plugins: modules for the child to import.
        memory: bytes of address space that it may have.
        nice: by how much it steps back behind other processes.
        slots: it has one of these as long as it lives.
    """

    def __init__(self, plugins: Sequence[str], memory: int, nice: int, slots: Slots | None = None) -> None:
        self._slots = slots
        self._started = 0.0
        # The child starts isolated; it gets this process's folders after its own, so that it finds the
        # same plug-ins and nothing of them stands in front of the standard library. "" is not among them.
        folders = os.pathsep.join(folder for folder in sys.path if os.path.isabs(folder))  # noqa: PTH117
        # Koschey itself may run from a checkout that no installation names.
        home = str(Path(__file__).resolve().parents[2])
        run = "from koschey.checks import child; child.main(sys.argv[1:])"
        run = f"import sys; sys.path.append({home!r}); {run}"
        self._command = [sys.executable, "-I", "-c", run]
        self._command += [f"--memory={memory}", f"--nice={nice}", f"--path={folders}", *plugins]
        self._process: subprocess.Popen[bytes] | None = None
        self._received = b""
        self._guard = threading.Lock()

    def begin(self, request: bytes) -> None:
        """Hand over a request (one line).

        A child that had nothing to do may leave, or be killed by somebody, between two looks; then another
        one gets it.

        Raises:
            StoreUnavailable: no child could be started that would take it. That says nothing about the file.
        """
        for _ in range(_TRIES):
            try:
                self._start()
                deadline = time.monotonic() + _PATIENCE
                self._send(request, deadline)
                self._line(deadline)
            except (EOFError, OSError):  # TimeoutError is one
                self.kill()
            else:
                return
        raise StoreUnavailable("checks", "the process for checks does not start")

    def answer(self, seconds: float) -> bytes:
        """The next line of the answer.

        Raises:
            ChildLost: it died, or was silent for ``seconds``; it is gone then.
        """
        try:
            return self._line(time.monotonic() + seconds)
        except TimeoutError:
            self.kill()
            raise ChildLost(f"it took longer than {seconds:.4g} s") from None
        except (EOFError, OSError):
            raise ChildLost(f"it crashed ({_end(self.kill())})") from None

    def kill(self) -> int | None:
        """End the child and all that it started; returns how it ended, as ``Popen.returncode`` does."""
        with self._guard:
            process, self._process, self._received = self._process, None, b""
        if process is None:
            return None
        # The group outlives a leader that died, and its number is free only once the leader has been reaped.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        return process.wait()

    def interrupt(self) -> None:
        """Kill the child from another thread; the one that waits for its answer finds it dead."""
        with self._guard:  # not reaped while this has it, so that its number is still its own
            if self._process is not None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    def _start(self) -> None:
        if self._process is not None and _has_ended(self._process, seconds=0):
            self.kill()
        if self._slots is not None and self._process is not None and self._tenure_is_over():
            self.kill()
            self._slots.give_way()
        if self._process is not None:
            return
        if self._slots is None:
            self._process = self._popen()
        else:
            slot = self._slots.take()
            try:
                self._process = self._popen(slot)
            finally:
                os.close(slot)
        self._started = time.monotonic()
        assert self._process.stdin is not None and self._process.stdout is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        self._line(time.monotonic() + _PATIENCE)

    def _tenure_is_over(self) -> bool:
        return time.monotonic() - self._started > Slots.TENURE_SECONDS

    def _popen(self, *inherited: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and module
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,  # what a check starts is killed with it
            pass_fds=inherited,
        )

    def _send(self, request: bytes, deadline: float) -> None:
        assert self._process is not None and self._process.stdin is not None
        pipe, left = self._process.stdin.fileno(), memoryview(request + b"\n")
        while left:
            _wait_for(pipe, select.POLLOUT, deadline)
            with contextlib.suppress(BlockingIOError):
                left = left[os.write(pipe, left) :]

    def _line(self, deadline: float) -> bytes:
        """Raises: TimeoutError, EOFError, OSError."""
        assert self._process is not None and self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        while b"\n" not in self._received:
            _wait_for(pipe, select.POLLIN, deadline)
            piece = os.read(pipe, 2**16)
            if not piece or len(self._received) > _MAX_ANSWER_BYTES:
                _has_ended(self._process, seconds=_LAST_BREATH)
                raise EOFError
            self._received += piece
        line, _, self._received = self._received.partition(b"\n")
        return line


def _wait_for(pipe: int, event: int, deadline: float) -> None:
    poll = select.poll()  # select() cannot have the high numbers that a server's pipes get
    poll.register(pipe, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise TimeoutError


def _has_ended(process: subprocess.Popen[bytes], *, seconds: float) -> bool:
    """Whether the process ends within so many seconds; it is not reaped."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return True
        except ChildProcessError:
            return True  # somebody else has reaped it
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)


def _end(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {-code}"
    return f"exit status {code}"
