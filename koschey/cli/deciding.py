"""What commands that decide share: how a reason and a scope are said, and how what came of it is shown."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from koschey.cli.times import Days
from koschey.domain.explanation import iso

if TYPE_CHECKING:
    from koschey.services.deciding import Made
    from koschey.services.sitting import Outcome

reason_option = click.option("--reason", required=True, help="Why; it is shown to everybody concerned.")
index_option = click.option("--index", help="Only in this index; all of them without it.")
expires_option = click.option("--expires", type=Days(), help="Days after which it counts no more.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")

_MOMENTS = frozenset(["at", "since", "until", "expires_at", "asked_at", "answered_at"])


def split_requirement(text: str) -> tuple[str, str | None]:
    """Name and version of ``NAME`` or ``NAME==VERSION``."""
    name, exactly, version = text.partition("==")
    return name.strip(), version.strip() if exactly else None


def ask_about_whole(name: str, version: str | None, filename: str | None, what: str, *, yes: bool) -> None:
    """At a terminal, ask before something is done to a whole project."""
    if version is None and filename is None and not yes and sys.stdin.isatty():
        click.confirm(f"{what} the whole project {name}?", abort=True, err=True)


def plain(structure: Any) -> dict[str, Any]:
    """A frozen structure as JSON has it, its times as text."""
    import msgspec

    values: dict[str, Any] = msgspec.to_builtins(structure)
    return {key: iso(value) if key in _MOMENTS else value for key, value in values.items()}


def outcome_as_json(outcome: Outcome) -> dict[str, Any]:
    """What a verb came to, as plain values."""
    return {
        "decisions": [plain(made) for made in outcome.decisions],
        **outcome.settled._asdict(),
        "notes": list(outcome.notes),
    }


def print_outcome(outcome: Outcome, *, as_json: bool) -> None:
    """What a verb came to, as JSON or in words."""
    if as_json:
        click.echo(json.dumps(outcome_as_json(outcome), indent=2))
        return
    for made in outcome.decisions:
        click.echo(f"{_DONE[made.kind]} {_about(made)} (decision {made.id})")
    for count, became in zip(outcome.settled, ("visible", "held", "rejected"), strict=True):
        if count:
            click.echo(f"{count} {'file is' if count == 1 else 'files are'} {became} now")
    for note in outcome.notes:
        click.echo(f"note: {note}")


_DONE = {
    "approve": "approved",
    "reject": "rejected",
    "hold": "held",
    "trust": "trusted",
    "baseline": "accepted what is there of",
    "revert": "took back",
}


def _about(made: Made) -> str:
    scope = made.subject
    if made.reverts is not None:
        scope = f"decision {made.reverts} about {scope}"
    where = f" in index {made.index}" if made.index is not None else ""
    ends = f" until {iso(made.until)}" if made.until is not None else ""
    expires = f", which expires {iso(made.expires_at)}" if made.expires_at is not None else ""
    return f"{scope}{where}{ends}{expires}"
