"""``koschey doctor``: whether the installation is sound."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from koschey import settings as settings_module
from koschey.cli.running import data_option, json_option, plain, services
from koschey.errors import KoscheyError

if TYPE_CHECKING:
    from koschey.services.doctor import Line
    from koschey.settings import Settings


@click.command()
@click.option("--offline", is_flag=True, help="Ask no upstream.")
@json_option
@data_option
def doctor(offline: bool, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Look at settings, database, files, jobs, clocks, room and upstreams, and say what to do.

    Changes nothing. Exits with 1 when a line fails.
    """
    lines = []
    for line in _lines(settings_module.load(), offline=offline):
        lines.append(line)
        if not as_json:
            said = f"{line.level:<4}  {line.subject}: {line.says}"
            click.echo(plain(f"{said}; {line.advice}" if line.advice else said))
    if as_json:
        click.echo(json.dumps([asdict(line) for line in lines], indent=2))
    sys.exit(any(line.level == "fail" for line in lines))


def _lines(settings: Settings, *, offline: bool) -> Iterator[Line]:
    from koschey.services.doctor import folder_line

    folder = folder_line(settings.data_dir)
    yield folder
    if folder.level == "fail":
        return
    schema = _schema(settings)
    yield schema
    if schema.level == "fail":
        return  # a look at the rest would bring the schema up to date
    try:
        with services() as koschey:
            yield from koschey.doctor.lines(ask_upstreams=not offline)
    except KoscheyError as error:
        from koschey.services.doctor import Line

        yield Line("fail", "start", str(error))


def _schema(settings: Settings) -> Line:
    from sqlalchemy import create_engine

    from koschey.services.doctor import Line, schema_line
    from koschey.stores import schema
    from koschey.stores.database import engine_options
    from koschey.stores.revision import HEAD

    if settings.embedded and settings.sqlite_path.parent == settings.data_dir.absolute():
        found = settings.database_url or settings.sqlite_path.is_file()
        if not found:
            return Line(
                "fail", "schema", "there is no database yet", "run `koschey serve` or `koschey db upgrade`"
            )
    engine = create_engine(settings.resolved_database_url, **engine_options(settings))
    try:
        return schema_line(schema.version(engine), HEAD)
    except KoscheyError as error:
        return Line("fail", "database", str(error), "see KOSCHEY_DATABASE_URL, and that the database runs")
    finally:
        engine.dispose()
