"""The composition root: every service is built here, once, from the settings."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from koschey import plugins
from koschey.checks.examiner import Examiner
from koschey.deployment import (
    checking_slots,
    make_queue,
    make_schedule,
    make_session,
    make_telling,
    plugin_modules,
)
from koschey.domain.setup_link import SECRET_KEY
from koschey.jobs import tasks as jobs
from koschey.jobs.lull import Lull
from koschey.jobs.queue import Task
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
from koschey.services.documents import Documents
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
from koschey.services.tallies import Tallies
from koschey.services.token_uses import TokenUses
from koschey.services.usage import Usage
from koschey.settings import Settings
from koschey.stores import schema
from koschey.stores.database import Database
from koschey.stores.guarded import GuardedStore
from koschey.stores.hot_connections import HotConnections
from koschey.stores.locks import Locks
from koschey.stores.lookup import Lookup
from koschey.stores.open import open_store
from koschey.stores.people_lookup import PeopleLookup
from koschey.upstream.client import UpstreamClient
from koschey.web.current import Koschey
from koschey.web.hot_path import HotPath
from koschey.work import all_tasks

if TYPE_CHECKING:
    pass


class _Assembly:
    """Services in the order in which they need each other; what is used behind is made first."""

    def __init__(self, settings: Settings, engine: Engine, locks: Locks) -> None:
        self.settings = settings
        self.engine = engine
        self.locks = locks
        self.database = Database(engine)
        self.hourly = Hourly(self.database)
        self.hooks = plugins.load_plugins(plugin_modules(settings))
        self.session = functools.cache(lambda: make_session(settings, self.hooks))
        self.tasks: dict[str, Task] = {}
        self.queue = make_queue(settings, self.tasks)
        self._stores()
        self._configuration()
        self._pages()
        self._files()
        self._checks()
        self._people()
        self._upkeep()

    def _stores(self) -> None:
        settings = self.settings
        self.connections = HotConnections(self.engine)
        self.lookup = Lookup(self.connections)
        unguarded = open_store(settings.resolved_storage_url, settings.data_dir / "spool")
        grace = settings.orphan_grace_seconds
        self.orphans = Orphans(self.database, self.lookup, self.locks, unguarded, grace=grace)
        self.store = GuardedStore(unguarded, self.orphans.spare)
        self.flights = Flights(self.locks)

    def _configuration(self) -> None:
        self.checks = plugins.all_checks(self.hooks)
        self.configuration = Configuration(
            self.database,
            checks={check.name: check.effect for check in self.checks},
            tolerance=round(self.settings.backdate_tolerance_seconds * 1e6),
        )
        self.gate = Gate(self.lookup, self.configuration)
        self.holds = Holds(self.configuration)

    def _pages(self) -> None:
        settings, queue = self.settings, self.queue
        self.client = UpstreamClient(
            self.session,
            permitted=lambda upstream, names: permitted(self.lookup, self.configuration, upstream, names),
            max_page_bytes=settings.max_page_bytes,
            max_root_bytes=settings.max_root_bytes,
            max_document_bytes=settings.max_metadata_bytes,
        )
        self.hourly.watch(UPSTREAM_BYTES, lambda: self.client.tally.bytes)
        mirror = Mirror(
            self.database,
            self.lookup,
            self.client,
            self.flights,
            self.configuration,
            Arrivals(self.configuration, self.holds),
            lambda: queue.submit("derive_work"),
            page_deadline=settings.page_deadline,
            negative_names=settings.negative_names,
            note=self.hourly.add,
        )
        self.admission = Admission(
            self.lookup,
            self.configuration,
            mirror,
            negative_seconds=settings.negative_seconds,
            deadline=settings.page_deadline,
        )
        self.page_cache = PageCache(settings.page_cache_bytes, self.hourly.add)
        # A page is made before it is ready, and with that the counting begins.
        self.hourly.watch(PAGE_READY, lambda: self.page_cache.ready)
        self.catalog = Catalog(
            self.lookup,
            self.configuration,
            self.gate,
            mirror,
            self.page_cache,
            Freshness(settings.stale_seconds, settings.negative_seconds, settings.refresh_deadline),
            lambda source_id, name: queue.submit("refresh_page", source_id, name),
        )

    def _files(self) -> None:
        settings, queue = self.settings, self.queue
        self.lull = Lull(lambda file_id: queue.submit("check_file", file_id))
        self.downloads = Downloads(
            self.database,
            self.lookup,
            self.client,
            self.store,
            self.locks,
            DownloadLimits(settings.file_deadline, settings.max_file_bytes, settings.upstream_retries),
            self._fetched,
        )
        self.files = Files(
            self.database,
            self.lookup,
            self.configuration,
            self.gate,
            self.catalog,
            self.store,
            self.downloads,
            start_deadline=settings.page_deadline,
        )
        self.documents = Documents(
            self.database,
            self.lookup,
            self.configuration,
            self.store,
            self.client,
            self.flights,
            deadline=settings.page_deadline,
        )

    def _fetched(self, file_id: int) -> None:
        self.hourly.add(FETCHED)
        self.lull.add(file_id)

    def _checks(self) -> None:
        database, configuration = self.database, self.configuration
        self.examiner = Examiner(
            plugin_modules(self.settings),
            children=jobs.CHECKING_PROCESSES,
            slots=checking_slots(self.settings),
        )
        self.stored_files = StoredFiles(
            database, self.lookup, configuration, self.store, self.downloads, self.examiner
        )
        subjects = Subjects(database, configuration, self.gate, self.catalog, self.stored_files.contents)
        self.checking = Checking(
            database,
            self.lookup,
            configuration,
            self.locks,
            self.store,
            self.stored_files,
            subjects,
            self.examiner,
            self.holds,
            self.checks,
        )

    def _people(self) -> None:
        database = self.database
        self.secret_key = self.settings.secret_key or instance_value(database, SECRET_KEY)
        self.attempts = Attempts(database, self.secret_key)
        self.token_uses = TokenUses(database)
        self.passwords = Passwords()
        roster = Roster(self.lookup, PeopleLookup(self.connections))
        identities = Identities(database, roster, self.hooks)
        self.authentication = Authentication(
            roster, self.passwords, self.token_uses, self.attempts, identities
        )
        self.access = Access(roster, self.authentication, self.token_uses, Opinions(self.hooks))

    def _upkeep(self) -> None:
        database, settings = self.database, self.settings
        settling = Settling(database, self.configuration, self.holds)
        self.sweeps = Sweeps(database, self.locks, self.holds, settling, self.catalog, self.queue.submit)
        self.usage = Usage(
            database, self.configuration, on_written=lambda number: self.hourly.add(DOWNLOAD, number)
        )
        self.root_builder = RootBuilder(database, self.configuration, self.locks)
        root_files = RootFiles(database, settings.data_dir / "cache" / "roots")
        self.root_list = RootList(
            database, self.configuration, self.page_cache, self.root_builder, root_files
        )
        self.tallies = Tallies(database, self.locks)
        self.rollup = Rollup(database, self.tallies, self.locks)
        rules = Rules(settings.storage_unused_days, settings.storage_max_bytes)
        self.eviction = Eviction(database, self.locks, self.orphans, self.tallies, self.catalog, rules)
        self.schedule = make_schedule(settings, self.queue, self.locks)
        self.health = Health(
            {
                "database": database.check,
                "schema": lambda: schema.check(self.engine),
                "store": self.store.check,
                "queue": self.queue.check,
            }
        )

    def koschey(self) -> Koschey:
        """What the rest of the application sees of them."""
        return Koschey(
            settings=self.settings,
            engine=self.engine,
            database=self.database,
            lookup=self.lookup,
            store=self.store,
            client=self.client,
            queue=self.queue,
            configuration=self.configuration,
            authentication=self.authentication,
            access=self.access,
            hooks=self.hooks,
            secret_key=self.secret_key,
            passwords=self.passwords,
            token_uses=self.token_uses,
            gate=self.gate,
            holds=self.holds,
            admission=self.admission,
            catalog=self.catalog,
            root_list=self.root_list,
            page_cache=self.page_cache,
            orphans=self.orphans,
            tallies=self.tallies,
            eviction=self.eviction,
            root_builder=self.root_builder,
            files=self.files,
            documents=self.documents,
            downloads=self.downloads,
            health=self.health,
            locks=self.locks,
            checking=self.checking,
            examiner=self.examiner,
            stored_files=self.stored_files,
            tasks=self.tasks,
            schedule=self.schedule,
            lull=self.lull,
            usage=self.usage,
            hourly=self.hourly,
            hot_path=self._hot_path() if self.settings.hot_path else None,
        )

    def _hot_path(self) -> HotPath:
        return HotPath(
            self.catalog,
            self.files,
            self.authentication,
            self.access,
            self.store,
            self.usage,
            inline=self.settings.embedded,
            public_url=self.settings.public_url,
            trusted_proxies=self.settings.trusted_proxies,
            accel_redirect=self.settings.accel_redirect,
        )


def assembled(settings: Settings, engine: Engine, locks: Locks) -> Koschey:
    """Every service over a database of the newest schema, which gets its first rows if it has none.

    Raises:
        SettingsInvalid: a setting cannot be used. StoreUnavailable: the database cannot be reached.
    """
    _first_rows(settings, Database(engine), locks)
    parts = _Assembly(settings, engine, locks)
    telling = functools.cache(lambda: make_telling(settings, parts.database, locks, parts.session))
    if settings.smtp_url or settings.webhook_url:
        telling()  # what cannot be used stops the start
    koschey = parts.koschey()
    parts.tasks.update(
        all_tasks(koschey, sweeps=parts.sweeps, attempts=parts.attempts, rollup=parts.rollup, telling=telling)
    )
    return koschey


def _first_rows(settings: Settings, database: Database, locks: Locks) -> None:
    if is_new(database):
        with locks.hold("bootstrap", 30.0):  # the first start may be that of several processes
            bootstrap(
                database,
                upstream_url=settings.resolved_upstream_url,
                hold_days=settings.quarantine_days,
                refresh_seconds=settings.refresh_seconds,
            )
