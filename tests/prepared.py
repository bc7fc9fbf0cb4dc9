"""Databases as a first start leaves them, without its cost: migrated once per run, and copied.

That a start does all this by itself, from nothing, is what tests of migrations and of the README show.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flask import Flask
from sqlalchemy import create_engine

from koschey import settings as settings_module
from koschey.services.bootstrap import bootstrap, is_new
from koschey.settings import Settings
from koschey.stores import schema
from koschey.stores.database import Database, db, engine_options, tune
from koschey.stores.locks import make_locks
from tests.services import Services


def copy_schema(path: Path) -> None:
    """Put an SQLite database at the newest schema, without a row of Koschey's, where none is yet."""
    services = Services.joined()

    def make() -> str:
        settings = Settings(data_dir=services.folder / "sqlite-template")
        settings.data_dir.mkdir()
        _migrate(settings)
        return str(settings.sqlite_path)

    template = services.once("sqlite-template", make)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(template, path)


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a new PostgreSQL database at the newest schema, dropped after the block."""
    services = Services.joined()

    def make() -> str:
        name, url = services.create_database()
        _migrate(Settings(data_dir=services.folder / "postgres-template", database_url=url))
        return name

    with services.database(template=services.once("postgres-template", make)) as url:
        yield url


def first_start(environment: Mapping[str, str]) -> None:
    """What ``koschey serve`` would do first with these variables, if its SQLite file is not there.

    A PostgreSQL database that is not at the newest schema is left as it is.
    """
    settings = settings_module.load(environment)
    if not settings.database_url:
        if settings.sqlite_path.exists():
            return
        copy_schema(settings.sqlite_path)
    engine = create_engine(settings.resolved_database_url, **engine_options(settings))
    try:
        tune(engine)
        database = Database(engine)
        if schema.version(engine) == schema.HEAD and is_new(database):
            bootstrap(
                database,
                upstream_url=settings.resolved_upstream_url,
                hold_days=settings.quarantine_days,
                refresh_seconds=settings.refresh_seconds,
            )
    finally:
        engine.dispose()


def _migrate(settings: Settings) -> None:
    app = Flask("template")
    app.config["SQLALCHEMY_DATABASE_URI"] = settings.resolved_database_url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(settings)
    db.init_app(app)
    with app.app_context():
        tune(db.engine)
        schema.upgrade(db.engine, make_locks(db.engine, settings.data_dir / "locks"))
        db.engine.dispose()
