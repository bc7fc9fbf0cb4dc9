"""``koschey group``: users who are granted things together."""

from __future__ import annotations

import click

from koschey.cli.deciding import plain
from koschey.cli.running import actor, data_option, json_option, print_table, services
from koschey.domain.explanation import iso


@click.group()
def group() -> None:
    """Groups of users. A plug-in's groups count where one of the same name is here."""


@group.command()
@click.argument("name")
@data_option
def create(name: str) -> None:
    """Add the group NAME."""
    with services() as koschey:
        koschey.groups.create(name, actor=actor())
    click.echo(f"added group {name}")


@group.command()
@click.argument("name")
@click.argument("users", nargs=-1, required=True, metavar="USER...")
@data_option
def add(name: str, users: tuple[str, ...]) -> None:
    """Put users into the group NAME."""
    with services() as koschey:
        for user in users:
            changed = koschey.groups.join(name, user, actor=actor())
            click.echo(f"{user} is in {name} now" if changed else f"{user} was in {name} already")


@group.command()
@click.argument("name")
@click.argument("users", nargs=-1, metavar="[USER]...")
@data_option
def remove(name: str, users: tuple[str, ...]) -> None:
    """Take users out of the group NAME; without users, delete it and what was granted to it."""
    with services() as koschey:
        if not users:
            koschey.groups.remove(name, actor=actor())
            click.echo(f"removed group {name}")
        for user in users:
            koschey.groups.leave(name, user, actor=actor())
            click.echo(f"{user} is out of {name} now")


@group.command(name="list")
@click.option("--after", metavar="NAME", help="Only groups behind this one.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
@data_option
def list_(after: str | None, limit: int, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Groups with their members, by name."""
    with services() as koschey:
        rows = [
            plain(row) | {"created_at": iso(row.created_at)}
            for row in koschey.groups.list(after=after, limit=limit)
        ]
    print_table(rows, as_json=as_json, empty="no groups")
