"""``koschey quarantine bulk`` and ``changes``: what else reviewers do with a browser."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from koschey.cli.deciding import index_option, plain, reason_option, split_requirement, yes_option
from koschey.cli.running import actor, data_option, json_option, services
from koschey.cli.times import Days, ahead

if TYPE_CHECKING:
    from koschey.services.comparisons import Compared
    from koschey.web.current import Koschey

#: Seconds between two looks at a job, and for which a comparison is waited for.
_LOOK, _PATIENCE = 0.2, 300.0


@click.command()
@click.argument("verb", type=click.Choice(["approve", "reject", "extend", "recheck"]))
@click.option(
    "--tab", type=click.Choice(["review", "waiting", "rejected"]), default="waiting", show_default=True
)
@click.option("--search", default="", metavar="BEGINNING", help="Only projects whose names begin so.")
@click.option("--days", type=Days(), help="How long an extended hold lasts; without it: until review.")
@index_option
@reason_option
@yes_option
@json_option
@data_option
def bulk(
    verb: str,
    tab: str,
    search: str,
    days: float | None,
    index: str | None,
    reason: str,
    yes: bool,  # noqa: FBT001 - click's
    as_json: bool,  # noqa: FBT001
) -> None:
    """Decide about every version in a tab of the queue that fits, as of now."""
    from koschey.services.deliberation import Verb
    from koschey.services.review_queue import Tab
    from koschey.stores.database import now

    before = now()
    with services() as koschey:
        first = koschey.review_queue.page(Tab(tab), index=index, search=search, before=before, limit=5)
        if not yes:
            names = ", ".join(f"{row.project} {row.version}" for row in first.rows) or "nothing"
            click.confirm(
                f"{verb} all in {tab}: {names}{' and more' if first.older else ''}?", abort=True, err=True
            )
        until = None if days is None else ahead(days)
        said: dict[str, Any] = {"search": search, "index": index, "before": before, "until": until}
        bulk_id = koschey.bulk.begin(Verb(verb), Tab(tab), reason=reason, actor=actor(), **said)
        koschey.bulk.run(bulk_id)
        while (state := koschey.bulk.state(bulk_id)).state == "running":  # a worker was there first
            time.sleep(_LOOK)
    if as_json:
        click.echo(json.dumps(plain(state), indent=2))
    else:
        click.echo(f"{state.done} versions decided, {state.left} left as they are: /admin/bulk/{bulk_id}")


@click.command()
@click.argument("requirement", metavar="PROJECT==VERSION")
@click.option("--file", "filename", help="The file of the version that is compared; default: what says most.")
@click.option("--index", default="main", show_default=True, help="Whose last visible version is beside it.")
@click.option("--diff", is_flag=True, help="Also the changed lines of texts.")
@json_option
@data_option
def changes(
    requirement: str,
    filename: str | None,
    index: str,
    diff: bool,  # noqa: FBT001 - click's
    as_json: bool,  # noqa: FBT001
) -> None:
    """Print what a version changes since the last visible one. Nothing of a package is run."""
    name, version = split_requirement(requirement)
    if version is None:
        raise click.UsageError("which version? PROJECT==VERSION")
    with services() as koschey:
        compared = _compared(koschey, index, name, version, filename)
    if as_json:
        click.echo(json.dumps(plain(compared), indent=2))
    else:
        _print(compared, diff=diff)


def _compared(koschey: Koschey, index: str, name: str, version: str, filename: str | None) -> Compared:
    """The comparison, once a job has made it; waited for in vain, one without. Raises: NotFound."""
    from koschey.domain.names import normalize

    case = koschey.explanations.case(index, normalize(name))
    ends = time.monotonic() + _PATIENCE
    while True:
        compared = koschey.comparisons.of(case, version, filename)
        if compared.comparison is not None or compared.problem or time.monotonic() > ends:
            return compared
        time.sleep(_LOOK)


def _print(compared: Compared, *, diff: bool) -> None:
    beside = compared.previous_filename or "nothing: no other version is visible"
    click.echo(f"{compared.filename} beside {beside}")
    found = compared.comparison
    if found is None:
        raise click.ClickException(compared.problem or "it is still being compared; ask again")
    click.echo(
        f"{found.added} added, {found.changed} changed, {found.removed} removed, {found.unchanged} as before"
    )
    for label, lines in (
        ("+ requires", found.dependencies_added),
        ("- requires", found.dependencies_removed),
        ("+ entry point", found.entry_points_added),
        ("- entry point", found.entry_points_removed),
    ):
        for line in lines:
            click.echo(f"{label} {_seen(line)}")
    for field in found.fields:
        click.echo(f"{field.name}: {_seen(field.before or '')} -> {_seen(field.after or '')}")
    for change in found.files:
        risks = f"  ({'; '.join(change.risks)})" if change.risks else ""
        click.echo(f"{change.kind} {_seen(change.path)}{risks}")
        for line in (change.diff or "").splitlines() if diff else ():
            click.echo(f"    {_seen(line)}")


def _seen(text: str) -> str:
    """Foreign text for a terminal: what is not printable, or changes direction, as its escape."""
    return "".join(sign if sign.isprintable() else f"\\u{ord(sign):04x}" for sign in text)


COMMANDS = (bulk, changes)
