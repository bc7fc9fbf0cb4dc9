"""``koschey serve``: everything in one command, from an empty machine to a running index.

This process stays small: it locks the data folder, binds the address and watches the workers. Settings,
database and application are loaded in its children only.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from koschey.errors import KoscheyError
from koschey.server.listener import listen, url_of
from koschey.server.supervisor import run

if TYPE_CHECKING:
    from koschey.settings import Settings


class AlreadyRunning(KoscheyError):
    """Another ``koschey serve`` uses the data folder. ``pid`` is its process, if it could be read."""

    def __init__(self, folder: Path, pid: str) -> None:
        self.folder = folder
        self.pid = pid
        super().__init__(
            f"Koschey is running already on {folder} (process {pid or 'unknown'}); "
            "stop it first, or choose another --data"
        )


class FolderUnusable(KoscheyError):
    """The data folder cannot be made or written to."""

    def __init__(self, folder: Path, problem: str) -> None:
        self.folder = folder
        self.problem = problem
        super().__init__(f"cannot use the data folder {folder}: {problem}")


@click.command()
@click.option("--bind", default="127.0.0.1:8080", show_default=True, help="host:port or unix:path.")
@click.option("--data", type=click.Path(path_type=Path), help="Data folder; or KOSCHEY_DATA_DIR.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="Processes.")
@click.option("--threads", default=32, show_default=True, type=click.IntRange(1), help="Per process.")
def serve(bind: str, data: Path | None, workers: int, threads: int) -> None:
    """Run the index: database, migrations, web and jobs."""
    logging.basicConfig(format="koschey: %(message)s", level=logging.WARNING)
    if data is not None:
        os.environ["KOSCHEY_DATA_DIR"] = str(data)
    try:
        status = _serve(bind, workers, threads)
    except KoscheyError as error:
        click.echo(f"koschey: {error}", err=True)
        status = 1
    sys.exit(status)


def _serve(bind: str, workers: int, threads: int) -> int:
    with contextlib.ExitStack() as stack:
        preparation = stack.enter_context(_Preparation())
        folder = preparation.data_folder()
        if folder is None:
            return 1
        os.environ["KOSCHEY_DATA_DIR"] = str(folder)
        stack.enter_context(_locked(folder))
        listener = stack.enter_context(listen(bind))
        if not preparation.finish(url_of(listener)):
            return 1
        return run(_create_app, listener, workers=workers, threads=threads, on_ready=_announce)


def _create_app() -> Any:
    # Loaded in the worker: see the module's docstring.
    from koschey.server.deferred import import_without

    # For coloured tracebacks and for locals of greenlets, neither of which is used: 4 MB.
    import_without("structlog", "rich", "greenlet")
    from koschey.application import create_app

    return create_app()


def _announce(url: str) -> None:
    index = f"{url}/simple/"
    click.echo(f"Koschey serves {index}")
    click.echo(f"  pip install --index-url {index} NAME")
    click.echo(f"  uv pip install --index-url {index} NAME")
    sys.stdout.flush()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Create ``folder`` and hold its lock. The workers inherit it, so it lasts as long as any of them.

    Raises:
        AlreadyRunning: another process holds it. FolderUnusable: the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "serve.lock").open("a+")
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
    """A child process that loads the settings, waits until the folder is ours, and prepares the database.

    One child for both, because what they import takes longer than what they do.
    """

    def __enter__(self) -> _Preparation:
        self._answer, answer = os.pipe()
        order, self._order = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._answer)
            os.close(self._order)
            os._exit(_status_of(lambda: _prepare(answer, order)))
        os.close(answer)
        os.close(order)
        return self

    def __exit__(self, *_: object) -> None:
        """Dismiss the child if it still waits: without an order it ends."""
        for descriptor in (self._answer, self._order):
            os.close(descriptor)
        if self._pid:
            os.waitpid(self._pid, 0)

    def data_folder(self) -> Path | None:
        """The data folder of the settings; None if they are invalid, which the child has said."""
        with open(self._answer, "rb", closefd=False) as answer:
            text = answer.read()
        return Path(os.fsdecode(text)) if text else None

    def finish(self, url: str) -> bool:
        """Let the child prepare the database; False if it failed, which it has said.

        Args:
            url: where the index will be, for what the child says to people.
        """
        os.write(self._order, url.encode())
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        return os.waitstatus_to_exitcode(status) == 0


def _prepare(answer: int, order: int) -> None:
    # Loaded in this child: see the module's docstring.
    from koschey.settings import load

    settings = load()
    os.write(answer, os.fsencode(settings.data_dir.absolute()))
    os.close(answer)
    url = os.read(order, 4096).decode()
    if not url:
        return
    # Loading all that prepares would double the time of a start, and the workers look again.
    link = None if settings.database_url else _known_link(settings)
    if link is None:
        from koschey.application import prepare

        link = prepare(settings)
    if link:
        click.echo("Nobody is an admin of Koschey yet. This link makes one; it works once, for a day:")
        click.echo(f"  {settings.public_url.rstrip('/') or url}{link}")
        sys.stdout.flush()


def _known_link(settings: Settings) -> str | None:
    """The path of the first admin's link, "" for none; None: the database has to be prepared first."""
    from koschey.domain import setup_link
    from koschey.stores.revision import prepared

    found = prepared(settings.sqlite_path)
    if found is None or found.has_admin:
        return None if found is None else ""
    key = settings.secret_key or found.instance_values.get(setup_link.SECRET_KEY)
    nonce = found.instance_values.get(setup_link.SETUP_NONCE)
    return setup_link.path(key, nonce, int(time.time())) if key and nonce else None


def _status_of(work: Callable[[], None]) -> int:
    """Run ``work`` as the whole of a child process; its exit status, its failure said on stderr."""
    try:
        work()
    except KoscheyError as error:
        click.echo(f"koschey: {error}", err=True)
        return 1
    except BaseException:  # noqa: BLE001 - the child ends here; nothing may unwind into the parent's code
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0
