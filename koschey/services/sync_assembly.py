"""The parts of a sync, put together when the first one is wanted: an idle process need not carry them."""

from __future__ import annotations

from typing import Protocol

from koschey.jobs.queue import Queue
from koschey.services.arrivals import Arrivals
from koschey.services.configuration import Configuration
from koschey.services.contents import StoredFiles
from koschey.services.documents import Documents
from koschey.services.downloads import Downloads
from koschey.services.holds import Holds
from koschey.services.indexes import Indexes
from koschey.services.keeping import Keeping
from koschey.services.sync import Sync
from koschey.services.sync_choosing import Choosing
from koschey.services.sync_dependencies import Dependencies
from koschey.services.sync_due import DueProjects
from koschey.services.sync_due_files import DueFiles
from koschey.services.sync_files import StoredBySync
from koschey.services.sync_known import KnownProjects
from koschey.services.sync_pages import Pages
from koschey.services.sync_phases import Phases
from koschey.services.sync_preview import SyncPreview
from koschey.services.sync_progress import Progress
from koschey.services.sync_summary import Summaries
from koschey.settings import Settings
from koschey.stores.blobs import BlobStore
from koschey.stores.database import Database
from koschey.stores.locks import Locks
from koschey.stores.lookup import Lookup
from koschey.upstream.client import UpstreamClient


class Parts(Protocol):
    """What a sync is made of, as the application has it."""

    @property
    def settings(self) -> Settings: ...
    @property
    def database(self) -> Database: ...
    @property
    def lookup(self) -> Lookup: ...
    @property
    def store(self) -> BlobStore: ...
    @property
    def client(self) -> UpstreamClient: ...
    @property
    def queue(self) -> Queue: ...
    @property
    def configuration(self) -> Configuration: ...
    @property
    def indexes(self) -> Indexes: ...
    @property
    def holds(self) -> Holds: ...
    @property
    def documents(self) -> Documents: ...
    @property
    def downloads(self) -> Downloads: ...
    @property
    def locks(self) -> Locks: ...
    @property
    def stored_files(self) -> StoredFiles: ...
    @property
    def keeping(self) -> Keeping: ...
    @property
    def sync(self) -> Sync: ...


def make_sync(parts: Parts) -> Sync:
    """The verb with everything that it uses."""
    database = parts.database
    progress, projects, files = Progress(database), DueProjects(database), DueFiles(database)
    return Sync(
        progress,
        Summaries(progress, projects, files, parts.locks),
        parts.configuration,
        Phases(
            progress,
            projects,
            files,
            _choosing(parts, progress, projects),
            _pages(parts, projects),
            _storing(parts, files),
            Dependencies(database, parts.lookup, parts.keeping, parts.documents, parts.stored_files),
            lambda: parts.queue.submit("derive_work"),
            parts.lookup.connections.keep,
        ),
        parts.locks,
        parts.indexes,
        parts.queue.submit,
    )


def make_preview(parts: Parts) -> SyncPreview:
    """What a sync would keep."""
    progress = Progress(parts.database)
    return SyncPreview(
        progress,
        KnownProjects(parts.database),
        parts.sync,
        parts.keeping,
        _choosing(parts, progress, DueProjects(parts.database)),
        parts.client,
        root_deadline=parts.settings.root_deadline,
    )


def _choosing(parts: Parts, progress: Progress, projects: DueProjects) -> Choosing:
    deadline = parts.settings.root_deadline
    return Choosing(parts.database, progress, projects, parts.keeping, parts.client, root_deadline=deadline)


def _pages(parts: Parts, projects: DueProjects) -> Pages:
    return Pages(
        parts.database,
        projects,
        parts.configuration,
        parts.client,
        Arrivals(parts.configuration, parts.holds),
        page_deadline=parts.settings.page_deadline,
    )


def _storing(parts: Parts, files: DueFiles) -> StoredBySync:
    return StoredBySync(
        parts.database,
        parts.lookup,
        files,
        parts.client,
        parts.store,
        parts.downloads,
        deadline=parts.settings.file_deadline,
    )
