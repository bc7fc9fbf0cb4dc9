"""Cases: a project in an index, with the verdicts on its files and what they rest on, as it is stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from koschey.domain.decisions import Decision, Kind, canonical
from koschey.domain.explaining import newest_first, said
from koschey.domain.names import NormalizedName
from koschey.domain.page import Microseconds
from koschey.domain.quarantine import Verdict
from koschey.domain.why import Said
from koschey.errors import NameUnused, NotFound
from koschey.services.catalog import Catalog
from koschey.services.configuration import IndexConfig, SourceConfig
from koschey.services.gate import Gate, Judge, decision_of
from koschey.stores.database import Database, now
from koschey.stores.lookup import DECISION_COLUMNS
from koschey.stores.models import File, Project, SourceKind
from koschey.stores.quarantine_rows import CheckResult

_IDS_AT_ONCE = 500


class ProjectRow(NamedTuple):
    id: int
    source_id: int
    state: str
    status: str
    serial: int
    decided: bool
    status_reason: str | None
    looked_at: int | None


class FileRow(NamedTuple):
    id: int
    filename: str
    version: str | None
    sha256: str | None
    upload_time: int | None
    first_seen: int
    previous_look: int | None
    withdrawn_at: int | None
    checks: str | None
    requires_python: str | None
    yanked: bool
    yanked_reason: str | None
    project_id: int
    deleted_at: int | None
    size: int | None
    provenance_url: str | None
    provenance_sha256: str | None


Judged = tuple[FileRow, Verdict]
_DECISIONS = text(f"SELECT {DECISION_COLUMNS} FROM decision WHERE name IN (:name, '') ORDER BY id")  # noqa: S608 - our own names


@dataclass(frozen=True)
class Case:
    """A project in an index: the verdicts on its files, and what was ever decided about it."""

    name: str
    index: IndexConfig
    source: SourceConfig
    project: ProjectRow
    """The hosted one of a merged name."""
    judge: Judge
    """Of what comes from outside, where the name has that; no other file can be held."""
    merged: SourceConfig | None
    """The upstream whose files stand beside the hosted ones."""
    at: Microseconds
    releases: Mapping[str | None, Sequence[Judged]]
    """By version, newest first, those of no version last; of each the hidden files first."""
    decisions: Sequence[Said]

    @property
    def versions(self) -> list[str]:
        """Those that are known, newest first."""
        return [version for version in self.releases if version is not None]

    def spelling(self, version: str) -> str | None:
        """A version in any spelling as its first file spells it; None when it is not known."""
        wanted = canonical(version)
        return next((known for known in self.versions if canonical(known) == wanted), None)

    @property
    def hosted(self) -> bool:
        """Whether the company's own store has it."""
        return self.source.kind is SourceKind.HOSTED


class Cases:
    """Reads cases: the same few queries for each, however many files a project has."""

    def __init__(self, database: Database, gate: Gate, catalog: Catalog) -> None:
        self._database = database
        self._gate = gate
        self._catalog = catalog

    def case(self, index_name: str, name: NormalizedName) -> Case:
        """A project, looked for outside first where that is due.

        Raises:
            NotFound, UpstreamError, Busy: as its page.
        """
        index, stands = self._catalog.stands(index_name, name)
        if stands.owner is None:
            raise NameUnused(name) if stands.own else NotFound("project", name)
        ids = [part.project_id for part in stands.parts]
        at = now()
        with self._database.reading() as session:
            columns = [getattr(Project, column) for column in ProjectRow._fields]
            found = {row.id: row for row in session.execute(select(*columns).where(Project.id.in_(ids)))}
            if not all(project_id in found for project_id in ids):
                raise NotFound("project", name)
            projects = [ProjectRow._make(found[project_id]) for project_id in ids]
            files = [getattr(File, column) for column in FileRow._fields]
            rows = session.execute(select(*files).where(File.project_id.in_(ids)).order_by(File.id)).all()
            decisions = session.execute(_DECISIONS, {"name": name}).all()
        quarantined = projects[0].status == "quarantined"
        judges = {
            project.id: self._gate.judge(index, name, project, quarantined=quarantined)
            for project in projects
        }
        judged = [
            (file, judges[file.project_id].verdict(file, at))
            for file in _shown(ids, map(FileRow._make, rows))
        ]
        sources = [next(s for s in index.sources if s.id == project.source_id) for project in projects]
        return Case(
            name=name,
            index=index,
            source=sources[0],
            project=projects[0],
            judge=judges[ids[-1]],
            merged=sources[1] if len(sources) > 1 else None,
            at=at,
            releases=_releases(judged),
            decisions=_said(decisions, index, sources[-1], at),
        )

    def answers(self, file_ids: Sequence[int]) -> Mapping[int, dict[str, tuple[str, str, int]]]:
        """By file and check, the latest answer: outcome, reason, time."""
        answers: dict[int, dict[str, tuple[str, str, int]]] = defaultdict(dict)
        with self._database.reading() as session:
            for start in range(0, len(file_ids), _IDS_AT_ONCE):
                for row in _latest(session, file_ids[start : start + _IDS_AT_ONCE]):
                    answers[row.file_id][row.check] = (row.outcome, row.reason, row.at)
        return answers


def _shown(project_ids: Sequence[int], files: Iterable[FileRow]) -> list[FileRow]:
    """The files of a name's projects: of two of one filename the first project's."""
    by_project: dict[int, list[FileRow]] = defaultdict(list)
    for file in files:
        by_project[file.project_id].append(file)
    named: set[str] = set()
    found = []
    for project_id in project_ids:
        found += [f for f in by_project[project_id] if f.filename not in named and f.deleted_at is None]
        named.update(file.filename for file in by_project[project_id])
    return found


def _latest(session: Session, file_ids: Sequence[int]) -> Iterable[Any]:
    newest = (
        select(func.max(CheckResult.id))
        .where(CheckResult.file_id.in_(file_ids))
        .group_by(CheckResult.file_id, CheckResult.check)
    )
    columns = (
        CheckResult.file_id,
        CheckResult.check,
        CheckResult.outcome,
        CheckResult.reason,
        CheckResult.at,
    )
    return session.execute(select(*columns).where(CheckResult.id.in_(newest)))


def _releases(judged: Iterable[Judged]) -> Mapping[str | None, Sequence[Judged]]:
    """Files by release; 1.0 and 1.0.0 are one, spelt as its first file spells it."""
    spelling: dict[str, str] = {}
    releases: dict[str | None, list[Judged]] = defaultdict(list)
    for file, verdict in judged:
        version = file.version
        if version is not None:
            version = spelling.setdefault(canonical(version), version)
        releases[version].append((file, verdict))
    ordered: list[str | None] = list(newest_first(spelling.values()))
    if None in releases:
        ordered.append(None)
    return {v: sorted(releases[v], key=lambda file: (file[1].visible, file[0].filename)) for v in ordered}


def _said(
    rows: Iterable[Sequence[Any]], index: IndexConfig, source: SourceConfig, at: Microseconds
) -> list[Said]:
    """The decisions about a project that concern an index, reverted ones too, in order."""
    made = list(rows)
    reverts: dict[int, Decision] = {row[11]: decision_of(row) for row in made if row[1] == Kind.REVERT}
    return [
        said(decision_of(row), at, reverts.get(row[0]))
        for row in made
        if row[1] != Kind.REVERT and row[5] in (None, index.name) and row[12] in (None, source.name)
    ]
