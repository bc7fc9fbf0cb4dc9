"""Who wants versions that are hidden: people who ask for them, and downloads before they were hidden."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ScalarSelect, func, select
from sqlalchemy.orm import Session

from koschey.domain.page import Microseconds
from koschey.domain.policy import DAY
from koschey.stores.ask_rows import AskRow
from koschey.stores.models import Download, File

RECENT_DAYS = 30


def wishes_for(session: Session, names: set[str], releases: set[str]) -> dict[tuple[str, str], int]:
    """How many people ask for versions of some names now, in all indexes."""
    query = select(AskRow.project, AskRow.version, func.sum(AskRow.people))
    query = query.where(AskRow.project.in_(names), AskRow.version.in_(releases), AskRow.state == "open")
    rows = session.execute(query.group_by(AskRow.project, AskRow.version))
    return {(name, release): int(people) for name, release, people in rows}


def downloads_lately(at: Microseconds) -> ScalarSelect[Any]:
    """How often a file (``File``, of the query that this is a column of) was downloaded in the last days."""
    counted = select(func.sum(Download.count)).where(
        Download.file_id == File.id, Download.day >= at // DAY - RECENT_DAYS
    )
    return counted.correlate(File).scalar_subquery()
