"""``koschey project reserve``, ``claim``, ``merge`` and their opposites: whose names are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from koschey.cli.deciding import reason_option
from koschey.cli.running import actor, data_option, json_option, print_table, services

if TYPE_CHECKING:
    from koschey.services.names import NameOutcome

_index_option = click.option("--index", help="Only in this index; all of them without it.")
_preview_option = click.option(
    "--dry-run", "preview", is_flag=True, help="Say what would change, and change nothing."
)


@click.command()
@click.argument("pattern")
@reason_option
@_index_option
@_preview_option
@json_option
@data_option
def reserve(pattern: str, reason: str, index: str | None, preview: bool, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Reserve the names that PATTERN matches, such as 'acme-*': they are never asked outside."""
    with services() as koschey:
        outcome = koschey.names.reserve(pattern, index=index, reason=reason, actor=actor(), preview=preview)
    _print(outcome, as_json=as_json)


@click.command()
@click.argument("pattern")
@reason_option
@_index_option
@_preview_option
@json_option
@data_option
def unreserve(pattern: str, reason: str, index: str | None, preview: bool, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Take the reservation of PATTERN back."""
    with services() as koschey:
        outcome = koschey.names.unreserve(pattern, index=index, reason=reason, actor=actor(), preview=preview)
    _print(outcome, as_json=as_json)


@click.command()
@click.argument("name")
@reason_option
@_index_option
@_preview_option
@json_option
@data_option
def claim(name: str, reason: str, index: str | None, preview: bool, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Claim NAME for the company although it exists outside, so that it can be uploaded."""
    with services() as koschey:
        outcome = koschey.names.claim(name, index=index, reason=reason, actor=actor(), preview=preview)
    _print(outcome, as_json=as_json)


@click.command()
@click.argument("name")
@reason_option
@_index_option
@_preview_option
@json_option
@data_option
def unclaim(name: str, reason: str, index: str | None, preview: bool, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Take the claim of NAME back."""
    with services() as koschey:
        outcome = koschey.names.unclaim(name, index=index, reason=reason, actor=actor(), preview=preview)
    _print(outcome, as_json=as_json)


@click.command()
@click.argument("name")
@reason_option
@_preview_option
@json_option
@data_option
def merge(name: str, reason: str, preview: bool, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Show the upstream's files of NAME, quarantined as usual, beside the company's own."""
    with services() as koschey:
        outcome = koschey.names.merge(name, reason=reason, actor=actor(), preview=preview)
    _print(outcome, as_json=as_json)


@click.command()
@click.argument("name")
@reason_option
@_preview_option
@json_option
@data_option
def unmerge(name: str, reason: str, preview: bool, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Take the merger of NAME back."""
    with services() as koschey:
        outcome = koschey.names.unmerge(name, reason=reason, actor=actor(), preview=preview)
    _print(outcome, as_json=as_json)


@click.command()
@json_option
@data_option
def rules(as_json: bool) -> None:  # noqa: FBT001 - click's
    """Every reservation, claim and merger that counts, with who made it and why."""
    with services() as koschey:
        rows = koschey.names.rules()
    print_table(rows, as_json=as_json, empty="nothing is reserved, claimed or merged")


COMMANDS = (reserve, unreserve, claim, unclaim, merge, unmerge, rules)

_DONE = {
    "reserve": "reserved",
    "unreserve": "took back the reservation of",
    "claim": "claimed",
    "unclaim": "took back the claim of",
    "merge": "merged",
    "unmerge": "took back the merger of",
}
_BECOMES = {
    "open": "comes from its upstream",
    "closed": "is the company's own: what its upstream has is hidden",
    "elsewhere": "is private in another index: it is not shown, and not asked outside",
    "merged": "has the upstream's files beside the company's own",
}


def _print(outcome: NameOutcome, *, as_json: bool) -> None:
    import msgspec

    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(outcome), indent=2))
        return
    where = "" if outcome.index is None else f" in index {outcome.index}"
    done = _DONE[outcome.action] if outcome.done else f"would {outcome.action}"
    click.echo(f"{done} {outcome.pattern}{where}")
    for effect in outcome.effects:
        click.echo(f"  {effect.project} in index {effect.index} {_BECOMES[effect.after]}")
    if outcome.changes > len(outcome.effects):
        click.echo(f"  and {outcome.changes - len(outcome.effects)} more")
    for note in outcome.notes:
        click.echo(f"note: {note}")
