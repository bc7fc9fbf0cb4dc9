"""Showing what a policy would do before it is saved, and asking."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from koschey.services.impact import Impact


def impact_lines(impact: Impact) -> list[str]:
    """What would become visible and what would vanish, for people."""
    lines = [
        f"{impact.appear} versions would appear, {impact.appear_downloaded} of them downloaded in the last "
        "30 days",
        f"{impact.vanish} versions would vanish, {impact.vanish_downloaded} of them downloaded in the last "
        "30 days",
    ]
    for example in impact.examples:
        does = "appears" if example.appears else "vanishes"
        lines.append(
            f"  {example.project} {example.version or '(no version)'} {does}, "
            f"{example.downloads} downloads: {example.reason}"
        )
    if not impact.complete:
        lines.append(f"not all was counted: time was up after {impact.projects} projects")
    return lines


def show_and_ask(impact: Impact, *, yes: bool, only_at_terminal: bool = False) -> None:
    """Show the effect on standard error and ask whether to save it.

    Args:
        only_at_terminal: whether a script that says nothing means yes.
    """
    for line in impact_lines(impact):
        click.echo(line, err=True)
    if yes or (only_at_terminal and not sys.stdin.isatty()):
        return
    click.confirm("Save this?", abort=True, err=True)
