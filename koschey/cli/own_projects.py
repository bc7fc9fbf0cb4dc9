"""``koschey project yank``, ``delete``, ``status``, …: the life of the company's own projects."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from koschey.cli.deciding import ask_about_whole, reason_option, split_requirement, yes_option
from koschey.cli.running import actor, data_option, json_option, print_table, services

if TYPE_CHECKING:
    from koschey.services.hosted_project import ProjectOutcome

_requirement = click.argument("requirement", metavar="NAME[==VERSION]")
_file_option = click.option("--file", "filename", help="Only the file of that name.")
_source_option = click.option("--source", help="The hosted source, where several have the project.")


def _scoped[F: Callable[..., None]](command: F) -> F:
    """What commands about a project, a version or a file take."""
    for option in (data_option, json_option, _source_option, reason_option, _file_option, _requirement):
        command = option(command)
    return command


@click.command()
@_scoped
def yank(requirement: str, filename: str | None, reason: str, source: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Mark a release or a file: installers take it only when exactly it is asked for (PEP 592)."""
    _apply("yank", requirement, filename, reason, source, as_json=as_json)


@click.command()
@_scoped
def unyank(requirement: str, filename: str | None, reason: str, source: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Take a yank back."""
    _apply("unyank", requirement, filename, reason, source, as_json=as_json)


@click.command()
@_scoped
@yes_option
@click.option("--dry-run", "preview", is_flag=True, help="Say what would go, and change nothing.")
def delete(
    requirement: str,
    filename: str | None,
    reason: str,
    source: str | None,
    as_json: bool,  # noqa: FBT001 - click's
    yes: bool,  # noqa: FBT001
    preview: bool,  # noqa: FBT001
) -> None:
    """Delete a project, a release or a file; for a time it can be restored. No filename is used again."""
    name, version = split_requirement(requirement)
    if not preview:
        ask_about_whole(name, version, filename, "Delete", yes=yes)
    with services() as koschey:
        outcome = koschey.projects.delete(
            name, version, filename, source=source, reason=reason, actor=actor(), preview=preview
        )
    _print(outcome, as_json=as_json)


@click.command()
@_scoped
def restore(requirement: str, filename: str | None, reason: str, source: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Bring back what was deleted, as long as its bytes are kept."""
    _apply("restore", requirement, filename, reason, source, as_json=as_json)


@click.command()
@click.argument("name")
@click.argument("status", type=click.Choice(["active", "archived", "deprecated", "quarantined"]))
@reason_option
@_source_option
@json_option
@data_option
def status(name: str, status: str, reason: str, source: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Say that a project is archived, deprecated, quarantined, or active again (PEP 792)."""
    from koschey.services.projects import status_of

    with services() as koschey:
        outcome = koschey.projects.set_status(
            name, status_of(status), source=source, reason=reason, actor=actor()
        )
    if as_json:
        _print(outcome, as_json=True)
    else:
        click.echo(f"{outcome.project} is {status} now")


@click.command(name="list")
@click.option("--after", metavar="NAME[/SOURCE]", help="Go on behind this one.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@click.option("--deleted", is_flag=True, help="Also projects that were deleted as a whole.")
@json_option
@data_option
def list_(after: str | None, limit: int, deleted: bool, as_json: bool) -> None:  # noqa: FBT001 - click's
    """The company's own projects."""
    with services() as koschey:
        rows = koschey.own_projects.page(after=after, limit=limit, deleted=deleted)
    print_table(rows, as_json=as_json, empty="nothing was uploaded yet")


@click.command()
@click.argument("name")
@json_option
@data_option
def show(name: str, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Whose NAME is in each index, why, and what was uploaded under it."""
    with services() as koschey:
        found = koschey.own_projects.about(name)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for rule in found["rules"]:
        where = "" if rule["index"] is None else f" in index {rule['index']}"
        click.echo(f"{rule['rule']} {rule['pattern']}{where}, by {rule['actor']}: {rule['reason']}")
    for entry in found["indexes"]:
        click.echo(
            f"index {entry['index']}: {', '.join(entry['sources']) or 'no source'} has it, "
            f"upstreams are {entry['outside']}"
        )
    for project in found["hosted"]:
        said = f" ({project['status_reason']})" if project["status_reason"] else ""
        click.echo(f"in {project['source']}: {project['state']}, {project['status']}{said}")
        print_table(project["files"], as_json=False, empty="  no files")


def _apply(
    verb: str, requirement: str, filename: str | None, reason: str, source: str | None, *, as_json: bool
) -> None:
    name, version = split_requirement(requirement)
    with services() as koschey:
        do = getattr(koschey.projects, verb)
        outcome = do(name, version, filename, source=source, reason=reason, actor=actor())
    _print(outcome, as_json=as_json)


COMMANDS = (yank, unyank, delete, restore, status, list_, show)
_DONE = {"yank": "yanked", "unyank": "unyanked", "delete": "deleted", "restore": "restored"}


def _print(outcome: ProjectOutcome, *, as_json: bool) -> None:
    import msgspec

    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(outcome), indent=2))
        return
    if outcome.files:
        done = _DONE[outcome.action] if outcome.done else f"would {outcome.action}"
        click.echo(f"{done} {outcome.scope}: {outcome.files} {'file' if outcome.files == 1 else 'files'}")
        for filename in outcome.filenames:
            click.echo(f"  {filename}")
        if outcome.files > len(outcome.filenames):
            click.echo(f"  and {outcome.files - len(outcome.filenames)} more")
    for note in outcome.notes:
        click.echo(f"note: {note}")
