"""``koschey search``: projects by a part of their name."""

from __future__ import annotations

import json

import click

from koschey.cli.running import data_option, json_option, services


@click.command()
@click.argument("words")
@click.option("--index", default="main", show_default=True)
@click.option("--after", metavar="CURSOR", help="Go on where the part before ended.")
@json_option
@data_option
def search(words: str, index: str, after: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Projects that an index lists and whose name, or a part of it, begins with WORDS."""
    from koschey.domain.permissions import Names

    with services() as koschey:
        found = koschey.search.find(index, words, Names(frozenset({"*"})), after=after)
    if as_json:
        click.echo(json.dumps({"names": found.names, "next": found.next}, indent=2))
        return
    for name in found.names:
        click.echo(name)
    if not found.names:
        click.echo("nothing here begins so", err=True)
    if found.next is not None:
        click.echo(f"more: --after {found.next}", err=True)
