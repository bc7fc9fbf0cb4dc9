"""Recorded holds are what the verdicts come to, each with an event; root lists are what the database says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from sqlalchemy import bindparam, select, text

from koschey.domain.simple_api import read_entries
from koschey.services.configuration import IndexConfig
from koschey.services.fsck.findings import Context, Finding
from koschey.services.known import KnownFile, KnownProject, decisions_about, files_of, judge
from koschey.services.root_build import bodies, fingerprint, inflate, stored
from koschey.services.root_names import listed
from koschey.stores.database import now
from koschey.stores.models import File, IndexRow, Project, ProjectState, SourceKind

_FILES, _PROJECTS = File.__table__, Project.__table__
_AT_ONCE = 100
#: Seconds that the sweeps may take to record that a hold has ended.
_LATE = 3600
_HOLDS_AT_ONCE = 500
_IS_SETTLED = IndexRow.settled_version >= IndexRow.policy_version


def holds(context: Context) -> Iterator[Finding]:
    """Judge every file and compare with what is recorded of it."""
    with context.database.reading() as session:
        for name in session.scalars(select(IndexRow.name).where(~_IS_SETTLED).order_by(IndexRow.name)):
            context.left_out(f"index {name}: its policy changed, and its holds are being settled by it")
    after = 0
    while projects := _next_projects(context, after):
        after = projects[-1].id
        for project, problem in _wrong(context, projects):
            if context.repair:
                with context.database.transaction() as tx:
                    context.holds.settle(tx, [project.id], actor=context.actor, at=now())
            yield Finding(
                "holds",
                project.name,
                problem,
                mended=context.repair,
                advice="--repair records the verdicts again; they themselves are not concerned",
            )
        context.step(len(projects))


def _wrong(context: Context, projects: Sequence[KnownProject]) -> Iterator[tuple[KnownProject, str]]:
    with context.database.snapshot() as connection:
        settled = set(connection.execute(select(IndexRow.id).where(_IS_SETTLED)).scalars())
        ids = [project.id for project in projects]
        files = files_of(connection, ids, _FILES.c.deleted_at.is_(None))
        decisions = decisions_about(connection, {project.name for project in projects if project.decided})
        recorded: dict[int, dict[int, Any]] = defaultdict(dict)
        for row in connection.execute(_RECORDED, {"ids": ids}):
            recorded[row.index_id][row.file_id] = row
        at = now()
    for project in projects:
        hosted = context.configuration.source(project.source_id).kind is SourceKind.HOSTED
        if hosted and project.status == "quarantined":
            continue  # of that nothing is recorded: its own maintainers said so, and no reviewer can end it
        for index in context.configuration.indexes_of(project.source_id):
            if index.id in settled:  # otherwise somebody is at it
                problem = _compared(index, project, files[project.id], decisions, recorded[index.id], at)
                if problem is not None:
                    yield project, problem
                    break


def _compared(
    index: IndexConfig,
    project: KnownProject,
    files: Sequence[KnownFile],
    decisions: Any,
    recorded: dict[int, Any],
    at: int,
) -> str | None:
    """The first file of which something else is recorded than is so."""
    judging = judge(index, project, decisions)
    for file in files:
        verdict, hold = judging.verdict(file, at), recorded.get(file.id)
        if hold is not None and hold.until is not None and at - _LATE * 1_000_000 < hold.until <= at:
            continue  # the next sweep records it
        said = "visible" if hold is None else f"{hold.state} ({hold.rule})"
        is_so = "visible" if verdict.visible else f"{verdict.state} ({verdict.rule})"
        if said != is_so:
            return f"{file.filename} is {is_so} in index {index.name}, and {said} is recorded"
    return None


def _next_projects(context: Context, after: int) -> list[KnownProject]:
    columns = (_PROJECTS.c[name] for name in KnownProject._fields)
    query = select(*columns).where(_PROJECTS.c.id > after, _PROJECTS.c.state != ProjectState.ABSENT)
    with context.database.reading() as session:
        rows = session.execute(query.order_by(_PROJECTS.c.id).limit(_AT_ONCE))
        return [KnownProject._make(row) for row in rows]


def events(context: Context) -> Iterator[Finding]:
    """Every recorded hold has an event that says so (HARDENING 7)."""
    after = (0, 0)
    while True:
        with context.database.reading() as session:
            rows = session.execute(
                _HOLDS, {"index": after[0], "file": after[1], "limit": _HOLDS_AT_ONCE}
            ).all()
            names = {row.name for row in rows}
            said = set(map(tuple, session.execute(_SAID, {"names": list(names)}))) if names else set()
        for row in rows:
            if (row.name, row.index, row.filename) not in said:
                yield Finding(
                    "events",
                    row.filename,
                    f"is hidden in index {row.index}, and no event says since when",
                    advice="nothing can be mended: events are only ever appended",
                )
        context.step(len(rows))
        if len(rows) < _HOLDS_AT_ONCE:
            return
        after = (rows[-1].index_id, rows[-1].file_id)


def roots(context: Context) -> Iterator[Finding]:
    """A stored root list that is up to date has the names and serials that the database has."""
    for index in context.configuration.indexes():
        with context.database.snapshot() as connection:
            built = stored(connection, index.id)
            last = connection.execute(text("SELECT value FROM counter WHERE name = 'serial'")).scalar_one()
            if built is None or built.serial != last or built.sources != fingerprint(index):
                continue  # short, or about to be built
            pieces = bodies(connection, index.id)
            ours = ((e.name, e.serial) for body in pieces for e in read_entries(inflate(body)))
            theirs = (name for name in listed(connection, index, now()) if name.serial is not None)
            differ = next(((a, b) for a, b in zip_longest(ours, theirs) if a != b), None)
        context.step(built.names)
        if differ is None:
            continue
        if context.repair:
            with context.database.transaction() as tx:
                tx.connection.execute(_UNBUILD, {"index": index.id})
            context.roots.build()
        yield Finding(
            "roots",
            index.name,
            f"its root list has {differ[0] or 'an end'} where the database has {differ[1] or 'none'}",
            mended=context.repair,
            advice="--repair builds it again",
        )


_RECORDED = text(
    "SELECT index_id, file_id, state, rule, until FROM hold WHERE project_id IN :ids"
).bindparams(bindparam("ids", expanding=True))
_HOLDS = text(
    'SELECT h.index_id, h.file_id, p.name, i.name AS "index", f.filename FROM hold h '
    "JOIN file f ON f.id = h.file_id JOIN project p ON p.id = h.project_id "
    'JOIN "index" i ON i.id = h.index_id '
    "WHERE h.index_id > :index OR (h.index_id = :index AND h.file_id > :file) "
    "ORDER BY h.index_id, h.file_id LIMIT :limit"
)
_SAID = text(
    'SELECT DISTINCT project, "index", subject FROM event WHERE project IN :names '
    "AND action IN ('file.held', 'file.rejected')"
).bindparams(bindparam("names", expanding=True))
_UNBUILD = text("UPDATE root_list SET sources = '' WHERE index_id = :index")
