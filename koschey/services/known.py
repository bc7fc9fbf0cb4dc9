"""What is known of names, read in few queries: projects, files, decisions, and who judges them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select, text

from koschey.domain.page import Microseconds
from koschey.domain.policy import Policy
from koschey.services.configuration import IndexConfig
from koschey.services.gate import Judge, in_force, withdrawal
from koschey.stores.lookup import DECISION_COLUMNS
from koschey.stores.models import File, Project, ProjectState, SourceKind

_PROJECTS = Project.__table__
_FILES = File.__table__
#: Names or ids in one statement: a plan for few is remembered, and SQLite takes 32,766 variables.
AT_ONCE = 500


class KnownProject(NamedTuple):
    """A name in one source, as ``koschey.stores.models.Project`` has it."""

    id: int
    name: str
    source_id: int
    state: str
    status: str
    decided: bool


class KnownFile(NamedTuple):
    """A file, as ``koschey.stores.models.File`` has it."""

    id: int
    project_id: int
    filename: str
    version: str | None
    sha256: str | None
    upload_time: Microseconds | None
    first_seen: Microseconds
    previous_look: Microseconds | None
    withdrawn_at: Microseconds | None
    checks: str | None
    yanked: bool
    metadata_stored: bool
    metadata_sha256: str | None
    deleted_at: Microseconds | None


#: Decisions about a name, as tuples of ``lookup.DECISION_COLUMNS``.
Decisions = dict[str, list[tuple[Any, ...]]]


def projects_named(
    connection: Connection, names: Sequence[str], *, locked: bool = False
) -> list[KnownProject]:
    """The projects of those normalised names in every source, in order of their ids.

    Args:
        locked: keep other writers off them until the commit.
    """
    found = []
    for batch in batches(sorted(names)):
        query = select(*(_PROJECTS.c[name] for name in KnownProject._fields)).where(
            _PROJECTS.c.name.in_(batch)
        )
        query = query.order_by(_PROJECTS.c.id)
        found += [
            KnownProject._make(row)
            for row in connection.execute(query.with_for_update() if locked else query)
        ]
    return sorted(found)


def files_of(
    connection: Connection, project_ids: Sequence[int], *conditions: Any
) -> dict[int, list[KnownFile]]:
    """The files of projects by the project's id, in the order in which they came."""
    found: dict[int, list[KnownFile]] = defaultdict(list)
    for batch in batches(sorted(project_ids)):
        query = select(*(_FILES.c[name] for name in KnownFile._fields))
        query = query.where(_FILES.c.project_id.in_(batch), *conditions).order_by(_FILES.c.id)
        for row in connection.execute(query):
            found[row[1]].append(KnownFile._make(row))
    return found


def decisions_about(connection: Connection, names: Iterable[str]) -> Decisions:
    """Every decision about those normalised names, in order."""
    found: Decisions = defaultdict(list)
    for batch in batches(sorted(names)):
        for row in connection.execute(_DECISIONS, {"names": batch}):
            found[row[-1]].append(tuple(row[:-1]))
    return found


_DECISIONS = text(
    f"SELECT {DECISION_COLUMNS}, name FROM decision WHERE name IN :names ORDER BY id"  # noqa: S608 - our own names
).bindparams(bindparam("names", expanding=True))


def owners(index: IndexConfig, projects: Iterable[KnownProject]) -> list[KnownProject]:
    """Of the projects of one name, those that have it in an index, as ``koschey.services.standing`` says it.

    One or none; for a merged name the hosted one and an upstream's, in this order.
    """
    by_source = {project.source_id: project for project in projects}
    if not by_source:
        return []
    outside = index.outside(next(iter(by_source.values())).name, by_source)
    found: list[KnownProject] = []
    for source in index.sources:
        project = by_source.get(source.id)
        if project is None or project.state == ProjectState.ABSENT:
            continue
        if source.kind is SourceKind.HOSTED:
            if project.state == ProjectState.PRESENT and not found:
                found.append(project)
        elif outside.asked:
            found.append(project)
            break
    return found


def shown(parts: Sequence[tuple[KnownProject, Sequence[KnownFile]]]) -> list[tuple[KnownProject, KnownFile]]:
    """The files of a name's parts, in order: of two of one filename the first part's."""
    named: set[str] = set()
    found = []
    for project, files in parts:
        found += [(project, file) for file in files if file.filename not in named and not file.deleted_at]
        named.update(file.filename for file in files)
    return found


def judge(
    index: IndexConfig,
    project: KnownProject,
    decisions: Decisions,
    policy: Callable[[str], Policy] | None = None,
    *,
    quarantined: bool = False,
) -> Judge:
    """The judge of a project that one of the index's sources has.

    Args:
        decisions: those about its name, and of others, as ``decisions_about`` gives them.
        policy: what would hold for a name that is held at all, in place of what does.
        quarantined: as for ``Gate.judge``.
    """
    source = next(source for source in index.sources if source.id == project.source_id)
    upstream = source.kind is not SourceKind.HOSTED
    return Judge(
        policy(project.name) if policy and upstream else index.policy(source, project.name),
        in_force(decisions.get(project.name, ()), index, source),
        withdrawal(source, project.state, "quarantined" if quarantined else project.status),
    )


def batches[T](items: Sequence[T]) -> Iterable[Sequence[T]]:
    """Slices that fit into one statement."""
    for start in range(0, len(items), AT_ONCE):
        yield items[start : start + AT_ONCE]
