"""``koschey project``: whose names are, the life of the company's own projects, and who skips the hold."""

from __future__ import annotations

import click

from koschey.cli import names, own_projects
from koschey.cli.deciding import expires_option, index_option, print_outcome, reason_option
from koschey.cli.running import actor, data_option, json_option, services
from koschey.cli.times import ahead


@click.group()
def project() -> None:
    """The company's own projects, whose names are, and projects that skip the hold."""


for command in (*names.COMMANDS, *own_projects.COMMANDS):
    project.add_command(command)


@project.command()
@click.argument("name")
@reason_option
@index_option
@expires_option
@json_option
@data_option
def trust(
    name: str,
    reason: str,
    index: str | None,
    expires: float | None,
    as_json: bool,  # noqa: FBT001 - click's
) -> None:
    """Let releases of the project NAME skip the hold; its checks still have to pass."""
    expires_at = None if expires is None else ahead(expires)
    with services() as koschey:
        outcome = koschey.review.trust(name, index=index, reason=reason, actor=actor(), expires_at=expires_at)
    print_outcome(outcome, as_json=as_json)


@project.command()
@click.argument("name")
@reason_option
@click.option("--index", help="Only what was said for this index; every trust without it.")
@json_option
@data_option
def untrust(name: str, reason: str, index: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Take back the trust in the project NAME."""
    with services() as koschey:
        outcome = koschey.review.untrust(name, index=index, reason=reason, actor=actor())
    print_outcome(outcome, as_json=as_json)
