"""The newest visible version of a name in each index, by what is stored: nobody outside is asked for it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from koschey.domain.explaining import newest_first
from koschey.domain.page import Microseconds
from koschey.services.configuration import IndexConfig
from koschey.services.known import Decisions, KnownProject, files_of, judge, owners, shown


def newest_visible(
    connection: Connection,
    indexes: Sequence[IndexConfig],
    projects: Sequence[KnownProject],
    decisions: Decisions,
    at: Microseconds,
) -> dict[str, str]:
    """By name of the index the newest version of which a file is visible; indexes without one are left out.

    Args:
        projects: what every source has of the name.
        decisions: those about it (``koschey.services.known.decisions_about``).
        at: the time of the verdicts.
    """
    files = files_of(connection, [project.id for project in projects])
    newest: dict[str, str] = {}
    for index in indexes:
        parts = owners(index, projects)
        quarantined = bool(parts) and parts[0].status == "quarantined"
        judges = {part.id: judge(index, part, decisions, quarantined=quarantined) for part in parts}
        versions = {
            file.version
            for part, file in shown([(part, files[part.id]) for part in parts])
            if file.version and judges[part.id].verdict(file, at).visible
        }
        if versions:
            newest[index.name] = newest_first(versions)[0]
    return newest
