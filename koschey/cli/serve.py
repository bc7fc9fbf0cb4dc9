"""``koschey serve`` as a command: its options, and what is done before anything is served.

This is the child of ``koschey.serving``, which stays: neither click nor the settings are loaded there.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from koschey import serving
from koschey.cli.running import data_option

if TYPE_CHECKING:
    from koschey.settings import Settings


@click.command()
@click.option("--bind", default="127.0.0.1:8080", show_default=True, help="host:port or unix:path.")
@data_option
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="Processes.")
@click.option("--threads", default=32, show_default=True, type=click.IntRange(1), help="Per process.")
@click.pass_obj
def serve(request: serving.Request | None, *, bind: str, workers: int, threads: int) -> None:
    """Run the index: database, migrations, web and jobs."""
    if request is None:  # this is no child of the process that stays, but becomes it
        sys.exit(serving.serve(lambda request: _prepare(request, bind, workers, threads)))
    _prepare(request, bind, workers, threads)


def _prepare(request: serving.Request, bind: str, workers: int, threads: int) -> None:
    from koschey.settings import load  # not for --help

    settings = load()
    folder = str(settings.data_dir.absolute())
    url = request.serve(bind=bind, folder=folder, workers=workers, threads=threads)
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
