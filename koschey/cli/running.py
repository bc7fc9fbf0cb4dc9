"""What every command shares: where the data is, who acts, how errors and listings look."""

from __future__ import annotations

import functools
import getpass
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from koschey.errors import KoscheyError

if TYPE_CHECKING:
    from koschey.web.current import Koschey

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def data_option[F: Callable[..., Any]](command: F) -> F:
    """Give a command ``--data`` and turn domain errors into one clear sentence and exit code 1."""

    @click.option("--data", type=click.Path(path_type=Path), help="Data folder; or KOSCHEY_DATA_DIR.")
    @functools.wraps(command)
    def run(*args: Any, data: Path | None, **kwargs: Any) -> Any:
        if data is not None:
            os.environ["KOSCHEY_DATA_DIR"] = str(data)
        try:
            return command(*args, **kwargs)
        except KoscheyError as error:
            click.echo(f"koschey: {error}", err=True)
            sys.exit(1)

    return run  # type: ignore[return-value]


@contextmanager
def services() -> Iterator[Koschey]:
    """Every service, as the settings have it; let go of at the end."""
    # Heavy, and not needed for --help.
    from koschey.opening import open_services

    os.environ.setdefault("KOSCHEY_LOG_LEVEL", "warning")
    koschey = open_services()
    try:
        yield koschey
    finally:
        koschey.close()


def actor() -> str:
    """Who acts, for the audit: the operating system's user at the command line."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return f"cli:{os.getuid()}"


def print_table(rows: Sequence[dict[str, Any]], *, as_json: bool, empty: str) -> None:
    """Rows with the same keys, as JSON or as aligned columns."""
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo(empty)
        return
    cells = [list(rows[0]), *([_shown(value) for value in row.values()] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(str(item) for item in value) or "-"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return plain(text)


def plain(text: str) -> str:
    """Text for a terminal, which what an upstream wrote must not steer."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text)
