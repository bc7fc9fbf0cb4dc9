"""What people see of a name in an index, and what another owner of it would take from them or give them."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, func, select

from koschey.domain.page import Microseconds
from koschey.domain.policy import DAY
from koschey.services.configuration import IndexConfig
from koschey.services.known import (
    KnownFile,
    KnownProject,
    batches,
    decisions_about,
    files_of,
    judge,
    owners,
    projects_named,
    shown,
)
from koschey.stores.models import Download

RECENT_DAYS = 30


class Seen(msgspec.Struct, frozen=True):
    """Some files of a name, and who uses them in one index."""

    files: int
    versions: int
    downloads: int
    """In the last 30 days."""
    clients: int
    """Users, or addresses of those who did not sign in, who made those downloads."""


class ViewChange(msgspec.Struct, frozen=True):
    """What people of an index would see no more, and what they would see instead or for the first time."""

    vanish: Seen
    appear: Seen


def view_change(
    connection: Connection, name: str, before: IndexConfig, after: IndexConfig, at: Microseconds
) -> ViewChange:
    """Compare two states of an index for a normalised name.

    Args:
        before, after: the index, with the owners of names as they are and as they would be.
        at: the time of the verdicts.
    """
    projects = projects_named(connection, [name])
    parts = {project.id: project for index in (before, after) for project in owners(index, projects)}
    files = files_of(connection, list(parts))
    was = _visible(connection, before, projects, files, at)
    will = _visible(connection, after, projects, files, at)
    return ViewChange(
        vanish=_seen(connection, before, [was[one] for one in was.keys() - will.keys()], at),
        appear=_seen(connection, before, [will[one] for one in will.keys() - was.keys()], at),
    )


def _visible(
    connection: Connection,
    index: IndexConfig,
    projects: list[KnownProject],
    files: dict[int, list[KnownFile]],
    at: Microseconds,
) -> dict[int, KnownFile]:
    parts = owners(index, projects)
    decisions = decisions_about(connection, {project.name for project in parts if project.decided})
    judges = {project.id: judge(index, project, decisions) for project in parts}
    listed = shown([(project, files[project.id]) for project in parts])
    return {file.id: file for project, file in listed if judges[project.id].verdict(file, at).visible}


def _seen(connection: Connection, index: IndexConfig, files: list[KnownFile], at: Microseconds) -> Seen:
    clients: dict[str, int] = {}
    for batch in batches(sorted(file.id for file in files)):
        query = select(Download.actor, func.sum(Download.count)).where(
            Download.file_id.in_(batch),
            Download.day >= at // DAY - RECENT_DAYS,
            Download.index_id == index.id,
        )
        for actor, count in connection.execute(query.group_by(Download.actor)):
            clients[actor] = clients.get(actor, 0) + int(count)
    return Seen(
        files=len(files),
        versions=len({file.version for file in files}),
        downloads=sum(clients.values()),
        clients=len(clients),
    )
