"""``koschey quarantine``: what is hidden, and what people decide about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from koschey.cli.deciding import (
    ask_about_whole,
    expires_option,
    index_option,
    outcome_as_json,
    plain,
    print_outcome,
    reason_option,
    split_requirement,
    yes_option,
)
from koschey.cli.reviewing import COMMANDS
from koschey.cli.running import actor, data_option, json_option, print_table, services
from koschey.cli.times import Days, Moment, ahead

if TYPE_CHECKING:
    from koschey.services.plan import Plan


@click.group()
def quarantine() -> None:
    """What is hidden, and what people decide about it."""


def _scope_options[F: Callable[..., Any]](command: F) -> F:
    command = click.argument("requirement", metavar="PROJECT[==VERSION]")(command)
    return click.option("--file", "filename", help="Only the file of that name.")(command)


@quarantine.command(name="list")
@click.option("--index", help="Only of this index.")
@click.option("--project", metavar="GLOB", help="Only of projects of that name; * and ? stand for any signs.")
@click.option("--review", is_flag=True, help="Only what waits for a person.")
@click.option("--older-first", is_flag=True, help="What waits longest first.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--after", metavar="CURSOR", help="Go on where the part before ended.")
@json_option
@data_option
def list_(older_first: bool, as_json: bool, **options: Any) -> None:  # noqa: FBT001 - click's
    """Files that an index hides, what came last first."""
    with services() as koschey:
        page = koschey.waiting.page(oldest_first=older_first, **options)
    rows = [plain(file) for file in page.files]
    if as_json:
        click.echo(json.dumps({"files": rows, "next": page.next}, indent=2))
        return
    left_out = ("rule", "review")  # the sentence says them
    table = [{key: value for key, value in row.items() if key not in left_out} for row in rows]
    narrowed = any(options[name] for name in ("index", "project", "review", "after"))
    empty = "nothing of that is hidden" if narrowed else "nothing is hidden"
    print_table(table, as_json=False, empty=empty)
    if page.next is not None:
        click.echo(f"more: --after {page.next}", err=True)


@quarantine.command()
@_scope_options
@reason_option
@index_option
@expires_option
@click.option("--with-dependencies", is_flag=True, help="Also what it needs and is held; shown first.")
@click.option("--include-failed", is_flag=True, help="With dependencies: also those that failed a check.")
@yes_option
@json_option
@data_option
def approve(
    requirement: str,
    filename: str | None,
    reason: str,
    index: str | None,
    expires: float | None,
    with_dependencies: bool,  # noqa: FBT001 - click's
    include_failed: bool,  # noqa: FBT001
    yes: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Make files visible before their time, whatever their checks say; bound to their sha256."""
    name, version = split_requirement(requirement)
    said: dict[str, Any] = {"index": index, "reason": reason, "actor": actor()}
    said["expires_at"] = None if expires is None else ahead(expires)
    if not with_dependencies:
        ask_about_whole(name, version, filename, "Approve all that is hidden of", yes=yes)
        with services() as koschey:
            outcome = koschey.review.approve(name, version, filename, **said)
        print_outcome(outcome, as_json=as_json)
        return
    if version is None:
        raise click.UsageError("--with-dependencies needs a version: PROJECT==VERSION")
    with services() as koschey:
        plan = koschey.closure.plan(name, version, filename, index=index, include_failed=include_failed)
        _show_plan(plan, to_stderr=as_json)
        if plan.versions and not yes:
            click.confirm("Approve these?", abort=True, err=True)
        outcome = koschey.review.approve_plan(plan, **said)
    if as_json:
        click.echo(json.dumps({"plan": plain(plan), **outcome_as_json(outcome)}, indent=2))
    else:
        print_outcome(outcome, as_json=False)


