"""The root list: the names that an index knows and shows something of.

A small one is made when it is asked for after a change, so that a new name is there at once. One with many
names is served from what ``root_build`` stored: a request makes nothing but, once for each build and form,
this machine's copy of the stored bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from sqlalchemy import text

from koschey.domain.negotiation import Representation
from koschey.domain.page import RootEntry, RootPage
from koschey.domain.permissions import Names
from koschey.domain.simple_api import render_root
from koschey.errors import Busy
from koschey.services.configuration import Configuration, IndexConfig
from koschey.services.pages import CONTENT_TYPES, PageCache, ReadyPage, ready
from koschey.services.root_build import ANNOUNCED, RootBuilder, stored
from koschey.services.root_files import MaySee, RootFiles
from koschey.services.root_names import listed
from koschey.stores.database import Database, now

#: Builds that may come between looking which one is newest and opening its file.
_TRIES = 3


@dataclass(frozen=True)
class ReadyFile:
    """A page that lies in a file of this machine. Fields as ``ReadyPage`` has them."""

    content_type: str
    encoding: str
    etag: str
    serial: int
    path: Path | None
    """None for who knows it already."""


class RootList:
    """Answers for root pages."""

    def __init__(
        self,
        database: Database,
        configuration: Configuration,
        cache: PageCache,
        builder: RootBuilder,
        files: RootFiles,
    ) -> None:
        self._database = database
        self._configuration = configuration
        self._cache = cache
        self._builder = builder
        self._files = files

    def page(
        self,
        index_name: str,
        representation: Representation,
        encoding: str,
        names: Names,
        is_known: Callable[[str], bool],
    ) -> ReadyPage | ReadyFile:
        """The root page of an index; a project with files of which none is visible is not in it.

        Args:
            names: those that the one who asks may read. Who may read the same shares a page.
            is_known: says of an ETag whether the one who asks has that page.

        Raises:
            NotFound: no such index. Busy: its list is long and was not built yet.
            StoreUnavailable: it cannot be read or written down here.
        """
        index = self._configuration.index(index_name)
        view = "" if names.everything else f"{sorted(names.granted)} {sorted(names.within)}"
        may_see = None if names.everything else names.__contains__
        for _ in range(_TRIES):
            serial, mark, built = self._state(index)
            if mark is None or mark == ANNOUNCED:
                break
            file = self._ready_file(index, mark, built, representation, encoding, view, may_see, is_known)
            if file is not None:
                return file
        if mark is not None:
            raise Busy("the list of projects")
        key = ("root", index.id, index.policy_version, serial, representation, encoding, view)
        page = self._cache.get(key)
        if page is not None:
            return page
        if not self._builder.is_small(index):
            raise Busy("the long list of projects")
        return self._cache.get_or_make(key, lambda: self._made(index, representation, encoding, may_see))

    def _state(self, index: IndexConfig) -> tuple[int, str | None, int]:
        """The newest serial; mark and serial of the stored list, if there is one."""
        with self._database.reading() as session:
            serial, mark, built = session.execute(_STATE, {"index": index.id}).one()
        return serial, mark, built or 0

    def _ready_file(
        self,
        index: IndexConfig,
        mark: str,
        serial: int,
        representation: Representation,
        encoding: str,
        view: str,
        may_see: MaySee,
        is_known: Callable[[str], bool],
    ) -> ReadyFile | None:
        """The stored list; None: another build has just replaced it."""
        content_type = CONTENT_TYPES[representation]
        digest = blake2b(f"{mark} {content_type} {encoding} {view}".encode(), digest_size=15)
        etag = f'"{digest.hexdigest()}"'
        path = None
        if not is_known(etag):
            path = self._files.path(index.id, mark, representation, encoding, view, may_see)
            if path is None:
                return None
        return ReadyFile(content_type, encoding, etag, serial, path)

    def _made(
        self, index: IndexConfig, representation: Representation, encoding: str, may_see: MaySee
    ) -> ReadyPage:
        at = now()
        with self._database.snapshot() as connection:
            if stored(connection, index.id) is not None:  # since it was looked whether the list is long
                raise Busy("the long list of projects")
            serial = connection.execute(_SERIAL).scalar_one()
            names = list(listed(connection, index, at))
            until = connection.execute(_UNTIL, {"index": index.id, "now": at}).scalar()
        entries = tuple(
            RootEntry(name, own)
            for name, own in names
            if own is not None and (may_see is None or may_see(name))
        )
        return ready(
            render_root(RootPage(serial=serial, projects=entries), representation),
            content_type=CONTENT_TYPES[representation],
            encoding=encoding,
            serial=serial,
            until=until,
        )


_STATE = text(
    "SELECT c.value, r.mark, r.serial FROM counter c LEFT JOIN root_list r ON r.index_id = :index "
    "WHERE c.name = 'serial'"
)
_SERIAL = text("SELECT value FROM counter WHERE name = 'serial'")
#: When the list changes by itself: a hold ends, or a decision that shows something runs out.
_UNTIL = text(
    "SELECT min(moment) FROM ("
    "SELECT min(until) AS moment FROM hold WHERE index_id = :index AND until > :now UNION ALL "
    "SELECT min(expires_at) FROM decision WHERE expires_at > :now) AS moments"
)
