"""Indexes and the sources behind them: what is configured, and the verbs that change it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from koschey.domain.permissions import EVERYONE, Role
from koschey.domain.policy import hold_days_problem
from koschey.errors import Conflict, NotFound, RequestInvalid, SettingsInvalid
from koschey.services.configuration import MAIN
from koschey.services.deciding import checked_reason
from koschey.services.holds import held_counter
from koschey.services.removal import forget_holds, take_back
from koschey.stores.database import CONFIGURATION, Database, Transaction, now
from koschey.stores.models import (
    Counter,
    DecisionRow,
    File,
    Grant,
    Hold,
    IndexRow,
    IndexSource,
    PolicyRow,
    Project,
    Source,
    SourceKind,
)

#: First segments of paths that are not indexes.
RESERVED_NAMES = frozenset(
    [
        "admin",
        "api",
        "health",
        "healthz",
        "integrity",
        "legacy",
        "login",
        "logout",
        "metrics",
        "packages",
        "pypi",
        "readyz",
        "setup",
        "simple",
        "static",
        "why",
    ]
)
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,58}[a-z0-9])?")


@dataclass(frozen=True)
class UpstreamSpec:
    """What a person says of an upstream; None leaves a value as it is, an empty string takes it away."""

    url: str | None = None
    username: str | None = None
    password: str | None = None
    token: str | None = None
    ca_file: str | None = None
    proxy: str | None = None
    internal: bool | None = None
    refresh_seconds: float | None = None


class Indexes:
    """The verbs that change indexes and upstreams; each is one transaction with its event."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def is_new(self) -> bool:
        """Whether the database has a schema and nothing in it yet."""
        with self._database.reading() as session:
            return session.scalar(select(Counter.name).limit(1)) is None

    def bootstrap(self, *, upstream_url: str, hold_days: float, refresh_seconds: float) -> None:
        """First rows of a new database: index ``main`` over a hosted store and one upstream (empty: none).

        Raises:
            SettingsInvalid: these values come from settings, and one of them cannot be used.
        """
        with self._database.transaction() as tx:
            if tx.session.scalar(select(Counter.name).limit(1)) is not None:
                return  # another process was quicker
            tx.session.add_all([Counter(name="serial", value=0), Counter(name=CONFIGURATION, value=1)])
            hosted = Source(name="hosted", kind=SourceKind.HOSTED, created_at=now())
            tx.session.add(hosted)
            sources = [hosted]
            if upstream_url:
                spec = UpstreamSpec(url=upstream_url, refresh_seconds=refresh_seconds)
                with _as_setting("KOSCHEY_UPSTREAM_URL"):
                    sources.append(self._new_upstream(tx, "upstream", spec))
            with _as_setting("KOSCHEY_QUARANTINE_DAYS"):
                index = _new_index(tx, MAIN, hold_days)
            set_sources(tx.session, index, sources)
            tx.record("index.add", actor="koschey", subject=MAIN, after=_names(sources), reason="first start")
            tx.session.add(Grant(role=Role.READER, subject=EVERYONE, pattern="*", created_at=now()))
            tx.record(
                "grant.add", actor="koschey", subject=EVERYONE, after=Role.READER.value, reason="first start"
            )

    def add_upstream(self, name: str, spec: UpstreamSpec, *, indexes: Sequence[str], actor: str) -> None:
        """Add an upstream, last in the order of each of ``indexes``.

        Raises:
            RequestInvalid: a bad name or URL. Conflict: the name is taken. NotFound: no such index.
        """
        check_slug("upstream", name)
        with self._database.transaction() as tx:
            if tx.session.scalar(select(Source.id).where(Source.name == name)):
                raise Conflict(f"a source named {name!r} exists already; edit it or choose another name")
            row = self._new_upstream(tx, name, spec)
            tx.session.flush()
            for index_name in indexes:
                index = index_row(tx.session, index_name)
                set_sources(tx.session, index, [*sources_of(tx.session, index), row])
            tx.touch_configuration()
            tx.record("upstream.add", actor=actor, subject=name, after=_masked(row))

    def edit_upstream(self, name: str, spec: UpstreamSpec, *, actor: str) -> None:
        """Change what ``spec`` names. Raises: NotFound, RequestInvalid."""
        with self._database.transaction() as tx:
            row = _upstream_row(tx.session, name)
            before = _masked(row)
            moved = _apply(row, spec)
            if moved:
                _forget_looks(tx, row)
            tx.touch_configuration()
            tx.record("upstream.edit", actor=actor, subject=name, before=before, after=_masked(row))

    def reset_upstream(self, name: str, *, actor: str) -> None:
        """Forget serials and ETags of an upstream that began to count anew; files and times stay.

        Every page is looked at again when it is next asked for. Raises: NotFound.
        """
        with self._database.transaction() as tx:
            _forget_looks(tx, _upstream_row(tx.session, name))
            tx.record("upstream.reset", actor=actor, subject=name, reason="serials and ETags forgotten")

    def pause_upstream(self, name: str, *, reason: str, actor: str) -> None:
        """Leave an upstream alone until it is resumed: what is stored is served, and nothing is asked of it.

        Raises:
            NotFound: no such upstream. RequestInvalid: no reason. Conflict: it is paused already.
        """
        reason = checked_reason(reason)
        with self._database.transaction() as tx:
            row = _upstream_row(tx.session, name)
            if row.paused_at is not None:
                raise Conflict(f"upstream {name} is paused already: {row.paused_reason}")
            row.paused_at, row.paused_reason = now(), reason
            tx.touch_configuration()
            tx.record("upstream.pause", actor=actor, subject=name, after="paused", reason=reason)

    def resume_upstream(self, name: str, *, actor: str) -> None:
        """Ask a paused upstream again; what could not be had meanwhile is due now.

        Raises:
            NotFound: no such upstream. Conflict: it is not paused.
        """
        with self._database.transaction() as tx:
            row = _upstream_row(tx.session, name)
            if row.paused_at is None:
                raise Conflict(f"upstream {name} is not paused")
            row.paused_at = row.paused_reason = None
            projects = select(Project.id).where(Project.source_id == row.id)
            failed = update(File).where(
                File.attempts > 0, File.due_at.is_not(None), File.project_id.in_(projects)
            )
            tx.session.execute(
                failed.values(due_at=now(), attempts=0).execution_options(synchronize_session=False)
            )
            tx.touch_configuration()
            tx.record("upstream.resume", actor=actor, subject=name, before="paused")

    def remove_upstream(self, name: str, *, actor: str, forget: bool = False) -> None:
        """Take an upstream out of every index and delete it; with ``forget`` also when files are known.

        Raises:
            Conflict: files of it are known and ``forget`` was not said.
        """
        with self._database.transaction() as tx:
            row = _upstream_row(tx.session, name)
            known = tx.session.scalar(
                select(File.id).join(Project).where(Project.source_id == row.id).limit(1)
            )
            if known and not forget:
                raise Conflict(
                    f"files of {name!r} are known here and would be lost to users; "
                    "take it out of its indexes instead, or say --forget"
                )
            before = _masked(row)
            projects = select(Project.id).where(Project.source_id == row.id)
            tx.session.execute(projects.order_by(Project.id).with_for_update())
            forget_holds(tx, Hold.project_id.in_(projects))
            take_back(tx, DecisionRow.source == name, actor, f"upstream {name} was removed")
            tx.session.execute(delete(File).where(File.project_id.in_(projects)))
            tx.session.execute(delete(Project).where(Project.source_id == row.id))
            tx.session.execute(delete(IndexSource).where(IndexSource.source_id == row.id))
            tx.session.delete(row)
            tx.touch_configuration()
            tx.record("upstream.remove", actor=actor, subject=name, before=before)

    def add_index(self, name: str, sources: Sequence[str], *, hold_days: float | None, actor: str) -> None:
        """Add an index over the named sources in that order. Raises: RequestInvalid, Conflict, NotFound."""
        check_slug("index", name)
        if name in RESERVED_NAMES:
            raise RequestInvalid(f"an index cannot be named {name!r}: that path is Koschey's own")
        with self._database.transaction() as tx:
            if tx.session.scalar(select(IndexRow.id).where(IndexRow.name == name)):
                raise Conflict(f"an index named {name!r} exists already")
            index = _new_index(tx, name, 7.0 if hold_days is None else hold_days)
            rows = [source_row(tx.session, source) for source in sources]
            set_sources(tx.session, index, rows)
            tx.touch_configuration()
            tx.record("index.add", actor=actor, subject=name, after=_names(rows))

    def edit_index(
        self, name: str, *, sources: Sequence[str] | None, hold_days: float | None, actor: str
    ) -> None:
        """Change the order of sources, the days of hold, or both. Raises: NotFound, RequestInvalid."""
        with self._database.transaction() as tx:
            index = index_row(tx.session, name)
            raise_policy_versions(tx, [index.id])
            rows = sources_of(tx.session, index)
            rule = _own_rule(tx.session, index)
            before = f"{_names(rows)}; {rule.hold_days:g} days"
            if sources is not None:
                rows = [source_row(tx.session, source) for source in sources]
                set_sources(tx.session, index, rows)
            if hold_days is not None:
                rule.hold_days = checked_days(hold_days)
            tx.touch_configuration()
            after = f"{_names(rows)}; {rule.hold_days:g} days"
            tx.record("index.edit", actor=actor, subject=name, before=before, after=after)

    def remove_index(self, name: str, *, actor: str) -> None:
        """Delete an index; its sources and their files stay. Raises: NotFound, Conflict for ``main``."""
        if name == MAIN:
            raise Conflict("the index main cannot be removed: /simple/ is its address")
        with self._database.transaction() as tx:
            index = index_row(tx.session, name, locked=True)  # nobody decides anything for it from here on
            before = _names(sources_of(tx.session, index))
            take_back(tx, DecisionRow.index == name, actor, f"index {name} was removed")
            counters = (held_counter(index.id), f"settling:{index.id}")
            tx.session.execute(delete(Counter).where(Counter.name.in_(counters)))
            tx.session.execute(delete(IndexSource).where(IndexSource.index_id == index.id))
            tx.session.delete(index)
            tx.touch_configuration()
            tx.record("index.remove", actor=actor, subject=name, before=before)

    def describe_upstreams(self) -> list[dict[str, Any]]:
        """Every upstream as plain values, secrets as whether they are set; for listings and ``--json``."""
        with self._database.reading() as session:
            members = session.execute(
                select(IndexSource.source_id, IndexRow.name).join(
                    IndexRow, IndexRow.id == IndexSource.index_id
                )
            ).all()
            return [
                {
                    "name": row.name,
                    "url": row.url,
                    "indexes": sorted(index for source, index in members if source == row.id),
                    "username": row.username,
                    "password": bool(row.password),
                    "token": bool(row.token),
                    "ca_file": row.ca_file,
                    "proxy": without_userinfo(row.proxy) if row.proxy else None,
                    "internal": row.internal,
                    "refresh_seconds": row.refresh_seconds,
                    "paused": row.paused_reason,
                }
                for row in session.scalars(
                    select(Source).where(Source.kind == SourceKind.UPSTREAM).order_by(Source.name)
                )
            ]

    @staticmethod
    def _new_upstream(tx: Transaction, name: str, spec: UpstreamSpec) -> Source:
        if not spec.url:
            raise RequestInvalid("an upstream needs a URL, such as https://packages.example/simple/")
        row = Source(name=name, kind=SourceKind.UPSTREAM, created_at=now())
        _apply(row, spec)
        tx.session.add(row)
        return row


