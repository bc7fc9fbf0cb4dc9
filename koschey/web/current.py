"""What a view may use: the services of the application that handles the request."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from flask import current_app, request
from sqlalchemy import Engine

from koschey.jobs.lull import Lull
from koschey.jobs.queue import Queue, Task
from koschey.jobs.schedule import Schedule
from koschey.services.access import Access
from koschey.services.admission import Admission
from koschey.services.authentication import Authentication
from koschey.services.catalog import Catalog
from koschey.services.checking import Checking
from koschey.services.configuration import Configuration
from koschey.services.downloads import Downloads
from koschey.services.eviction import Eviction
from koschey.services.files import Files
from koschey.services.gate import Gate
from koschey.services.health import Health
from koschey.services.holds import Holds
from koschey.services.hourly import Hourly
from koschey.services.orphans import Orphans
from koschey.services.pages import PageCache
from koschey.services.passwords import Passwords
from koschey.services.root_build import RootBuilder
from koschey.services.root_list import RootList
from koschey.services.tallies import Tallies
from koschey.services.token_uses import TokenUses
from koschey.services.usage import Usage
from koschey.settings import Settings
from koschey.stores.blobs import BlobStore
from koschey.stores.database import Database, close_connections
from koschey.stores.locks import Locks
from koschey.stores.lookup import Lookup
from koschey.upstream.client import UpstreamClient

if TYPE_CHECKING:
    from pluggy import PluginManager

    from koschey.checks.examiner import Examiner
    from koschey.jobs.standing import QueueStanding
    from koschey.services.accounts import Accounts
    from koschey.services.asks import Asks
    from koschey.services.audit import Audit
    from koschey.services.backlog import Backlog
    from koschey.services.bulk import Bulk
    from koschey.services.checklist import Checklist
    from koschey.services.closure import Closure
    from koschey.services.comparisons import Comparisons
    from koschey.services.contents import StoredFiles
    from koschey.services.deliberation import Deliberation
    from koschey.services.descriptions import Descriptions
    from koschey.services.directory import Directory
    from koschey.services.doctor import Doctor
    from koschey.services.explanations import Explanations
    from koschey.services.grants import Grants
    from koschey.services.groups import Groups
    from koschey.services.hosted import Hosted
    from koschey.services.indexes import Indexes
    from koschey.services.keeping import Keeping
    from koschey.services.metrics import Metrics
    from koschey.services.names import Names
    from koschey.services.own_projects import OwnProjects
    from koschey.services.password_links import PasswordLinks
    from koschey.services.plots import Plots
    from koschey.services.policies import Policies
    from koschey.services.probe import Probe
    from koschey.services.project_json import ProjectJson
    from koschey.services.project_lists import ProjectLists
    from koschey.services.project_pages import ProjectPages
    from koschey.services.projects import Projects
    from koschey.services.releases import Releases
    from koschey.services.review import Review
    from koschey.services.review_queue import ReviewQueue
    from koschey.services.search import Search
    from koschey.services.setup import Setup
    from koschey.services.storage_report import StorageReport
    from koschey.services.sync import Sync
    from koschey.services.sync_preview import SyncPreview
    from koschey.services.tokens import Tokens
    from koschey.services.uploads import Uploads
    from koschey.services.upstreams import Upstreams
    from koschey.services.waiting import Waiting
    from koschey.web.hot_path import HotPath  # it imports the views, which import this module


_making = threading.Lock()


@dataclass(frozen=True)
class Koschey:
    """Everything that ``create_app`` put together, and what is put together when it is first asked for.

    The latter is what only the command line and rare pages use: an idle worker need not carry it.
    """

    settings: Settings
    engine: Engine
    database: Database
    lookup: Lookup
    store: BlobStore
    client: UpstreamClient
    queue: Queue
    configuration: Configuration
    authentication: Authentication
    access: Access
    passwords: Passwords
    hooks: PluginManager
    secret_key: str = field(repr=False)
    token_uses: TokenUses
    gate: Gate
    holds: Holds
    admission: Admission
    catalog: Catalog
    root_list: RootList
    page_cache: PageCache
    orphans: Orphans
    tallies: Tallies
    eviction: Eviction
    root_builder: RootBuilder
    files: Files
    downloads: Downloads
    health: Health
    locks: Locks
    checking: Checking
    examiner: Examiner
    stored_files: StoredFiles
    tasks: Mapping[str, Task]
    """What jobs do, by name."""
    schedule: Schedule
    lull: Lull
    usage: Usage
    hourly: Hourly
    hot_path: HotPath | None

    @cached_property
    def accounts(self) -> Accounts:
        from koschey.services.accounts import Accounts

        return Accounts(self.database, self.passwords)

    @cached_property
    def asks(self) -> Asks:
        from koschey.services.asks import Asks

        return Asks(self.database, self.explanations, self.locks, self.queue.submit)

    @cached_property
    def audit(self) -> Audit:
        from koschey.services.audit import Audit

        return Audit(self.database)

    @cached_property
    def backlog(self) -> Backlog:
        from koschey.services.backlog import Backlog

        return Backlog(self.database)

    @cached_property
    def checklist(self) -> Checklist:
        from koschey.services.checklist import Checklist

        return Checklist(self.database, self.settings)

    @cached_property
    def closure(self) -> Closure:
        from koschey.services.closure import Closure
        from koschey.services.requirements import Requirements

        return Closure(self.database, self.configuration, Requirements(self.database, self.store))

    @cached_property
    def bulk(self) -> Bulk:
        from koschey.services.bulk import Bulk

        return Bulk(self.database, self.locks, self.review_queue, self.deliberation, self.queue.submit)

    @cached_property
    def comparisons(self) -> Comparisons:
        from koschey.services.comparisons import Comparisons

        return Comparisons(
            self.database, self.lookup, self.locks, self.stored_files, self.examiner, self.queue.submit
        )

    @cached_property
    def deliberation(self) -> Deliberation:
        from koschey.services.deliberation import Deliberation

        return Deliberation(self.database, self.configuration, self.review)

    @cached_property
    def directory(self) -> Directory:
        from koschey.services.directory import Directory

        return Directory(self.database)

    @cached_property
    def doctor(self) -> Doctor:
        from koschey.services.doctor import Doctor

        return Doctor(
            self.settings,
            self.database,
            self.configuration,
            self.store,
            self.queue,
            self.probe,
            self.metrics,
            swept_at=getattr(self.queue, "ran_at", None),
        )

    @cached_property
    def explanations(self) -> Explanations:
        from koschey.services.explanations import Explanations

        return Explanations(self.database, self.gate, self.catalog, contact=self.settings.contact)

    @cached_property
    def grants(self) -> Grants:
        from koschey.services.grants import Grants

        return Grants(self.database)

    @cached_property
    def groups(self) -> Groups:
        from koschey.services.groups import Groups

        return Groups(self.database)

    @cached_property
    def hosted(self) -> Hosted:
        from koschey.services.hosted import Hosted

        return Hosted(self.database)

    @cached_property
    def metrics(self) -> Metrics:
        from koschey.services.metrics import Metrics

        return Metrics(self.database, self.tallies)

    @cached_property
    def indexes(self) -> Indexes:
        from koschey.services.indexes import Indexes

        return Indexes(self.database)

    @cached_property
    def keeping(self) -> Keeping:
        from koschey.services.keeping import Keeping

        return Keeping(self.database, self.configuration)

    @cached_property
    def names(self) -> Names:
        from koschey.services.names import Names

        return Names(self.database, self.configuration)

    @cached_property
    def own_projects(self) -> OwnProjects:
        from koschey.services.own_projects import OwnProjects

        return OwnProjects(self.database, self.configuration, self.names)

    @cached_property
    def projects(self) -> Projects:
        from koschey.services.projects import Projects

        return Projects(self.database, self.configuration, self.holds)

    @cached_property
    def plots(self) -> Plots:
        from koschey.services.plots import Plots

        return Plots(self.hourly)

    @cached_property
    def policies(self) -> Policies:
        from koschey.services.policies import Policies

        return Policies(self.database, self.configuration)

    @cached_property
    def descriptions(self) -> Descriptions:
        from koschey.checks.examiner import Examiner
        from koschey.services.descriptions import Descriptions

        with _making:
            made = self.__dict__.get("descriptions")
            if made is None:
                # Its own process: somebody waits for the page, and hundreds of files may wait for checks.
                made = Descriptions(self.database, self.store, self.files, Examiner(children=1, nice=0))
                self.__dict__["descriptions"] = made
        assert made is not None
        return made

    @cached_property
    def project_lists(self) -> ProjectLists:
        from koschey.services.project_lists import ProjectLists

        return ProjectLists(self.database, self.search)

    @cached_property
    def project_pages(self) -> ProjectPages:
        from koschey.services.project_pages import ProjectPages

        return ProjectPages(self.database, self.lookup, self.explanations, self.descriptions, self.asks)

    @cached_property
    def probe(self) -> Probe:
        from koschey.services.probe import Probe

        return Probe(self.configuration, self.client, deadline=self.settings.page_deadline)

    @cached_property
    def project_json(self) -> ProjectJson:
        from koschey.services.project_json import ProjectJson

        return ProjectJson(self.catalog, self.store, self.page_cache)

    @cached_property
    def releases(self) -> Releases:
        from koschey.services.releases import Releases

        return Releases(self.database)

    @cached_property
    def review(self) -> Review:
        from koschey.services.review import Review

        return Review(self.database, self.configuration, self.holds)

    @cached_property
    def review_queue(self) -> ReviewQueue:
        from koschey.services.review_queue import ReviewQueue

        return ReviewQueue(self.database, self.configuration)

    @cached_property
    def password_links(self) -> PasswordLinks:
        from koschey.services.password_links import PasswordLinks

        return PasswordLinks(self.database, self.passwords, self.secret_key)

    @cached_property
    def setup(self) -> Setup:
        from koschey.services.setup import Setup

        return Setup(self.database, self.passwords, self.secret_key)

    @cached_property
    def tokens(self) -> Tokens:
        from koschey.services.tokens import Tokens

        return Tokens(self.database)

    @cached_property
    def uploads(self) -> Uploads:
        from koschey.checks.examiner import Examiner
        from koschey.services.uploads import AT_ONCE, Uploads

        with _making:  # it has processes and threads, and two first uploads may come at once
            made = self.__dict__.get("uploads")
            if made is None:
                made = self.__dict__["uploads"] = Uploads(
                    self.database,
                    self.lookup,
                    self.configuration,
                    self.store,
                    Examiner(children=AT_ONCE, nice=0),
                    self.access,
                    self.holds,
                    self.admission,
                )
        assert isinstance(made, Uploads)
        return made

    @cached_property
    def search(self) -> Search:
        from koschey.services.search import Search

        return Search(self.database, self.configuration, self.locks)

    @cached_property
    def storage_report(self) -> StorageReport:
        from koschey.services.storage_report import StorageReport

        return StorageReport(self.database, self.tallies, self.store)

    @cached_property
    def sync(self) -> Sync:
        from koschey.services.sync_assembly import make_sync

        return make_sync(self)

    @cached_property
    def sync_preview(self) -> SyncPreview:
        from koschey.services.sync_assembly import make_preview

        return make_preview(self)

    @cached_property
    def upstreams(self) -> Upstreams:
        from koschey.services.upstreams import Upstreams

        return Upstreams(self.database, self.indexes)

    @cached_property
    def waiting(self) -> Waiting:
        from koschey.services.waiting import Waiting

        return Waiting(self.database, self.configuration)

    def queue_standing(self) -> QueueStanding:
        """How the queues stand, and what this process has done from time to time."""
        from koschey.jobs.standing import standing_of

        return standing_of(self.queue, self.schedule.periodic)

    def database_words(self) -> str:
        """Which database this is, for people."""
        version = ".".join(map(str, getattr(self.engine.dialect, "server_version_info", None) or ()))
        return f"{self.engine.dialect.name} {version}".strip()

    def close(self) -> None:
        """Let go of threads and connections, for a clean stop."""
        self.schedule.close()
        self.lull.close()
        self.usage.close()
        self.hourly.close()
        self.token_uses.close()
        self.queue.close()
        self.files.close()
        self.checking.close()
        for name in ("uploads", "descriptions"):
            if name in self.__dict__:
                self.__dict__[name].close()
        self.client.close()
        self.lookup.connections.close()
        close_connections(self.engine)


def koschey() -> Koschey:
    """The services of the current application."""
    services = current_app.extensions["koschey"]
    assert isinstance(services, Koschey)
    return services


def base_url(prefix: str) -> str:
    """Scheme, host and path prefix of an index as the client sees it, no slash at the end."""
    public = koschey().settings.public_url.rstrip("/")
    return (public or request.host_url.rstrip("/") + request.script_root) + prefix
