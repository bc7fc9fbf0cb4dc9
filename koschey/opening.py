"""The services of a process, over its database; a web application is put in front by ``application``.

Commands and workers answer no requests: they need neither the views nor some hundred and fifty routes, which
take longer to make than all services.
"""

from __future__ import annotations

from flask import Flask

from koschey import logs
from koschey import settings as settings_module
from koschey.assembly import assembled
from koschey.settings import Settings
from koschey.stores import schema
from koschey.stores.database import db, engine_options, tune
from koschey.stores.locks import make_locks
from koschey.web import peers
from koschey.web.current import Koschey


def open_services(settings: Settings | None = None) -> Koschey:
    """Every service, and no web application; ``close()`` lets go of them.

    A database that is empty or of an older schema is brought up to date first, by one process at a time.

    Args:
        settings: those of the environment by default.

    Raises:
        SettingsInvalid: a setting cannot be used. StoreUnavailable: the database cannot be reached.
    """
    settings = settings or settings_module.load()
    return services_of(database_app(settings), settings)


def database_app(settings: Settings) -> Flask:
    """An application that has a database and nothing else; the data folder is made."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    app = Flask("koschey", static_folder=None)
    connect(app, settings)
    return app


def connect(app: Flask, settings: Settings) -> None:
    """Give an application its database."""
    app.config["SQLALCHEMY_DATABASE_URI"] = settings.resolved_database_url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(settings)
    db.init_app(app)


def services_of(app: Flask, settings: Settings) -> Koschey:
    """The services over an application's database; no connection stays open. Raises: as ``open_services``."""
    logs.configure(settings.log_format, settings.log_level)
    peers.declared_proxies(settings.proxy_addresses)  # what is wrong with them shall be known at the start
    with app.app_context():
        engine = db.engine
        tune(engine)
        locks = make_locks(engine, settings.data_dir / "locks")
        schema.upgrade(engine, locks)
    services = assembled(settings, engine, locks)
    engine.dispose()  # a server may fork now, and children must not share a connection
    return services
