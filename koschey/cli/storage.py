"""``koschey storage``: what takes how much room, and giving up what can be fetched again."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from koschey.cli.running import actor, data_option, json_option, print_table, services
from koschey.cli.sizes import BYTES, readable

if TYPE_CHECKING:
    from koschey.services.eviction import Evicted


@click.group(invoke_without_command=True)
@json_option
@data_option
@click.pass_context
def storage(context: click.Context, as_json: bool) -> None:  # noqa: FBT001 - click's
    """What is stored, by source, kind and state; and care for it."""
    if context.invoked_subcommand is not None:
        return
    with services() as koschey:
        koschey.tallies.count()
        report = koschey.storage_report.report()
    if as_json:
        click.echo(json.dumps(asdict(report), indent=2))
        return
    rows = [
        {
            "source": tally["source"],
            "kind": tally["kind"],
            "state": tally["state"],
            "files": f"{tally['files']:,}",
            "size": readable(tally["bytes"]),
        }
        for tally in report.tallies
    ]
    print_table(rows, as_json=False, empty="no file is known yet")
    for line in report.sentences(readable):
        click.echo(line)


@storage.command()
@click.option("--unused-days", type=click.FloatRange(1), help="Files that nobody downloaded for so long.")
@click.option("--max-bytes", type=BYTES, help="Until mirrored files take no more than this, such as 500GB.")
@click.option("--dry-run", is_flag=True, help="Only say what would be given up.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@data_option
def evict(
    unused_days: float | None,
    max_bytes: int | None,
    dry_run: bool,  # noqa: FBT001 - click's
    yes: bool,  # noqa: FBT001 - click's
    as_json: bool,  # noqa: FBT001 - click's
) -> None:
    """Give up the bytes of mirrored files that can be fetched again; without options, by the settings.

    Private files stay, and what is held, rejected, approved, or not to be had from its upstream any more.
    """
    with services() as koschey:
        rules = koschey.eviction.rules
        if unused_days is not None or max_bytes is not None:
            rules = replace(rules, unused_days=unused_days or 0.0, max_bytes=max_bytes or 0)
        if not rules.unused_days and not rules.max_bytes:
            raise click.UsageError(
                "nothing says what to give up: --unused-days, --max-bytes, or the settings "
                "storage_unused_days and storage_max_bytes"
            )
        koschey.tallies.count()
        if not dry_run and not yes and not as_json:
            _say(koschey.eviction.preview(rules), "would give up")
            click.confirm("Give them up?", abort=True)
        done = koschey.eviction.preview(rules) if dry_run else koschey.eviction.evict(rules, actor=actor())
    if as_json:
        click.echo(json.dumps(asdict(done), indent=2))
    else:
        _say(done, "would give up" if dry_run else "gave up")


@storage.command()
@json_option
@data_option
def sweep(as_json: bool) -> None:  # noqa: FBT001 - click's
    """Look through all stored bytes for those that nothing refers to; delete what has been so for long."""
    with services() as koschey:
        swept = koschey.orphans.sweep(longest=float("inf"))
    if as_json:
        click.echo(json.dumps(asdict(swept), indent=2))
        return
    click.echo(
        f"looked at {swept.looked_at:,} blobs: marked {swept.marked:,}, deleted {swept.deleted:,} "
        f"({readable(swept.bytes)}), spared {swept.spared:,}"
    )


def _say(evicted: Evicted, what: str) -> None:
    click.echo(f"{what} {evicted.files:,} files, {readable(evicted.bytes)}")
    rows: list[dict[str, Any]] = [
        {"source": source, "files": f"{files:,}", "size": readable(size)}
        for source, (files, size) in sorted(evicted.sources.items())
    ]
    if rows:
        print_table(rows, as_json=False, empty="")
        click.echo(f"such as {', '.join(evicted.examples[:5])}")
    if evicted.unused_days:
        click.echo(f"unused for {evicted.unused_days:g} days or longer")
    if evicted.short:
        click.echo(f"{readable(evicted.short)} too much stay: nothing else may be given up")
