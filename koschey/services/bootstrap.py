"""The first rows of a new database, by the settings that are read once for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import select

from koschey.domain.permissions import EVERYONE, Role
from koschey.errors import RequestInvalid, SettingsInvalid
from koschey.services.configuration import MAIN
from koschey.services.index_rows import names_of, new_index, set_sources
from koschey.services.upstream_spec import UpstreamSpec, new_upstream
from koschey.stores.database import CONFIGURATION, Database, now
from koschey.stores.models import Counter, Source, SourceKind
from koschey.stores.people_rows import Grant


def is_new(database: Database) -> bool:
    """Whether the database has a schema and nothing in it yet."""
    with database.reading() as session:
        return session.scalar(select(Counter.name).limit(1)) is None


def bootstrap(database: Database, *, upstream_url: str, hold_days: float, refresh_seconds: float) -> None:
    """Make index ``main`` over a hosted store and one upstream, which everyone may read.

    Args:
        upstream_url: of the upstream; empty: none.
        hold_days: days of hold of the index.
        refresh_seconds: how old the upstream's pages may get.

    Raises:
        SettingsInvalid: these values come from settings, and one of them cannot be used.
    """
    with database.transaction() as tx:
        if tx.session.scalar(select(Counter.name).limit(1)) is not None:
            return  # another process was quicker
        tx.session.add_all([Counter(name="serial", value=0), Counter(name=CONFIGURATION, value=1)])
        hosted = Source(name="hosted", kind=SourceKind.HOSTED, created_at=now())
        tx.session.add(hosted)
        sources = [hosted]
        if upstream_url:
            spec = UpstreamSpec(url=upstream_url, refresh_seconds=refresh_seconds)
            with _as_setting("KOSCHEY_UPSTREAM_URL"):
                sources.append(new_upstream(tx.session, "upstream", spec))
        with _as_setting("KOSCHEY_QUARANTINE_DAYS"):
            index = new_index(tx, MAIN, hold_days)
        set_sources(tx.session, index, sources)
        after, reason = names_of(sources), "first start"
        tx.record("index.add", actor="koschey", subject=MAIN, after=after, reason=reason)
        tx.session.add(Grant(role=Role.READER, subject=EVERYONE, pattern="*", created_at=now()))
        tx.record("grant.add", actor="koschey", subject=EVERYONE, after=Role.READER.value, reason=reason)


@contextmanager
def _as_setting(name: str) -> Iterator[None]:
    """What is wrong with a value is said of the setting that it comes from."""
    try:
        yield
    except RequestInvalid as error:
        raise SettingsInvalid(name, error.problem) from None
