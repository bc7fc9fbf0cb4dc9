"""The root list: the names that an index knows and shows something of."""

from __future__ import annotations

from sqlalchemy import func, select

from koschey.domain.negotiation import Representation
from koschey.domain.page import RootEntry, RootPage
from koschey.domain.permissions import Names
from koschey.domain.simple_api import render_root
from koschey.services.configuration import Configuration, IndexConfig
from koschey.services.holds import wholly_held
from koschey.services.pages import CONTENT_TYPES, PageCache, ReadyPage, ready
from koschey.stores.database import SERIAL, Database, now
from koschey.stores.models import Counter, Hold, Project, ProjectState


class RootList:
    """Ready-made root pages."""

    def __init__(self, database: Database, configuration: Configuration, cache: PageCache) -> None:
        self._database = database
        self._configuration = configuration
        self._cache = cache

    def page(self, index_name: str, representation: Representation, encoding: str, names: Names) -> ReadyPage:
        """The root page of an index; a project with files of which none is visible is not in it.

        Args:
            names: those that the one who asks may read. Who may read the same shares a page.

        Raises:
            NotFound: no such index.
        """
        index = self._configuration.index(index_name)
        with self._database.reading() as session:
            serial = session.execute(select(Counter.value).where(Counter.name == SERIAL)).scalar_one()
        shared = None if names.everything else names
        key = ("root", index.id, index.policy_version, serial, representation, encoding, shared)
        return self._cache.get_or_make(
            key, lambda: self._made(index, serial, representation, encoding, shared)
        )

    def _made(
        self,
        index: IndexConfig,
        serial: int,
        representation: Representation,
        encoding: str,
        names: Names | None,
    ) -> ReadyPage:
        at = now()
        sources = [source.id for source in index.sources]
        rank = {source: place for place, source in enumerate(sources)}
        chosen: dict[str, tuple[int, int, int]] = {}
        with self._database.reading() as session:
            rows = session.execute(
                select(Project.name, Project.source_id, Project.serial, Project.id)
                .where(Project.source_id.in_(sources), Project.state == ProjectState.PRESENT)
                .order_by(Project.name)
            )
            for name, source, own, project_id in rows:
                if name not in chosen or rank[source] < chosen[name][0]:
                    chosen[name] = (rank[source], own, project_id)
            hidden = wholly_held(session, index.id, at)
            until = session.scalar(
                select(func.min(Hold.until)).where(Hold.index_id == index.id, Hold.until > at)
            )
        entries = tuple(
            RootEntry(name, own)
            for name, (_, own, project_id) in chosen.items()
            if project_id not in hidden and (names is None or name in names)
        )
        body = render_root(RootPage(serial=serial, projects=entries), representation)
        return ready(
            body, content_type=CONTENT_TYPES[representation], encoding=encoding, serial=serial, until=until
        )
