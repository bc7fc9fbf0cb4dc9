"""``koschey grant`` and ``koschey acl``: who may do what, and why."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import click

from koschey.cli.deciding import plain
from koschey.cli.running import actor, data_option, json_option, print_table, services
from koschey.domain.explanation import iso
from koschey.domain.permissions import Permission, Role


@click.group()
def grant() -> None:
    """Roles for users, group:NAME, signed-in or everyone."""


def _scope_options[F: Callable[..., Any]](command: F) -> F:
    for option in (
        click.argument("subject"),
        click.argument("role", type=click.Choice([role.value for role in Role])),
        click.option("--index", help="Only in this index; in all without it."),
        click.option("--project", "pattern", default="*", metavar="GLOB", help="Only for these names."),
    ):
        command = option(command)
    return command


@grant.command()
@_scope_options
@data_option
def add(role: str, subject: str, index: str | None, pattern: str) -> None:
    """Give ROLE to SUBJECT: a user, group:NAME, signed-in or everyone."""
    with services() as koschey:
        changed = koschey.grants.add(Role(role), subject, index=index, pattern=pattern, actor=actor())
    click.echo(f"granted {role} to {subject}" if changed else f"{subject} had {role} already")


@grant.command()
@_scope_options
@data_option
def remove(role: str, subject: str, index: str | None, pattern: str) -> None:
    """Take ROLE back from SUBJECT, from just the scope for which it was given."""
    with services() as koschey:
        koschey.grants.remove(Role(role), subject, index=index, pattern=pattern, actor=actor())
    click.echo(f"took {role} back from {subject}")


@grant.command(name="list")
@click.option("--subject", help="Only of this subject.")
@click.option("--index", help="Only for this index.")
@json_option
@data_option
def list_(subject: str | None, index: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's
    """All grants in the order in which they were made."""
    with services() as koschey:
        rows = [
            plain(row) | {"created_at": iso(row.created_at)}
            for row in koschey.grants.list(subject=subject, index=index)
        ]
    print_table(rows, as_json=as_json, empty="no grants: nobody may do anything")


@click.group()
def acl() -> None:
    """Questions about rights."""


@acl.command()
@click.argument("subject")
@click.argument("permission", type=click.Choice([permission.value for permission in Permission]))
@click.argument("name", required=False)
@click.option("--index", help="In this index; in every index without it.")
@json_option
@data_option
def explain(
    subject: str,
    permission: str,
    name: str | None,
    index: str | None,
    as_json: bool,  # noqa: FBT001 - click's
) -> None:
    """Whether SUBJECT has PERMISSION for the project NAME (without it: for every name), and by what.

    The exit status is 0 for yes and 1 for no.
    """
    with services() as koschey:
        answer = koschey.access.explain(subject, Permission(permission), index=index, name=name)
    if as_json:
        values = {
            "allowed": answer.allowed,
            "reason": answer.reason,
            "grant": None if answer.grant is None else answer.grant.id,
            "plugin": answer.plugin,
        }
        click.echo(json.dumps(values, indent=2))
    else:
        click.echo(f"{'yes' if answer.allowed else 'no'}: {answer.reason}")
    if not answer.allowed:
        sys.exit(1)


@acl.command()
@json_option
@data_option
def routes(as_json: bool) -> None:  # noqa: FBT001 - click's
    """Every route, the permission that it asks for, and the roles that have it."""
    from koschey import settings as settings_module
    from koschey.application import create_app
    from koschey.web.route_table import route_rows

    app = create_app(settings_module.load(), periodic_jobs=False)
    app.extensions["koschey"].close()
    rows = [
        {
            "method": row.method,
            "path": row.path,
            "permission": row.permission,
            "scope": row.scope,
            "roles": list(row.roles) if row.permission else [],
            "reason": row.reason,
        }
        for row in route_rows(app)
    ]
    print_table(rows, as_json=as_json, empty="")