def _forget_looks(tx: Transaction, row: Source) -> None:
    """Another address is another page: nothing that is known of the old one may answer a condition."""
    tx.session.execute(
        update(Project)
        .where(Project.source_id == row.id)
        .values(etag=None, upstream_serial=None, looked_at=0, missing_since=None)
    )


def without_userinfo(url: str) -> str:
    """The URL with user and password masked, for people to read."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2]).geturl()


def _apply(row: Source, spec: UpstreamSpec) -> bool:
    """Copy what was said; returns whether the address changed."""
    moved = False
    if spec.url is not None:
        spec = _with_url_credentials(spec)
        moved = row.url is not None and row.url != spec.url
        if row.url is not None and _origin(row.url) != _origin(spec.url or ""):
            row.username = row.password = row.token = None  # they were for the other host, and stay secret
        row.url = spec.url
    for name in ("username", "password", "token", "ca_file", "proxy"):
        value = getattr(spec, name)
        if value is not None:
            setattr(row, name, value or None)
    if row.ca_file and not Path(row.ca_file).is_file():
        raise RequestInvalid(f"CA file {row.ca_file} is not there or is no file")
    if spec.proxy:
        _check_proxy(spec.proxy)
    if row.token and (row.username or row.password):
        raise RequestInvalid("an upstream takes a user and password, or a token, not both")
    if spec.internal is not None:
        row.internal = spec.internal
    if spec.refresh_seconds is not None:
        row.refresh_seconds = _finite("refresh seconds", spec.refresh_seconds)
    return moved


def _check_proxy(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise RequestInvalid("a proxy is an http:// or https:// URL with a host")


def _finite(what: str, number: float) -> float:
    if not (isfinite(number) and number >= 0):
        raise RequestInvalid(f"{what}: a number, 0 or more")
    return number


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def _with_url_credentials(spec: UpstreamSpec) -> UpstreamSpec:
    """Check the URL, end it in a slash, and move credentials out of it to where they are kept secret."""
    assert spec.url is not None
    try:
        parts = urlsplit(spec.url.strip())
        _ = parts.port
    except ValueError as error:
        raise RequestInvalid(f"not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RequestInvalid("an upstream's URL begins with http:// or https:// and names a host")
    if parts.query or parts.fragment:
        raise RequestInvalid("an upstream's URL has no query and no fragment")
    if parts.username is not None and spec.username is None:
        spec = replace(spec, username=parts.username, password=parts.password or "")
    netloc = parts.netloc.rpartition("@")[2]
    path = parts.path if parts.path.endswith("/") else parts.path + "/"
    return replace(spec, url=f"{parts.scheme}://{netloc}{path}")


def check_slug(kind: str, name: str) -> None:
    if not _SLUG.fullmatch(name):
        raise RequestInvalid(
            f"{kind} name {name!r}: use lower-case letters, digits and inner hyphens, 60 at most"
        )


def set_sources(session: Session, index: IndexRow, sources: Sequence[Source]) -> None:
    if len({source.id for source in sources}) != len(sources):
        raise RequestInvalid("a source stands twice in the order of the index")
    session.flush()
    session.execute(delete(IndexSource).where(IndexSource.index_id == index.id))
    session.add_all(
        IndexSource(index_id=index.id, source_id=source.id, position=position)
        for position, source in enumerate(sources)
    )


def sources_of(session: Session, index: IndexRow) -> list[Source]:
    return list(
        session.scalars(
            select(Source)
            .join(IndexSource, IndexSource.source_id == Source.id)
            .where(IndexSource.index_id == index.id)
            .order_by(IndexSource.position)
        )
    )


def raise_policy_versions(tx: Transaction, index_ids: Sequence[int]) -> None:
    """Say that what the verdicts of those indexes hang on changes; others who change it wait.

    Call it before the change, and ``touch_configuration`` after it.
    """
    locked = select(IndexRow.id).where(IndexRow.id.in_(index_ids)).order_by(IndexRow.id)
    tx.session.execute(locked.with_for_update(key_share=True))
    tx.session.execute(
        update(IndexRow)
        .where(IndexRow.id.in_(index_ids))
        .values(policy_version=IndexRow.policy_version + 1)
        .execution_options(synchronize_session=False)
    )


def index_row(session: Session, name: str, *, locked: bool = False) -> IndexRow:
    query = select(IndexRow).where(IndexRow.name == name)
    row = session.scalar(query.with_for_update() if locked else query)
    if row is None:
        raise NotFound("index", name)
    return row


def source_row(session: Session, name: str) -> Source:
    row = session.scalar(select(Source).where(Source.name == name))
    if row is None:
        raise NotFound("source", name)
    return row


def _upstream_row(session: Session, name: str) -> Source:
    row = source_row(session, name)
    if row.kind != SourceKind.UPSTREAM:
        raise NotFound("upstream", name)
    return row


def _new_index(tx: Transaction, name: str, hold_days: float) -> IndexRow:
    configuration = tx.session.scalar(select(Counter.value).where(Counter.name == CONFIGURATION)) or 0
    # Above those of any index before it: what is remembered of one that had its name or id is not its own.
    # What is known of its sources is settled behind: 0 is a version that none has.
    index = IndexRow(name=name, created_at=now(), policy_version=configuration + 1, settled_version=0)
    tx.session.add(index)
    tx.session.flush()
    tx.session.add(PolicyRow(index_id=index.id, pattern="*", hold_days=checked_days(hold_days)))
    return index


def _own_rule(session: Session, index: IndexRow) -> PolicyRow:
    return session.scalars(
        select(PolicyRow).where(PolicyRow.index_id == index.id, PolicyRow.pattern == "*")
    ).one()


def checked_days(days: float) -> float:
    """Days of hold that can be kept. Raises: RequestInvalid."""
    problem = hold_days_problem(days)
    if problem is not None:
        raise RequestInvalid(problem)
    return days


def _names(sources: Sequence[Source]) -> str:
    return ", ".join(source.name for source in sources)


def _masked(row: Source) -> str:
    secrets = [name for name in ("password", "token") if getattr(row, name)]
    parts = [f"url={row.url}", f"internal={row.internal}", f"refresh_seconds={row.refresh_seconds:g}"]
    if row.username:
        parts.append(f"username={row.username}")
    if row.ca_file:
        parts.append(f"ca_file={row.ca_file}")
    if row.proxy:
        parts.append(f"proxy={without_userinfo(row.proxy)}")
    return " ".join(parts + [f"{name}=***" for name in secrets])


@contextmanager
def _as_setting(name: str) -> Iterator[None]:
    """What is wrong with a value is said of the setting that it comes from."""
    try:
        yield
    except RequestInvalid as error:
        raise SettingsInvalid(name, error.problem) from None
