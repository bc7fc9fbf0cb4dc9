"""``koschey project reserve``, ``claim``, ``merge`` and their opposites: whose names are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from koschey.cli.deciding import reason_option
from koschey.cli.running import actor, data_option, json_option, print_table, services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from koschey.services.name_effects import NameEffect
    from koschey.services.names import NameOutcome


def _verb(verb: str, argument: str, words: str, *, indexed: bool = True) -> click.Command:
    """A command that says something of names, or takes it back.

    Args:
        verb: of the command, and of ``koschey.services.names.Names``.
        argument: PATTERN, or NAME.
        words: what its help says.
        indexed: whether it can be for one index only.
    """

    def run(said: str, as_json: bool, **options: Any) -> None:  # noqa: FBT001 - click's
        with services() as koschey:
            outcome = getattr(koschey.names, verb)(said, actor=actor(), **options)
        _print(outcome, as_json=as_json)

    index = click.option("--index", help="Only in this index; all of them without it.")
    options = [
        data_option,
        json_option,
        click.option("--dry-run", "preview", is_flag=True, help="Say what would change, and change nothing."),
        *([index] if indexed else []),
        reason_option,
        click.argument("said", metavar=argument),
    ]
    command: Any = run
    for option in options:
        command = option(command)
    return click.command(name=verb, help=words)(command)


@click.command()
@json_option
@data_option
def rules(as_json: bool) -> None:  # noqa: FBT001 - click's
    """Every reservation, claim and merger that counts, with who made it and why."""
    with services() as koschey:
        rows = koschey.names.rules()
    print_table(rows, as_json=as_json, empty="nothing is reserved, claimed or merged")


COMMANDS = (
    _verb(
        "reserve",
        "PATTERN",
        "Reserve the names that PATTERN matches, such as 'acme-*': they are never asked outside.",
    ),
    _verb("unreserve", "PATTERN", "Take the reservation of PATTERN back."),
    _verb(
        "claim", "NAME", "Claim NAME for the company although it exists outside, so that it can be uploaded."
    ),
    _verb("unclaim", "NAME", "Take the claim of NAME back."),
    _verb(
        "merge",
        "NAME",
        "Show the upstream's files of NAME, quarantined as usual, beside the company's own.",
        indexed=False,
    ),
    _verb("unmerge", "NAME", "Take the merger of NAME back.", indexed=False),
    rules,
)

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


def _views(effect: NameEffect) -> Iterator[str]:
    """What people there would see no more, and anew."""
    if effect.view is None:
        return
    for seen, what in ((effect.view.vanish, "disappear from"), (effect.view.appear, "appear in")):
        if seen.files:
            used = f"{seen.downloads} downloads by {seen.clients} clients in the last 30 days"
            yield f"files that {what} index {effect.index}: {seen.files}, of {seen.versions} versions; {used}"


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
        for line in _views(effect):
            click.echo(f"    {line}")
    if outcome.changes > len(outcome.effects):
        click.echo(f"  and {outcome.changes - len(outcome.effects)} more")
    for note in outcome.notes:
        click.echo(f"note: {note}")
