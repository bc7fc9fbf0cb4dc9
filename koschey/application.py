"""The composition root: the only module that knows everything, and where everything is put together."""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask
from sqlalchemy import Engine, text
from werkzeug.middleware.proxy_fix import ProxyFix

from koschey import logs, plugins
from koschey import settings as settings_module
from koschey.checks.examiner import Examiner
from koschey.checks.slots import Slots
from koschey.domain.policy import DAY
from koschey.domain.setup_link import SECRET_KEY
from koschey.jobs import tasks as jobs
from koschey.jobs.lull import Lull
from koschey.jobs.queue import Queue, Task, ThreadQueue
from koschey.jobs.rq_queue import RqQueue
from koschey.jobs.schedule import LOCK, Schedule
from koschey.services.access import Access
from koschey.services.admission import Admission
from koschey.services.arrivals import Arrivals
from koschey.services.attempts import Attempts
from koschey.services.authentication import Authentication
from koschey.services.bootstrap import bootstrap, is_new
from koschey.services.catalog import Catalog
from koschey.services.checking import Checking
from koschey.services.configuration import Configuration
from koschey.services.contents import StoredFiles
from koschey.services.downloads import Downloads
from koschey.services.eviction import Eviction, Rules
from koschey.services.fetching import DownloadLimits
from koschey.services.files import Files
from koschey.services.flights import Flights
from koschey.services.gate import Gate
from koschey.services.health import Health
from koschey.services.holds import Holds
from koschey.services.hourly import DOWNLOAD, FETCHED, UPSTREAM_BYTES, Hourly, Rollup
from koschey.services.identities import Identities
from koschey.services.instance import instance_value
from koschey.services.mirror import Mirror
from koschey.services.opinions import Opinions
from koschey.services.orphans import Orphans
from koschey.services.pages import PAGE_READY, PageCache
from koschey.services.passwords import Passwords
from koschey.services.root_build import RootBuilder
from koschey.services.root_files import RootFiles
from koschey.services.root_list import RootList
from koschey.services.roster import Roster
from koschey.services.settling import Settling
from koschey.services.standing import Freshness, permitted
from koschey.services.subjects import Subjects
from koschey.services.sweeps import Sweeps
from koschey.services.sync_schedule import submit_due
from koschey.services.tallies import Tallies
from koschey.services.token_uses import TokenUses
from koschey.services.usage import Usage
from koschey.settings import Settings
from koschey.stores import schema
from koschey.stores.database import Database, db, engine_options, tune
from koschey.stores.guarded import GuardedStore
from koschey.stores.hot_connections import HotConnections
from koschey.stores.locks import Locks, make_locks
from koschey.stores.lookup import Lookup
from koschey.stores.open import open_store
from koschey.stores.people_lookup import PeopleLookup
from koschey.upstream.client import UpstreamClient
from koschey.web import (
    access,
    admin,
    developers,
    files,
    health,
    home,
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
from koschey.web.hot_path import HotPath

if TYPE_CHECKING:
    from pluggy import PluginManager

    from koschey.services.telling import Telling
    from koschey.upstream.session import OutgoingSession


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
    services = _assembled(settings, engine, locks)
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
        schema.downgrade(db.engine, make_locks(db.engine, settings.data_dir / "locks"), revision)
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
    served = (home.bp, simple.bp, files.bp, upload.bp, why.bp, health.bp, metrics.bp)
    for blueprint in (*served, *admin.BLUEPRINTS, *developers.BLUEPRINTS):
        app.register_blueprint(blueprint)
    return app


def _beside(folder: str) -> Path:
    """A folder of the wheel, or of the checkout."""
    packaged = Path(__file__).resolve().parent / folder
    return packaged if packaged.is_dir() else packaged.parents[1] / folder


def _modules(settings: Settings) -> list[str]:
    """Modules that the settings name as plug-ins."""
    return [name.strip() for name in settings.plugins.split(",") if name.strip()]


def _queue(settings: Settings, tasks: dict[str, Task]) -> Queue:
    """Threads of this process; with Redis they are left what must not hang on a worker."""
    threads = ThreadQueue(tasks, lanes=jobs.LANES)
    if not settings.redis_url:
        return threads
    return RqQueue(settings.redis_url, threads, jobs.worker_terms(settings.file_deadline))


def _schedule(settings: Settings, queue: Queue, locks: Locks) -> Schedule:
    """With Redis, worker processes have the schedule; each machine still sweeps a folder of its own."""
    if not settings.redis_url:
        return Schedule(queue, locks, jobs.IN_PROCESS)
    return Schedule(queue, locks, jobs.ON_EACH_MACHINE, lock=f"{LOCK}:{socket.gethostname()}")


def _checking_slots(settings: Settings) -> Slots | None:
    """What web processes that check files themselves share. How many workers there are is chosen."""
    if settings.redis_url:
        return None
    return Slots(settings.data_dir / "locks", jobs.CHECKING_PROCESSES)


def _session(settings: Settings, hooks: PluginManager) -> OutgoingSession:
    # Loaded with the first request that goes out: requests and urllib3 are a good part of an idle worker.
    from koschey.upstream.session import OutgoingSession

    return OutgoingSession(
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        retries=settings.upstream_retries,
        hooks=hooks,
    )


def _telling(
    settings: Settings, database: Database, locks: Locks, session: Callable[[], OutgoingSession]
) -> Telling:
    from koschey.services.telling import Telling, signature
    from koschey.upstream.messages import MailServer, webhook

    url, secret = settings.webhook_url, settings.webhook_secret
    return Telling(
        database,
        locks,
        post=MailServer.of(settings.smtp_url, settings.mail_from).post if settings.smtp_url else None,
        hook=webhook(url, secret, session, signature) if url else None,
        reviewers=settings.review_mail,
        public_url=settings.public_url,
    )


def _if_any(database: Database, table: str, task: Task) -> Task:
    """``task``, where its table has a row at all: what few deployments use is not loaded by the others."""
    one = text(f"SELECT 1 FROM {table} LIMIT 1")  # noqa: S608 - our own names

    def run() -> None:
        with database.reading() as session:
            if session.scalar(one) is None:
                return
        task()

    return run


def _purge(database: Database, configuration: Configuration, holds: Holds, days: float) -> None:
    from koschey.services.projects import Projects  # once in an hour

    projects = Projects(database, configuration, holds)
    while projects.purge(round(days * DAY)):
        pass


def _sweep_review(database: Database) -> None:
    from koschey.services.review_sweep import sweep  # once in an hour

    sweep(database)


def _assembled(settings: Settings, engine: Engine, locks: Locks) -> Koschey:
    database = Database(engine)
    hourly = Hourly(database)
    if is_new(database):
        with locks.hold("bootstrap", 30.0):  # the first start may be that of several processes
            bootstrap(
                database,
                upstream_url=settings.resolved_upstream_url,
                hold_days=settings.quarantine_days,
                refresh_seconds=settings.refresh_seconds,
            )
    hooks = plugins.load_plugins(_modules(settings))
    session = functools.cache(lambda: _session(settings, hooks))
    client = UpstreamClient(
        session,
        permitted=lambda upstream, names: permitted(lookup, configuration, upstream, names),
        max_page_bytes=settings.max_page_bytes,
        max_root_bytes=settings.max_root_bytes,
        max_document_bytes=settings.max_metadata_bytes,
    )
    connections = HotConnections(engine)
    lookup = Lookup(connections)
    unguarded = open_store(settings.resolved_storage_url, settings.data_dir / "spool")
    orphans = Orphans(database, lookup, locks, unguarded, grace=settings.orphan_grace_seconds)
    store = GuardedStore(unguarded, orphans.spare)
    checks = plugins.all_checks(hooks)
    configuration = Configuration(
        database,
        checks={check.name: check.effect for check in checks},
        tolerance=round(settings.backdate_tolerance_seconds * 1e6),
    )
    gate = Gate(lookup, configuration)
    holds = Holds(configuration)
    flights = Flights(locks)
    tasks: dict[str, Task] = {}
    queue = _queue(settings, tasks)
    mirror = Mirror(
        database,
        lookup,
        client,
        flights,
        configuration,
        Arrivals(configuration, holds),
        lambda: queue.submit("derive_work"),
        page_deadline=settings.page_deadline,
        negative_names=settings.negative_names,
        note=hourly.add,
    )
    hourly.watch(UPSTREAM_BYTES, lambda: client.tally.bytes)
    admission = Admission(
        lookup,
        configuration,
        mirror,
        negative_seconds=settings.negative_seconds,
        deadline=settings.page_deadline,
    )
    page_cache = PageCache(settings.page_cache_bytes, hourly.add)
    # A page is made before it is ready, and with that the counting begins.
    hourly.watch(PAGE_READY, lambda: page_cache.ready)
    catalog = Catalog(
        lookup,
        configuration,
        gate,
        mirror,
        page_cache,
        Freshness(settings.stale_seconds, settings.negative_seconds, settings.refresh_deadline),
        lambda source_id, name: queue.submit("refresh_page", source_id, name),
    )
    lull = Lull(lambda file_id: queue.submit("check_file", file_id))

    def fetched(file_id: int) -> None:
        hourly.add(FETCHED)
        lull.add(file_id)

    downloads = Downloads(
        database,
        lookup,
        client,
        store,
        locks,
        DownloadLimits(settings.file_deadline, settings.max_file_bytes, settings.upstream_retries),
        fetched,
    )
    files_service = Files(
        database,
        lookup,
        configuration,
        gate,
        catalog,
        store,
        downloads,
        client,
        flights,
        document_deadline=settings.page_deadline,
    )
    examiner = Examiner(_modules(settings), children=jobs.CHECKING_PROCESSES, slots=_checking_slots(settings))
    stored = StoredFiles(database, lookup, configuration, store, downloads, examiner)
    subjects = Subjects(database, configuration, gate, catalog, stored.contents)
    checking = Checking(
        database, lookup, configuration, locks, store, stored, subjects, examiner, holds, checks
    )
    settling = Settling(database, configuration, holds)
    sweeps = Sweeps(database, locks, holds, settling, catalog, queue.submit)
    usage = Usage(database, configuration, on_written=lambda number: hourly.add(DOWNLOAD, number))
    roots = RootBuilder(database, configuration, locks)
    root_files = RootFiles(database, settings.data_dir / "cache" / "roots")
    tallies = Tallies(database, locks)
    rollup = Rollup(database, tallies, locks)
    rules = Rules(settings.storage_unused_days, settings.storage_max_bytes)
    eviction = Eviction(database, locks, orphans, tallies, catalog, rules)
    secret_key = settings.secret_key or instance_value(database, SECRET_KEY)
    attempts = Attempts(database, secret_key)
    tasks.update(
        jobs.make_tasks(catalog, checking, sweeps, usage, roots, attempts, store, settings.file_deadline)
        | jobs.storage_tasks(orphans, tallies, eviction)
        | {"count_hourly": rollup.run}
        | {"sweep_deleted": lambda: _purge(database, configuration, holds, settings.deleted_days)}
    )
    health_checks = {
        "database": database.check,
        "schema": lambda: schema.check(engine),
        "store": store.check,
        "queue": queue.check,
    }
    schedule = _schedule(settings, queue, locks)
    token_uses = TokenUses(database)
    passwords = Passwords()
    roster = Roster(lookup, PeopleLookup(connections))
    authentication = Authentication(
        roster, passwords, token_uses, attempts, Identities(database, roster, hooks)
    )
    access_service = Access(roster, authentication, token_uses, Opinions(hooks))
    hot_path = HotPath(
        catalog,
        files_service,
        authentication,
        access_service,
        store,
        usage,
        inline=settings.embedded,
        public_url=settings.public_url,
        trusted_proxies=settings.trusted_proxies,
        accel_redirect=settings.accel_redirect,
    )
    telling = functools.cache(lambda: _telling(settings, database, locks, session))
    if settings.smtp_url or settings.webhook_url:
        telling()  # what cannot be used stops the start
    assembled = Koschey(
        settings=settings,
        engine=engine,
        database=database,
        lookup=lookup,
        store=store,
        client=client,
        queue=queue,
        configuration=configuration,
        authentication=authentication,
        access=access_service,
        hooks=hooks,
        secret_key=secret_key,
        passwords=passwords,
        token_uses=token_uses,
        gate=gate,
        holds=holds,
        admission=admission,
        catalog=catalog,
        root_list=RootList(database, configuration, page_cache, roots, root_files),
        page_cache=page_cache,
        orphans=orphans,
        tallies=tallies,
        eviction=eviction,
        root_builder=roots,
        files=files_service,
        downloads=downloads,
        health=Health(health_checks),
        locks=locks,
        checking=checking,
        examiner=examiner,
        stored_files=stored,
        tasks=tasks,
        schedule=schedule,
        lull=lull,
        usage=usage,
        hourly=hourly,
        hot_path=hot_path if settings.hot_path else None,
    )
    tasks["sync_due"] = lambda: submit_due(database, queue.submit)
    tasks["sync_upstream"] = lambda source_id: assembled.sync.scheduled(source_id)
    tasks["settle_asks"] = _if_any(database, "ask", lambda: assembled.asks.settle())
    tasks["decide_bulk"] = lambda bulk_id: assembled.bulk.run(bulk_id)
    tasks["resume_bulk"] = _if_any(database, "bulk", lambda: assembled.bulk.resume())
    tasks["sweep_review"] = lambda: _sweep_review(database)
    tasks["compare_files"] = lambda before, after: assembled.comparisons.make(before, after)
    tasks["tell"] = _if_any(database, "ask", lambda: telling().tell())
    return assembled
