"""``koschey hosted``: stores of the company's own packages."""

from __future__ import annotations

import click

from koschey.cli.running import actor, data_option, json_option, print_table, services


@click.group()
def hosted() -> None:
    """Hosted sources: where uploads are kept. A new database has one, named hosted."""


@hosted.command()
@click.argument("name")
@click.option("--index", "indexes", multiple=True, help="Index that uses it, behind its other hosted ones.")
@data_option
def add(name: str, indexes: tuple[str, ...]) -> None:
    """Add the hosted source NAME. Uploads to an index go to the first hosted source that it has."""
    with services() as koschey:
        koschey.hosted.add(name, indexes=indexes, actor=actor())
    click.echo(f"added hosted source {name}")
    if not indexes:
        click.echo(f"no index has it yet: koschey index add INDEX --source {name}")


@hosted.command(name="list")
@json_option
@data_option
def list_(as_json: bool) -> None:  # noqa: FBT001 - click's
    """All hosted sources, the indexes that have them, and those whose uploads they take."""
    with services() as koschey:
        rows = koschey.hosted.describe()
    print_table(rows, as_json=as_json, empty="no hosted sources; add one with `koschey hosted add NAME`")


@hosted.command()
@click.argument("name")
@data_option
def remove(name: str) -> None:
    """Delete the hosted source NAME, if nothing was ever uploaded to it."""
    with services() as koschey:
        koschey.hosted.remove(name, actor=actor())
    click.echo(f"removed hosted source {name}")
