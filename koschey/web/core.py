"""What ``create_app`` puts together: what every process has from its start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

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
from koschey.services.documents import Documents
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
from koschey.stores.database import Database
from koschey.stores.locks import Locks
from koschey.stores.lookup import Lookup
from koschey.upstream.client import UpstreamClient

if TYPE_CHECKING:
    from pluggy import PluginManager

    from koschey.checks.examiner import Examiner
    from koschey.services.contents import StoredFiles
    from koschey.web.hot_path import HotPath  # it imports the views, which import this module


@dataclass(frozen=True)
class Core:
    """The services that a request for a page or a file goes through, and what they stand on."""

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
    documents: Documents
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
