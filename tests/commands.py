"""``koschey`` commands in processes of their own that need not import everything first.

A process that has it all imported forks for each command. The command has its own environment, arguments,
standard streams and exit status, and shares nothing with those before it; it starts in a tenth of the time.
So do the servers of ``tests.running``. ``python -m tests.commands`` is that process. What a real start looks
like is shown by the tests of the README, of the package and of ``koschey serve``.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TextIO

CHECKOUT = Path(__file__).resolve().parent.parent


def koschey(
    *arguments: str, environment: Mapping[str, str], stdin: str = "", timeout: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """``python -m koschey ARGUMENTS`` in the checkout, with exactly these environment variables.

    Raises:
        TimeoutError: it did not end within ``timeout`` seconds.
    """
    with (
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        given.write(stdin.encode())
        given.seek(0)
        streams = [stream.fileno() for stream in (given, out, err)]
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(timeout)
            said = _ask(channel, arguments, environment, streams, session=False)
            status = _line(said)
        return subprocess.CompletedProcess(["koschey", *arguments], int(status), _text(out), _text(err))


class Process:
    """A command that runs, in a session and process group of its own; as ``subprocess.Popen`` has it."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: IO[bytes]) -> None:
        """``koschey ARGUMENTS`` with exactly this environment; what it writes is appended to ``log``."""
        self.returncode: int | None = None
        self._arguments = arguments
        self._channel = socket.socket(socket.AF_UNIX)
        try:
            self._channel.settimeout(60)
            with Path(os.devnull).open("rb") as nothing:
                streams = [nothing.fileno(), log.fileno(), log.fileno()]
                self._said = _ask(self._channel, arguments, environment, streams, session=True)
            self._channel.settimeout(None)
        except BaseException:
            self._channel.close()
            raise
        self.pid = int(_line(self._said))

    def poll(self) -> int | None:
        """The exit status; None: it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status. Raises: subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._channel], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(["koschey", *self._arguments], timeout or 0)
            self.returncode = int(_line(self._said))
            self._said.close()
            self._channel.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """To the process alone."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def _ask(
    channel: socket.socket,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    streams: Sequence[int],
    *,
    session: bool,
) -> TextIO:
    """Have a command started. What is said about it: its process id if it has a session; its status."""
    channel.connect(_address())
    socket.send_fds(channel, [b"."], streams)
    channel.sendall(json.dumps([session, arguments, dict(environment)]).encode() + b"\n")
    return channel.makefile()


def _line(said: TextIO) -> str:
    line = said.readline()
    assert line, "the process that starts commands is gone"
    return line


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode()


@functools.cache
def _address() -> str:
    """Where this test process's own forking process listens; it ends when this one does."""
    folder = tempfile.mkdtemp(prefix="koschey-commands-")
    address = f"{folder}/socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        command = [sys.executable, "-m", "tests.commands", str(listener.fileno()), str(os.getpid())]
        forking = subprocess.Popen(command, cwd=CHECKOUT, pass_fds=[listener.fileno()])
    atexit.register(_stop, forking)
    return address


def _stop(forking: subprocess.Popen[bytes]) -> None:
    forking.terminate()
    forking.wait()


def _serve(listener: socket.socket, parent: int) -> None:
    """Fork for each connection, until the process ``parent`` is gone."""
    import koschey.application
    import koschey.cli  # noqa: F401

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    told_to_end: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: told_to_end.append(number))
    listener.settimeout(0.5)
    while os.getppid() == parent and not told_to_end:
        try:
            channel, _ = listener.accept()
        except TimeoutError:
            continue
        if os.fork() == 0:
            listener.close()
            os._exit(_answer(channel))
        channel.close()
    address = Path(listener.getsockname())
    address.unlink()
    address.parent.rmdir()


def _answer(channel: socket.socket) -> int:
    """Have one command done, and tell its exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    channel.setblocking(True)
    _, streams, _, _ = socket.recv_fds(channel, 1, 3)
    session, arguments, environment = json.loads(channel.makefile().readline())
    command = os.fork()
    if command == 0:
        channel.close()
        if session:
            os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os._exit(_run(arguments, environment))
    if session:
        channel.sendall(f"{command}\n".encode())
    _, status = os.waitpid(command, 0)
    channel.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    return 0


def _run(arguments: list[str], environment: dict[str, str]) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["koschey", *arguments]
    if "KOSCHEY_FAIL" in environment:  # is read by an import, and they all have been
        os.execv(sys.executable, [sys.executable, "-m", "koschey", *arguments])
    try:
        runpy.run_module("koschey", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    except BaseException:  # noqa: BLE001 - what the interpreter does with it
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
