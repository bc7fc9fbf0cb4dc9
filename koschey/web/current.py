"""What a view may use: the services of the application that handles the request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import current_app, request
from sqlalchemy import Engine

from koschey.jobs.lull import Lull
from koschey.jobs.queue import Queue, Task
from koschey.jobs.schedule import Schedule
from koschey.services.access import Access
from koschey.services.audit import Audit
from koschey.services.catalog import Catalog
from koschey.services.checking import Checking
from koschey.services.closure import Closure
from koschey.services.configuration import Configuration
from koschey.services.explanations import Explanations
from koschey.services.files import Files
from koschey.services.health import Health
from koschey.services.hosted import Hosted
from koschey.services.indexes import Indexes
from koschey.services.metrics import Metrics
from koschey.services.policies import Policies
from koschey.services.probe import Probe
from koschey.services.review import Review
from koschey.services.root_list import RootList
from koschey.services.tokens import TokenUses
from koschey.services.usage import Usage
from koschey.services.waiting import Waiting
from koschey.settings import Settings
from koschey.stores.blobs import BlobStore
from koschey.stores.database import Database
from koschey.stores.locks import Locks
from koschey.stores.lookup import Lookup
from koschey.upstream.client import UpstreamClient

if TYPE_CHECKING:  # it imports the views, which import this module
    from koschey.web.hot_path import HotPath


@dataclass(frozen=True)
class Koschey:
    """Everything that ``create_app`` put together."""

    settings: Settings
    engine: Engine
    database: Database
    lookup: Lookup
    store: BlobStore
    client: UpstreamClient
    queue: Queue
    configuration: Configuration
    indexes: Indexes
    hosted: Hosted
    access: Access
    token_uses: TokenUses
    catalog: Catalog
    root_list: RootList
    files: Files
    health: Health
    locks: Locks
    checking: Checking
    tasks: Mapping[str, Task]
    """What jobs do, by name."""
    review: Review
    closure: Closure
    waiting: Waiting
    policies: Policies
    audit: Audit
    probe: Probe
    schedule: Schedule
    lull: Lull
    usage: Usage
    explanations: Explanations
    metrics: Metrics
    hot_path: HotPath | None

    def close(self) -> None:
        """Let go of threads and connections, for a clean stop."""
        self.schedule.close()
        self.lull.close()
        self.usage.close()
        self.token_uses.close()
        self.queue.close()
        self.files.close()
        self.checking.close()
        self.client.close()
        self.lookup.close()
        self.engine.dispose()


def koschey() -> Koschey:
    """The services of the current application."""
    services = current_app.extensions["koschey"]
    assert isinstance(services, Koschey)
    return services


def base_url(prefix: str) -> str:
    """Scheme, host and path prefix of an index as the client sees it, no slash at the end."""
    public = koschey().settings.public_url.rstrip("/")
    return (public or request.host_url.rstrip("/") + request.script_root) + prefix
