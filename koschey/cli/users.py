"""``koschey user``: who signs in."""

from __future__ import annotations

import json
import sys

import click

from koschey.cli.deciding import plain
from koschey.cli.running import actor, data_option, json_option, print_table, services
from koschey.domain.permissions import Role

_stdin_option = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")


@click.group()
def user() -> None:
    """People and programs that sign in."""


@user.command()
@click.argument("name")
@click.option("--role", type=click.Choice([role.value for role in Role]), help="On everything, at once.")
@_stdin_option
@json_option
@data_option
def create(name: str, role: str | None, password_stdin: bool, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Add the user NAME; without a password it signs in by tokens or a plug-in only."""
    password = _password_from_stdin() if password_stdin else None
    with services() as koschey:
        user_id = koschey.accounts.create(
            name, password=password, role=None if role is None else Role(role), actor=actor()
        )
    if as_json:
        click.echo(json.dumps({"id": user_id, "name": name.strip().lower(), "role": role}, indent=2))
    else:
        click.echo(f"added user {name}" + ("" if role is None else f" as {role}"))


@user.command(name="list")
@click.option("--after", metavar="NAME", help="Only users behind this one.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
@data_option
def list_(after: str | None, limit: int, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Users by name."""
    with services() as koschey:
        rows = [_row(plain(account)) for account in koschey.accounts.list(after=after, limit=limit)]
    print_table(rows, as_json=as_json, empty="no users")


@user.command()
@click.argument("name")
@data_option
def disable(name: str) -> None:
    """Keep the user NAME out: password, tokens and sessions are worthless until it is enabled again."""
    with services() as koschey:
        changed = koschey.accounts.set_disabled(name, True, actor=actor())  # noqa: FBT003 - the verb's object
    click.echo(f"disabled user {name}" if changed else f"user {name} was disabled already")


@user.command()
@click.argument("name")
@data_option
def enable(name: str) -> None:
    """Let the user NAME in again."""
    with services() as koschey:
        changed = koschey.accounts.set_disabled(name, False, actor=actor())  # noqa: FBT003 - the verb's object
    click.echo(f"enabled user {name}" if changed else f"user {name} was enabled already")


@user.command()
@click.argument("name")
@data_option
def remove(name: str) -> None:
    """Delete the user NAME with its tokens and grants."""
    with services() as koschey:
        koschey.accounts.remove(name, actor=actor())
    click.echo(f"removed user {name}")


@user.command()
@click.argument("name")
@_stdin_option
@data_option
def password(name: str, password_stdin: bool) -> None:  # noqa: FBT001 - click's
    """Set the password of the user NAME; its sessions end."""
    if password_stdin:
        new = _password_from_stdin()
    elif sys.stdin.isatty():
        new = click.prompt("New password", hide_input=True, confirmation_prompt=True)
    else:
        raise click.UsageError("without a terminal, give it with --password-stdin")
    with services() as koschey:
        koschey.accounts.set_password(name, new, actor=actor())
    click.echo(f"set the password of user {name}")


@user.command(name="sign-out")
@click.argument("name")
@data_option
def sign_out(name: str) -> None:
    """End every session of the user NAME; its tokens stay."""
    with services() as koschey:
        koschey.accounts.end_sessions(name, actor=actor())
    click.echo(f"signed out user {name}")


@user.command(name="setup-link")
@json_option
@data_option
def setup_link(as_json: bool) -> None:  # noqa: FBT001 - click's
    """Print a link that makes the first admin, while there is none; it works once, for a day."""
    from koschey.errors import Conflict

    with services() as koschey:
        link = koschey.setup.link()
        base = koschey.settings.public_url.rstrip("/")
    if link is None:
        raise Conflict("somebody is an admin already; `koschey grant list` says who")
    click.echo(json.dumps({"link": base + link}, indent=2) if as_json else base + link)


@user.command(name="password-link")
@click.argument("name")
@json_option
@data_option
def password_link(name: str, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Print a link by which the user NAME chooses a password; it works once, for a day."""
    with services() as koschey:
        link = koschey.settings.public_url.rstrip("/") + koschey.password_links.make(name, actor=actor())
    click.echo(json.dumps({"link": link}, indent=2) if as_json else link)


def _password_from_stdin() -> str:
    return sys.stdin.readline().rstrip("\r\n")


def _row(values: dict[str, object]) -> dict[str, object]:
    from koschey.domain.explanation import iso

    created = values["created_at"]
    assert isinstance(created, int)
    return values | {"created_at": iso(created)}
