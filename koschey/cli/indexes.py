"""``koschey index``: named views over sources in order."""

from __future__ import annotations

import click

from koschey.cli.previews import show_and_ask
from koschey.cli.running import actor, data_option, json_option, print_table, services


@click.group()
def index() -> None:
    """Indexes that people point their installers at."""


_hold_option = click.option(
    "--hold-days", type=click.FloatRange(0), help="Days of hold that its policy asks for."
)


@index.command()
@click.argument("name")
@click.option("--source", "sources", multiple=True, required=True, help="A source; repeat it, in order.")
@_hold_option
@data_option
def add(name: str, sources: tuple[str, ...], hold_days: float | None) -> None:
    """Add the index NAME, served at /NAME/simple/. The first source that owns a name wins."""
    with services() as koschey:
        koschey.indexes.add_index(name, sources, hold_days=hold_days, actor=actor())
    click.echo(f"added index {name} at /{name}/simple/")


@index.command()
@click.argument("name")
@click.option("--source", "sources", multiple=True, help="The new sources, all of them, in order.")
@_hold_option
@click.option("--yes", is_flag=True, help="Do not ask. Without a terminal nobody is asked either.")
@data_option
def edit(name: str, sources: tuple[str, ...], hold_days: float | None, yes: bool) -> None:  # noqa: FBT001 - click's
    """Change the index NAME; what is not said stays. What other days of hold would do is shown first."""
    from koschey.services.policies import OWN, PolicyChange

    if not sources and hold_days is None:
        raise click.UsageError("nothing to change: say --source or --hold-days")
    with services() as koschey:
        if hold_days is not None:
            change = PolicyChange(index=name, pattern=OWN, hold_days=hold_days)
            show_and_ask(koschey.policies.preview(change), yes=yes, only_at_terminal=True)
        koschey.indexes.edit_index(name, sources=sources or None, hold_days=hold_days, actor=actor())
    click.echo(f"changed index {name}")


@index.command(name="list")
@json_option
@data_option
def list_(as_json: bool) -> None:  # noqa: FBT001 - click's
    """All indexes with their sources in order."""
    with services() as koschey:
        rows = [
            {
                "name": row.name,
                "path": f"{row.prefix}/simple/",
                "sources": [source.name for source in row.sources],
                "hold_days": row.hold_days,
            }
            for row in koschey.configuration.indexes()
        ]
    print_table(rows, as_json=as_json, empty="no indexes")


@index.command()
@click.argument("name")
@data_option
def remove(name: str) -> None:
    """Delete the index NAME; its sources and their files stay."""
    with services() as koschey:
        koschey.indexes.remove_index(name, actor=actor())
    click.echo(f"removed index {name}")
