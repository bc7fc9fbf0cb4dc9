"""``koschey policy``: days of hold, clock and checks of an index, by names."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from koschey.cli.deciding import index_option, plain, print_outcome, reason_option, yes_option
from koschey.cli.previews import impact_lines, show_and_ask
from koschey.cli.running import actor, data_option, json_option, print_table, services

if TYPE_CHECKING:
    from koschey.domain.policy import Effect
    from koschey.services.impact import Impact
    from koschey.services.policies import PolicyChange

_own_index_option = click.option("--index", default="main", show_default=True, help="Whose policy it is.")
_why_option = click.option("--reason", help="Why; for the audit.")
_dry_run_option = click.option("--dry-run", is_flag=True, help="Only show what it would do.")


@click.group()
def policy() -> None:
    """What an index asks of names before it shows their files."""


@policy.command(name="list")
@click.option("--index", help="Only of this index.")
@json_option
@data_option
def list_(index: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's
    """All rules, the least specific first; of those that match a name the later overrules the earlier."""
    with services() as koschey:
        rows: list[dict[str, Any]] = [
            {
                "index": name,
                "pattern": rule.pattern,
                "hold_days": rule.hold_days,
                "clock": rule.clock and rule.clock.value,
                "checks": {check: effect.value for check, effect in sorted(rule.checks.items())},
            }
            for name, rule in koschey.policies.list(index)
        ]
    if not as_json:
        rows = [row | {"checks": [f"{k}={v}" for k, v in row["checks"].items()]} for row in rows]
    print_table(rows, as_json=as_json, empty="no rules")


@policy.command(name="set")
@click.argument("pattern", default="*")
@_own_index_option
@click.option("--hold-days", type=float, help="Days of hold, fractions allowed; 0 switches the hold off.")
@click.option("--clock", type=click.Choice(["upload-time", "first-seen"]), help="Where the hold begins.")
@click.option(
    "--check",
    "checks",
    multiple=True,
    metavar="NAME=EFFECT",
    help="required, reported, off, or inherit: as a less specific rule has it. Repeat it.",
)
@_why_option
@_dry_run_option
@yes_option
@json_option
@data_option
def set_(
    pattern: str,
    index: str,
    hold_days: float | None,
    clock: str | None,
    checks: tuple[str, ...],
    reason: str | None,
    dry_run: bool,  # noqa: FBT001 - click's
    yes: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Make or change the rule for names that match the glob PATTERN, for all without it.

    What is not said stays.
    """
    from koschey.domain.policy import Clock
    from koschey.services.policies import PolicyChange

    change = PolicyChange(
        index=index,
        pattern=pattern,
        hold_days=hold_days,
        clock=None if clock is None else Clock(clock),
        checks=dict(_effect(said) for said in checks),
    )
    if hold_days is None and clock is None and not checks:
        raise click.UsageError("nothing to change: say --hold-days, --clock or --check")
    with services() as koschey:
        impact = koschey.policies.preview(change)
        saved = False
        if not dry_run:
            show_and_ask(impact, yes=yes)
            saved = koschey.policies.set(
                index, pattern, hold_days, change.clock, change.checks, actor=actor(), reason=reason
            )
    _report(change, impact, f"set the policy for {pattern} in index {index}", saved, dry_run, as_json)


@policy.command()
@click.argument("pattern")
@_own_index_option
@_why_option
@_dry_run_option
@yes_option
@json_option
@data_option
def remove(
    pattern: str,
    index: str,
    reason: str | None,
    dry_run: bool,  # noqa: FBT001 - click's
    yes: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Take the rule for the glob PATTERN away."""
    from koschey.services.policies import PolicyChange

    change = PolicyChange(index=index, pattern=pattern, removed=True)
    with services() as koschey:
        impact = koschey.policies.preview(change)
        if not dry_run:
            show_and_ask(impact, yes=yes)
            koschey.policies.remove(index, pattern, actor=actor(), reason=reason)
    _report(change, impact, f"removed the policy for {pattern}", not dry_run, dry_run, as_json)


@policy.command()
@click.option("--project", help="Of this project.")
@click.option("--upstream", "source", help="Of every project of this upstream.")
@reason_option
@index_option
@yes_option
@json_option
@data_option
def baseline(
    project: str | None,
    source: str | None,
    reason: str,
    index: str | None,
    yes: bool,  # noqa: FBT001 - click's
    as_json: bool,  # noqa: FBT001
) -> None:
    """Accept what is there now: it skips the hold. What comes later is held as ever."""
    if (project is None) == (source is None):
        raise click.UsageError("say --project or --upstream")
    if not yes and sys.stdin.isatty():
        click.confirm(f"Accept all that is there of {project or source}?", abort=True, err=True)
    with services() as koschey:
        outcome = koschey.review.baseline(
            project=project, source=source, index=index, reason=reason, actor=actor()
        )
    print_outcome(outcome, as_json=as_json)


def _effect(said: str) -> tuple[str, Effect | None]:
    from koschey.domain.policy import Effect

    check, _, effect = said.partition("=")
    if effect == "inherit":
        return check, None
    try:
        return check, Effect(effect)
    except ValueError:
        raise click.BadParameter(
            f"{said!r}: say NAME=required, NAME=reported, NAME=off or NAME=inherit", param_hint="--check"
        ) from None


def _report(
    change: PolicyChange,
    impact: Impact,
    done: str,
    saved: bool,  # noqa: FBT001 - ours alone
    dry_run: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    if as_json:
        answer: dict[str, Any] = {"change": plain(change), "effect": plain(impact), "saved": saved}
        click.echo(json.dumps(answer, indent=2))
        return
    if dry_run:
        for line in impact_lines(impact):
            click.echo(line)
    else:
        click.echo(done if saved else "nothing to change: it is so already")
