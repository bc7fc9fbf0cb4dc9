"""Projects, their names and where they come from: services put together when they are first asked for."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING

from koschey.web.deciding import Deciding

if TYPE_CHECKING:
    from koschey.services.descriptions import Descriptions
    from koschey.services.hosted import Hosted
    from koschey.services.indexes import Indexes
    from koschey.services.keeping import Keeping
    from koschey.services.names import Names
    from koschey.services.own_projects import OwnProjects
    from koschey.services.policies import Policies
    from koschey.services.probe import Probe
    from koschey.services.project_json import ProjectJson
    from koschey.services.project_lists import ProjectLists
    from koschey.services.project_pages import ProjectPages
    from koschey.services.projects import Projects
    from koschey.services.search import Search
    from koschey.services.storage_report import StorageReport
    from koschey.services.sync import Sync
    from koschey.services.sync_preview import SyncPreview
    from koschey.services.uploads import Uploads
    from koschey.services.upstreams import Upstreams

_making = threading.Lock()


class Packages(Deciding):
    """The services behind projects, uploads, indexes and upstreams."""

    @cached_property
    def descriptions(self) -> Descriptions:
        from koschey.checks.examiner import Examiner
        from koschey.services.descriptions import Descriptions

        with _making:
            made = self.__dict__.get("descriptions")
            if made is None:
                # Its own process: somebody waits for the page, and hundreds of files may wait for checks.
                made = Descriptions(self.database, self.store, self.documents, Examiner(children=1, nice=0))
                self.__dict__["descriptions"] = made
        assert made is not None
        return made

    @cached_property
    def hosted(self) -> Hosted:
        from koschey.services.hosted import Hosted

        return Hosted(self.database)

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
    def policies(self) -> Policies:
        from koschey.services.policies import Policies

        return Policies(self.database, self.configuration)

    @cached_property
    def probe(self) -> Probe:
        from koschey.services.probe import Probe

        return Probe(self.configuration, self.client, deadline=self.settings.page_deadline)

    @cached_property
    def project_json(self) -> ProjectJson:
        from koschey.services.project_json import ProjectJson

        return ProjectJson(self.catalog, self.store, self.page_cache)

    @cached_property
    def project_lists(self) -> ProjectLists:
        from koschey.services.project_lists import ProjectLists

        return ProjectLists(self.database, self.search)

    @cached_property
    def project_pages(self) -> ProjectPages:
        from koschey.services.project_pages import ProjectPages

        return ProjectPages(self.database, self.lookup, self.explanations, self.descriptions, self.asks)

    @cached_property
    def projects(self) -> Projects:
        from koschey.services.projects import Projects

        return Projects(self.database, self.configuration, self.holds)

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
    def upstreams(self) -> Upstreams:
        from koschey.services.upstreams import Upstreams

        return Upstreams(self.database, self.locks, self.indexes)
