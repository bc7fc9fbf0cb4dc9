"""``koschey token``: secrets by which programs sign in."""

from __future__ import annotations

import json

import click

from koschey.cli.deciding import plain
from koschey.cli.running import actor, data_option, json_option, print_table, services
from koschey.cli.times import Days
from koschey.domain.explanation import iso
from koschey.domain.permissions import Scope

_TIMES = ("created_at", "expires_at", "revoked_at", "used_at")


@click.group()
def token() -> None:
    """Tokens: user name __token__, and the token as the password; or an Authorization: Bearer header."""


@token.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in Scope]),
    default=[Scope.UPLOAD.value],
    show_default="upload: reads and uploads",
    help="What it is for; it never does what its user may not. Repeat it.",
)
@click.option("--project", "projects", multiple=True, metavar="GLOB", help="Only for these names. Repeat it.")
@click.option("--expires", "days", type=Days(), help="Days after which it is worthless.")
@click.option("--description", default="", help="Where it is used, for people.")
@json_option
@data_option
def create(
    name: str,
    scopes: tuple[str, ...],
    projects: tuple[str, ...],
    days: float | None,
    description: str,
    as_json: bool,  # noqa: FBT001 - click's
) -> None:
    """Make a token for the user NAME, and print it: it is shown this once."""
    with services() as koschey:
        made = koschey.tokens.create(
            name,
            scopes=[Scope(scope) for scope in scopes],
            projects=projects,
            days=days,
            description=description,
            actor=actor(),
        )
    click.echo(json.dumps({"id": made.id, "token": made.secret}, indent=2) if as_json else made.secret)


@token.command(name="list")
@click.argument("name", required=False)
@click.option("--after", type=click.IntRange(1), metavar="ID", help="Only older ones than this token.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
@data_option
def list_(name: str | None, after: int | None, limit: int, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Tokens of the user NAME, or of all, the newest first; never the secrets."""
    with services() as koschey:
        rows = []
        for row in koschey.tokens.list(name, after=after, limit=limit):
            values = plain(row)
            rows.append(values | {key: iso(getattr(row, key)) for key in _TIMES})
    print_table(rows, as_json=as_json, empty="no tokens")


@token.command()
@click.argument("name_or_id")
@data_option
def revoke(name_or_id: str) -> None:
    """Make tokens worthless at once: all of the user NAME, or the one with the id."""
    with services() as koschey:
        if name_or_id.isascii() and name_or_id.isdigit():
            changed = koschey.tokens.revoke(int(name_or_id), actor=actor())
            click.echo(f"{'revoked' if changed else 'already revoked:'} token {name_or_id}")
        else:
            count = koschey.tokens.revoke_all(name_or_id, actor=actor())
            click.echo(f"revoked {count} {'token' if count == 1 else 'tokens'} of user {name_or_id}")
