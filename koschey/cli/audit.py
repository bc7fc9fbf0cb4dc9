"""``koschey audit``: who changed what, when and why."""

from __future__ import annotations

from typing import Any

import click

from koschey.cli.deciding import plain
from koschey.cli.running import data_option, json_option, print_table, services
from koschey.cli.times import Since


@click.command()
@click.option("--project", help="Only about this project.")
@click.option("--index", help="Only what is so in this index alone.")
@click.option("--actor", help="Only by this actor, such as cli:anna, koschey or upstream:NAME.")
@click.option("--action", metavar="GLOB", help="Only such actions, for example 'decision.*'.")
@click.option("--since", type=Since(), help="Only from then on: a date, or days back such as 7d.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--after", type=click.IntRange(1), metavar="ID", help="Only older ones than this event.")
@json_option
@data_option
def audit(as_json: bool, **options: Any) -> None:  # noqa: FBT001 - click's
    """Changes of state, the newest first."""
    with services() as koschey:
        rows = [plain(event) for event in koschey.audit.events(**options)]
    print_table(rows, as_json=as_json, empty="no such events")
