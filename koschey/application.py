"""The web application: services, blueprints and middleware, put together for servers."""

from __future__ import annotations

from pathlib import Path

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from koschey import plugins
from koschey import settings as settings_module
from koschey.opening import connect, database_app, services_of
from koschey.settings import Settings
from koschey.stores import schema
from koschey.stores.database import db, tune
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
    app = _flask(settings)
    services = services_of(app, settings)
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
    app = database_app(settings)
    with app.app_context():
        tune(db.engine)
        try:
            schema.downgrade(db.engine, make_locks(db.engine, settings.data_dir / "locks"), revision)
        finally:
            db.engine.dispose()


def _flask(settings: Settings) -> Flask:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    app = Flask("koschey", static_folder=None, template_folder=str(_beside("templates")))
    app.url_map.merge_slashes = False  # ``//host/simple`` must never become a redirect to ``host``
    app.url_map.strict_slashes = False
    connect(app, settings)
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
