"""The web application: services, blueprints and middleware, put together for servers and commands."""

from __future__ import annotations

from pathlib import Path

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from koschey import logs, plugins
from koschey import settings as settings_module
from koschey.assembly import assembled
from koschey.settings import Settings
from koschey.stores import schema
from koschey.stores.database import db, engine_options, tune
from koschey.stores.locks import make_locks
from koschey.web import (
    access,
    admin,
    developers,
    files,
    health,
    home,
    kept_form,
    metrics,
    peers,
    people,
    problems,
    protection,
    requests,
    sessions,
    sign_in,
    simple,
    upload,
    why,
)
from koschey.web.assets import Assets
from koschey.web.current import Koschey


def create_app(settings: Settings | None = None, *, periodic_jobs: bool = True) -> Flask:
    """The application, ready to serve: ``gunicorn "koschey.application:create_app()"``.

    A database that is empty or of an older schema is brought up to date first, by one process at a time.

    Args:
        settings: those of the environment by default.
        periodic_jobs: whether this process takes part in what is done from time to time.

    Raises:
        SettingsInvalid: a setting cannot be used. StoreUnavailable: the database cannot be reached.
    """
    settings = settings or settings_module.load()
    logs.configure(settings.log_format, settings.log_level)
    peers.declared_proxies(settings.proxy_addresses)  # what is wrong with them shall be known at the start
    app = _flask(settings)
    with app.app_context():
        engine = db.engine
        tune(engine)
        locks = make_locks(engine, settings.data_dir / "locks")
        schema.upgrade(engine, locks)
    services = assembled(settings, engine, locks)
    sessions.init_app(app, settings, services.secret_key)
    sign_in.init_app(app, plugins.all_log_in_pages(services.hooks))
    app.extensions["koschey"] = services
    if services.hot_path is not None:
        app.wsgi_app = services.hot_path.middleware(app.wsgi_app)  # type: ignore[method-assign, assignment]
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops, x_prefix=hops)  # type: ignore[method-assign]
    if periodic_jobs:
        services.schedule.start()
    engine.dispose()  # a server may fork now, and children must not share a connection
    return app


def prepare(settings: Settings) -> str | None:
    """Create the data folder, bring the database up to date and write its first rows; then let go of all.

    Returns the path of a link that sets up the first admin; None: there is one.
    """
    app = create_app(settings, periodic_jobs=False)
    services: Koschey = app.extensions["koschey"]
    try:
        return services.setup.link()
    finally:
        services.close()


def downgrade_database(settings: Settings, revision: str) -> None:
    """Take the database back to a migration, or to ``base``. Raises: StoreUnavailable, RequestInvalid."""
    app = _flask(settings)
    with app.app_context():
        tune(db.engine)
        try:
            schema.downgrade(db.engine, make_locks(db.engine, settings.data_dir / "locks"), revision)
        finally:
            db.engine.dispose()


def _flask(settings: Settings) -> Flask:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    app = Flask("koschey", static_folder=None, template_folder=str(_beside("templates")))
    app.config["SQLALCHEMY_DATABASE_URI"] = settings.resolved_database_url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(settings)
    app.url_map.merge_slashes = False  # ``//host/simple`` must never become a redirect to ``host``
    app.url_map.strict_slashes = False
    db.init_app(app)
    requests.init_app(app)
    problems.init_app(app)
    access.init_app(app)
    assets = Assets(_beside("static"))
    people.init_app(app, assets)
    protection.init_app(app, secure=settings.public_url.startswith("https://"))
    app.wsgi_app = assets.middleware(app.wsgi_app)  # type: ignore[method-assign, assignment]
    served = (home.bp, simple.bp, files.bp, upload.bp, why.bp, health.bp, metrics.bp, kept_form.bp)
    for blueprint in (*served, *admin.BLUEPRINTS, *developers.BLUEPRINTS):
        app.register_blueprint(blueprint)
    return app


def _beside(folder: str) -> Path:
    """A folder of the wheel, or of the checkout."""
    packaged = Path(__file__).resolve().parent / folder
    return packaged if packaged.is_dir() else packaged.parents[1] / folder
