"""``koschey ask``: who wants a hidden version, and what they are told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from koschey.cli.deciding import plain, reason_option, split_requirement
from koschey.cli.running import actor, data_option, json_option, print_table, services

if TYPE_CHECKING:
    from koschey.domain.asks import Ask

_STATES = ("open", "released", "rejected", "refused", "withdrawn")


@click.group()
def ask() -> None:
    """Requests for hidden versions: many people, one request, one answer."""


@ask.command()
@click.argument("requirement", metavar="PROJECT==VERSION")
@reason_option
@click.option("--for", "user", help="User name of the one who asks; by default your own.")
@click.option("--email", help="Where to send the answer.")
@click.option("--index", default="main", show_default=True)
@json_option
@data_option
def make(
    requirement: str,
    reason: str,
    user: str | None,
    email: str | None,
    index: str,
    as_json: bool,  # noqa: FBT001 - click's
) -> None:
    """Ask for a version that is held, or join those who do."""
    name, version = split_requirement(requirement)
    if version is None:
        raise click.UsageError("say which version: PROJECT==VERSION")
    asker = user or actor().removeprefix("cli:")
    with services() as koschey:
        made = koschey.asks.ask(index, name, version, actor=asker, reason=reason, email=email)
    _print(made, as_json=as_json)


@ask.command(name="list")
@click.option("--state", type=click.Choice(_STATES), default="open", show_default=True)
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@click.option("--before", type=click.IntRange(1), metavar="ID", help="Only older ones than this request.")
@json_option
@data_option
def list_(state: str, limit: int, before: int | None, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Requests, the newest first."""
    from koschey.domain.asks import AskState

    with services() as koschey:
        page = koschey.asks.page(state=AskState(state), limit=limit, before=before)
    rows = [plain(row) for row in page.asks]
    if as_json:
        click.echo(json.dumps({"asks": rows, "next": page.next}, indent=2))
        return
    print_table(rows, as_json=False, empty=f"no {state} requests")
    if page.next is not None:
        click.echo(f"more: --before {page.next}", err=True)


@ask.command()
@click.argument("ask_id", metavar="ID", type=click.IntRange(1))
@json_option
@data_option
def people(ask_id: int, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Who makes the request ID, and why."""
    with services() as koschey:
        rows: list[dict[str, Any]] = [plain(asker) for asker in koschey.asks.people(ask_id)]
    print_table(rows, as_json=as_json, empty=f"nobody makes request {ask_id}")


@ask.command()
@click.argument("ask_id", metavar="ID", type=click.IntRange(1))
@reason_option
@json_option
@data_option
def refuse(ask_id: int, reason: str, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Say no to the request ID; its version stays as it is. (Yes is `koschey quarantine approve`.)"""
    with services() as koschey:
        refused = koschey.asks.refuse(ask_id, actor=actor(), reason=reason)
    _print(refused, as_json=as_json)


def _print(made: Ask, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(plain(made), indent=2))
        return
    people = "1 person" if made.people == 1 else f"{made.people} people"
    click.echo(
        f"request {made.id} for {made.project}=={made.version} in {made.index}: {made.state}, {people}"
    )
