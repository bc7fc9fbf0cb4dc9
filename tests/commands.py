"""``koschey`` commands in processes of their own that need not import everything first.

A process that has it all imported forks for each command. The command has its own environment, arguments,
standard streams and exit status, and shares nothing with those before it; it starts in a tenth of the time.
``python -m tests.commands`` is that process. What a real start looks like is shown by the tests of the
README, of the package and of ``koschey serve``.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import IO

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
        socket.socket(socket.AF_UNIX) as channel,
    ):
        given.write(stdin.encode())
        given.seek(0)
        channel.settimeout(timeout)
        channel.connect(_address())
        socket.send_fds(channel, [b"."], [stream.fileno() for stream in (given, out, err)])
        channel.sendall(json.dumps([arguments, dict(environment)]).encode() + b"\n")
        status = channel.makefile().readline()
        assert status, "the process that starts commands is gone"
        return subprocess.CompletedProcess(["koschey", *arguments], int(status), _text(out), _text(err))


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
    arguments, environment = json.loads(channel.makefile().readline())
    command = os.fork()
    if command == 0:
        channel.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os._exit(_run(arguments, environment))
    _, status = os.waitpid(command, 0)
    channel.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    return 0


def _run(arguments: list[str], environment: dict[str, str]) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["koschey", *arguments]
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
