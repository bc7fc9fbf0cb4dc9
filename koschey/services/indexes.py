"""Indexes and the sources behind them: what is configured, and the verbs that change it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, or_, select, update

from koschey.errors import Conflict, RequestInvalid
from koschey.services.configuration import MAIN
from koschey.services.deciding import checked_reason
from koschey.services.hold_rows import held_counter
from koschey.services.index_rows import (
    check_slug,
    checked_days,
    index_row,
    names_of,
    new_index,
    own_rule,
    raise_policy_versions,
    set_sources,
    source_row,
    sources_of,
    upstream_row,
)
from koschey.services.removal import forget_holds, take_back
from koschey.services.upstream_spec import UpstreamSpec, apply, masked, new_upstream, without_userinfo
from koschey.stores.database import Database, Transaction, now
from koschey.stores.models import Counter, File, IndexRow, IndexSource, Project, Source, SourceKind
from koschey.stores.quarantine_rows import DecisionRow, Hold
from koschey.stores.sync_rows import SyncDue, SyncState

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


class Indexes:
    """The verbs that change indexes and upstreams; each is one transaction with its event."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_upstream(self, name: str, spec: UpstreamSpec, *, indexes: Sequence[str], actor: str) -> None:
        """Add an upstream, last in the order of each of ``indexes``.

        Raises:
            RequestInvalid: a bad name or URL. Conflict: the name is taken. NotFound: no such index.
        """
        check_slug("upstream", name)
        with self._database.transaction() as tx:
            if tx.session.scalar(select(Source.id).where(Source.name == name)):
                raise Conflict(f"a source named {name!r} exists already; edit it or choose another name")
            row = new_upstream(tx.session, name, spec)
            tx.session.flush()
            for index_name in indexes:
                index = index_row(tx.session, index_name)
                set_sources(tx.session, index, [*sources_of(tx.session, index), row])
            tx.touch_configuration()
            tx.record("upstream.add", actor=actor, subject=name, after=masked(row))

    def edit_upstream(self, name: str, spec: UpstreamSpec, *, actor: str) -> None:
        """Change what ``spec`` names. Raises: NotFound, RequestInvalid."""
        with self._database.transaction() as tx:
            row = upstream_row(tx.session, name)
            before = masked(row)
            moved = apply(row, spec)
            if moved:
                _forget_looks(tx, row)
            tx.touch_configuration()
            tx.record("upstream.edit", actor=actor, subject=name, before=before, after=masked(row))

    def reset_upstream(self, name: str, *, actor: str) -> None:
        """Forget serials, ETags, the alarm and what is due of an upstream that began to count anew.

        Files and their times stay. Every page is looked at again by the next sync, or when it is next asked
        for. Raises: NotFound.
        """
        with self._database.transaction() as tx:
            _forget_looks(tx, upstream_row(tx.session, name))
            tx.record("upstream.reset", actor=actor, subject=name, reason="serials and ETags forgotten")

    def pause_upstream(self, name: str, *, reason: str, actor: str) -> None:
        """Leave an upstream alone until it is resumed: what is stored is served, and nothing is asked of it.

        Raises:
            NotFound: no such upstream. RequestInvalid: no reason. Conflict: it is paused already.
        """
        reason = checked_reason(reason)
        with self._database.transaction() as tx:
            row = upstream_row(tx.session, name)
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
            row = upstream_row(tx.session, name)
            if row.paused_at is None:
                raise Conflict(f"upstream {name} is not paused")
            row.paused_at = row.paused_reason = None
            projects = select(Project.id).where(Project.source_id == row.id)
            waiting = update(File).where(
                or_(File.attempts > 0, File.stored_at.is_(None)),
                File.due_at.is_not(None),
                File.project_id.in_(projects),
            )
            tx.session.execute(
                waiting.values(due_at=now(), attempts=0).execution_options(synchronize_session=False)
            )
            tx.touch_configuration()
            tx.record("upstream.resume", actor=actor, subject=name, before="paused")

    def remove_upstream(self, name: str, *, actor: str, forget: bool = False) -> None:
        """Take an upstream out of every index and delete it; with ``forget`` also when files are known.

        Raises:
            Conflict: files of it are known and ``forget`` was not said.
        """
        with self._database.transaction() as tx:
            row = upstream_row(tx.session, name)
            known = tx.session.scalar(
                select(File.id).join(Project).where(Project.source_id == row.id).limit(1)
            )
            if known and not forget:
                raise Conflict(
                    f"files of {name!r} are known here and would be lost to users; "
                    "take it out of its indexes instead, or say --forget"
                )
            before = masked(row)
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
            index = new_index(tx, name, 7.0 if hold_days is None else hold_days)
            rows = [source_row(tx.session, source) for source in sources]
            set_sources(tx.session, index, rows)
            tx.touch_configuration()
            tx.record("index.add", actor=actor, subject=name, after=names_of(rows))

    def edit_index(
        self, name: str, *, sources: Sequence[str] | None, hold_days: float | None, actor: str
    ) -> None:
        """Change the order of sources, the days of hold, or both. Raises: NotFound, RequestInvalid."""
        with self._database.transaction() as tx:
            index = index_row(tx.session, name)
            raise_policy_versions(tx, [index.id])
            rows = sources_of(tx.session, index)
            rule = own_rule(tx.session, index)
            before = f"{names_of(rows)}; {rule.hold_days:g} days"
            if sources is not None:
                rows = [source_row(tx.session, source) for source in sources]
                set_sources(tx.session, index, rows)
            if hold_days is not None:
                rule.hold_days = checked_days(hold_days)
            tx.touch_configuration()
            after = f"{names_of(rows)}; {rule.hold_days:g} days"
            tx.record("index.edit", actor=actor, subject=name, before=before, after=after)

    def remove_index(self, name: str, *, actor: str) -> None:
        """Delete an index; its sources and their files stay. Raises: NotFound, Conflict for ``main``."""
        if name == MAIN:
            raise Conflict("the index main cannot be removed: /simple/ is its address")
        with self._database.transaction() as tx:
            index = index_row(tx.session, name, locked=True)  # nobody decides anything for it from here on
            before = names_of(sources_of(tx.session, index))
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


def _forget_looks(tx: Transaction, row: Source) -> None:
    """Another address is another page: nothing that is known of the old one may answer a condition."""
    tx.session.execute(
        update(Project)
        .where(Project.source_id == row.id)
        .values(etag=None, upstream_serial=None, looked_at=0, missing_since=None)
    )
    tx.session.execute(delete(SyncDue).where(SyncDue.source_id == row.id))
    tx.session.execute(
        update(SyncState)
        .where(SyncState.source_id == row.id)
        .values(root_etag=None, root_serial=None, compared_at=None, alarm=None)
    )
