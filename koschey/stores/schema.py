"""The schema's version, and how a database is brought to it."""

from __future__ import annotations

from pathlib import Path

from flask import current_app
from sqlalchemy import Engine, MetaData, inspect, text

from koschey.errors import RequestInvalid, StoreUnavailable
from koschey.stores.database import Database, db
from koschey.stores.locks import Locks
from koschey.stores.models import Base
from koschey.stores.revision import HEAD

_PACKAGED = Path(__file__).resolve().parents[1] / "migrations"
_CHECKOUT = Path(__file__).resolve().parents[2] / "migrations"
MIGRATIONS = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
"""Migration scripts: inside the installed package, or beside it in a checkout."""


def tables() -> MetaData:
    """Every table, also those of rare features, whose classes are otherwise loaded with them."""
    from koschey.stores import (  # noqa: F401
        ask_rows,
        browsing_rows,
        bulk_rows,
        people_rows,
        quarantine_rows,
        root_rows,
        storage_rows,
        sync_rows,
        tally_rows,
    )

    return Base.metadata


def version(engine: Engine) -> str | None:
    """The migration that the database is at; None for an empty one. Raises: StoreUnavailable."""
    with Database(engine).reading() as session:
        connection = session.connection()
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def check(engine: Engine) -> None:
    """Raise StoreUnavailable unless the schema is the one that this code is for."""
    at = version(engine)
    if at != HEAD:
        raise StoreUnavailable(
            "database",
            f"its schema is at {at or 'nothing'}, this Koschey needs {HEAD}: run `koschey db upgrade`",
        )


def upgrade(engine: Engine, locks: Locks) -> bool:
    """Bring the database to HEAD, one process at a time; returns whether there was anything to do.

    Needs a Flask application context: Flask-Migrate asks it for the engine.
    """
    if version(engine) == HEAD:
        return False
    with locks.hold("migration", 120.0):
        if version(engine) == HEAD:
            return False
        from flask_migrate import upgrade as migrate

        _with_alembic()
        migrate(directory=str(MIGRATIONS))
        return True


def _with_alembic() -> None:
    """Give the current application what Flask-Migrate needs; Alembic is heavy, and rarely needed."""
    from flask_migrate import Migrate

    tables()
    Migrate(current_app._get_current_object(), db, render_as_batch=True)  # type: ignore[attr-defined]


def downgrade(engine: Engine, locks: Locks, revision: str) -> None:
    """Take the database back to ``revision``, or to ``base``; needs an application context as well.

    Raises:
        RequestInvalid: there is no such revision.
    """
    from alembic.util import CommandError
    from flask_migrate import downgrade as migrate

    _with_alembic()
    with locks.hold("migration", 120.0):
        try:
            migrate(directory=str(MIGRATIONS), revision=revision)
        except (CommandError, SystemExit) as error:
            raise RequestInvalid(f"cannot take the database back to {revision!r}: {error}") from error