def _show_plan(plan: Plan, *, to_stderr: bool) -> None:
    """Versions with their files, why each is needed, and what an approval cannot help with."""
    lines = []
    for needed in plan.versions:
        lines.append(f"{needed.name} {needed.version}" + "".join(f"; {why}" for why in needed.why))
        lines += [f"  {file.filename}: {file.reason}" for file in needed.files]
    for missing in plan.unsatisfied:
        wanted = f"{missing.required_by} requires {missing.requirement}"
        lines.append(f"not satisfied: {wanted}: {missing.problem}")
    for release in plan.unknown:
        lines.append(f"not known: what {release} needs; none of its files has been looked into yet")
    if not plan.versions:
        lines.append(f"nothing of it is held in index {plan.index}")
    for line in lines:
        click.echo(line, err=to_stderr)


@quarantine.command()
@_scope_options
@reason_option
@index_option
@expires_option
@yes_option
@json_option
@data_option
def reject(
    requirement: str,
    filename: str | None,
    reason: str,
    index: str | None,
    expires: float | None,
    yes: bool,  # noqa: FBT001 - click's
    as_json: bool,  # noqa: FBT001
) -> None:
    """Hide a project, a version or a file, also what comes of it later; nothing outranks that."""
    name, version = split_requirement(requirement)
    ask_about_whole(name, version, filename, "Reject", yes=yes)
    expires_at = None if expires is None else ahead(expires)
    with services() as koschey:
        outcome = koschey.review.reject(
            name, version, filename, index=index, reason=reason, actor=actor(), expires_at=expires_at
        )
    print_outcome(outcome, as_json=as_json)


@quarantine.command()
@_scope_options
@reason_option
@index_option
@click.option("--until", type=Moment(), help="End of the hold; without it and --days: until review.")
@click.option("--days", type=Days(), help="Days from now to the end of the hold.")
@yes_option
@json_option
@data_option
def extend(
    requirement: str,
    filename: str | None,
    reason: str,
    index: str | None,
    until: int | None,
    days: float | None,
    yes: bool,  # noqa: FBT001 - click's
    as_json: bool,  # noqa: FBT001
) -> None:
    """Hold a project, a version or a file for longer, or until somebody decides."""
    if until is not None and days is not None:
        raise click.UsageError("say --until or --days, not both")
    name, version = split_requirement(requirement)
    ask_about_whole(name, version, filename, "Hold", yes=yes)
    end = until if days is None else ahead(days)
    with services() as koschey:
        outcome = koschey.review.extend(
            name, version, filename, index=index, reason=reason, actor=actor(), until=end
        )
    print_outcome(outcome, as_json=as_json)


@quarantine.command()
@click.argument("requirement", metavar="[PROJECT[==VERSION]]", required=False)
@click.option("--file", "filename", help="Only the file of that name.")
@click.option("--decision", "decision_id", type=click.IntRange(1), help="Only the decision of that number.")
@reason_option
@click.option("--index", help="What was decided for this index only; else what was decided for all.")
@yes_option
@json_option
@data_option
def revert(
    requirement: str | None,
    filename: str | None,
    decision_id: int | None,
    reason: str,
    index: str | None,
    yes: bool,  # noqa: FBT001 - click's
    as_json: bool,  # noqa: FBT001
) -> None:
    """Take back the decisions about exactly a project, a version or a file; or one by its number."""
    if requirement is None and decision_id is None:
        raise click.UsageError("say PROJECT[==VERSION] or --decision NUMBER")
    name, version = (None, None) if requirement is None else split_requirement(requirement)
    if decision_id is None and name is not None:
        ask_about_whole(name, version, filename, "Take back what was decided about", yes=yes)
    with services() as koschey:
        outcome = koschey.review.revert(
            name, version, filename, index=index, reason=reason, actor=actor(), decision_id=decision_id
        )
    print_outcome(outcome, as_json=as_json)


@quarantine.command()
@_scope_options
@json_option
@data_option
def recheck(requirement: str, filename: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Have files stored and checked again, also those that were checked before."""
    name, version = split_requirement(requirement)
    with services() as koschey:
        count = koschey.review.recheck(name, version, filename, actor=actor())
    if as_json:
        click.echo(json.dumps({"files": count}))
    else:
        click.echo(f"{count} {'file is' if count == 1 else 'files are'} checked as soon as a worker has time")


for _command in COMMANDS:
    quarantine.add_command(_command)
