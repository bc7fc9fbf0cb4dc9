"""``koschey serve``: everything in one command, from an empty machine to a running index.

The process that stays is small: it locks the data folder, binds the address and watches the workers. Command
line, settings, database and application are loaded in its children only, and it imports little of the
standard library either: what it carries counts as often as there are processes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys

from koschey.errors import KoscheyError
from koschey.server.listener import listen, url_of
from koschey.server.supervisor import run

TYPE_CHECKING = False  # as typing has it, which would be a part of this process that shows
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    CommandLine = Callable[["Request"], None]


class AlreadyRunning(KoscheyError):
    """Another ``koschey serve`` uses the data folder. ``pid`` is its process, if it could be read."""

    def __init__(self, folder: str, pid: str) -> None:
        self.folder = folder
        self.pid = pid
        super().__init__(
            f"Koschey is running already on {folder} (process {pid or 'unknown'}); "
            "stop it first, or choose another --data"
        )


class FolderUnusable(KoscheyError):
    """The data folder cannot be made or written to."""

    def __init__(self, folder: str, problem: str) -> None:
        self.folder = folder
        self.problem = problem
        super().__init__(f"cannot use the data folder {folder}: {problem}")


class PreparationKilled(KoscheyError):
    """The process that reads the settings and prepares the database was killed. ``signal`` is its number."""

    def __init__(self, signal: int) -> None:
        self.signal = signal
        super().__init__(
            f"the process that prepares the database was killed (signal {signal}); what it had not finished "
            "is undone: start again"
        )


class Request:
    """A child's side of the talk: what the command line asks for, and whether it comes to that."""

    def __init__(self, answer: int, order: int) -> None:
        self._answer = answer
        self._order = order

    def serve(self, *, bind: str, folder: str, workers: int, threads: int) -> str:
        """Ask to serve; returns the URL of the index once folder and address are ours.

        Args:
            bind: see ``koschey.server.listener.parse``.
            folder: the data folder, an absolute path.
            workers, threads: processes, and threads in each of them.

        Returns:
            "" if it comes to nothing, which the parent has said.
        """
        os.write(self._answer, os.fsencode("\0".join((bind, folder, str(workers), str(threads)))))
        os.close(self._answer)
        return os.read(self._order, 4096).decode()


def serve(command_line: CommandLine) -> int:
    """Serve until SIGTERM or SIGINT; the exit status for this process.

    Args:
        command_line: called in a child, which reads the command line and the settings, asks by
            ``Request.serve``, and prepares the database after that. If it ends without asking, its exit
            status is this process's, and what there was to say has been said.
    """
    try:
        with contextlib.ExitStack() as stack:
            return _serve(stack, stack.enter_context(_Preparation(command_line)))
    except KoscheyError as error:
        _complain(error)
        return 1
    except KeyboardInterrupt:
        return 130


def _serve(stack: contextlib.ExitStack, preparation: _Preparation) -> int:
    asked = preparation.asked()
    if not asked:
        return preparation.status()
    bind, folder, workers, threads = asked
    os.environ["KOSCHEY_DATA_DIR"] = folder
    stack.enter_context(_locked(folder))
    listener = stack.enter_context(listen(bind))
    preparation.order(url_of(listener))
    if preparation.status():
        return 1
    return run(create_app, listener, workers=int(workers), threads=int(threads), on_ready=_announce)


def create_app() -> Any:
    """The application of a worker process, without what it never uses of its packages."""
    # Loaded in the worker: see the module's docstring.
    from koschey.server.deferred import import_without

    # For coloured tracebacks and for locals of greenlets, neither of which is used: 4 MB.
    import_without("structlog", "rich", "greenlet")
    from koschey.application import create_app

    return create_app()


def _complain(error: KoscheyError) -> None:
    sys.stderr.write(f"koschey: {error}\n")
    sys.stderr.flush()


def _announce(url: str) -> None:
    index = f"{url}/simple/"
    sys.stdout.write(
        f"Koschey serves {index}\n"
        f"  pip install --index-url {index} NAME\n"
        f"  uv pip install --index-url {index} NAME\n"
    )
    sys.stdout.flush()


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Create ``folder`` and hold its lock. The workers inherit it, so it lasts as long as any of them.

    Raises:
        AlreadyRunning: another process holds it. FolderUnusable: the folder cannot be made or written.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        lock = open(f"{folder}/serve.lock", "a+")  # noqa: SIM115 - entered below, where other errors are meant
    except OSError as error:
        raise FolderUnusable(folder, error.strerror or str(error)) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise AlreadyRunning(folder, lock.read().strip()) from None
        except OSError as error:
            raise FolderUnusable(folder, f"it cannot be locked: {error.strerror}") from error
        # Only for the sentence of a second start, and a full disk can still serve what it has.
        with contextlib.suppress(OSError):
            os.ftruncate(lock.fileno(), 0)
            os.write(lock.fileno(), f"{os.getpid()}\n".encode())
        yield


class _Preparation:
    """A child process that reads the command line, waits until the folder is ours, and prepares the database.

    One child for all of it, because what it imports takes longer than what it does.
    """

    def __init__(self, command_line: CommandLine) -> None:
        self._command_line = command_line

    def __enter__(self) -> _Preparation:
        self._answer, answer = os.pipe()
        order, self._order = os.pipe()
        self._open = [self._answer, self._order]
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._answer)
            os.close(self._order)
            os._exit(_status_of(self._command_line, Request(answer, order)))
        os.close(answer)
        os.close(order)
        return self

    def __exit__(self, *_: object) -> None:
        """Dismiss the child if it still waits: without an order it ends."""
        self._close()
        if self._pid:
            os.waitpid(self._pid, 0)

    def asked(self) -> list[str]:
        """Address, data folder, numbers of workers and threads; nothing if the child ends without asking."""
        with open(self._answer, "rb", closefd=False) as answer:
            text = os.fsdecode(answer.read())
        return text.split("\0") if text else []

    def order(self, url: str) -> None:
        """Have the database prepared. ``url``: where the index will be, for what is said to people."""
        with contextlib.suppress(BrokenPipeError):  # its status tells
            os.write(self._order, url.encode())

    def status(self) -> int:
        """The child's exit status, once it has ended. Raises: PreparationKilled."""
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        self._close()  # or the workers would inherit them
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            raise PreparationKilled(-code)
        return code

    def _close(self) -> None:
        while self._open:
            os.close(self._open.pop())


def _status_of(command_line: CommandLine, request: Request) -> int:
    """Run ``command_line`` as the whole of a child process; its exit status, its failure said on stderr."""
    try:
        command_line(request)
    except KoscheyError as error:
        _complain(error)
        return 1
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except KeyboardInterrupt:
        return 130
    except BaseException:  # noqa: BLE001 - the child ends here; nothing may unwind into the parent's code
        import traceback

        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0
