"""``koschey db``: the schema's version and its migrations."""

from __future__ import annotations

import click

from koschey import settings as settings_module
from koschey.cli.running import data_option


@click.group()
def db() -> None:
    """The database's schema."""


@db.command()
@data_option
def upgrade() -> None:
    """Bring the database to the newest schema and write its first rows."""
    from koschey.application import prepare
    from koschey.stores.revision import HEAD

    prepare(settings_module.load())
    click.echo(f"the database is at {HEAD}")


@db.command()
@click.argument("revision")
@click.option("--yes", is_flag=True, help="Do not ask. Data that the older schema cannot hold is lost.")
@data_option
def downgrade(revision: str, yes: bool) -> None:  # noqa: FBT001 - click's
    """Take the database back to an older REVISION ('base': empty)."""
    from koschey.application import downgrade_database

    if not yes:
        click.confirm(
            f"Take the database back to {revision}, losing what that schema cannot hold?", abort=True
        )
    downgrade_database(settings_module.load(), revision)
    click.echo(f"the database is at {revision}")
