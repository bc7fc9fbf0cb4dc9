"""Why a file is visible, held or rejected: what the gate says of a project, with everything it rests on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from koschey.domain.decisions import Decision, Kind, canonical
from koschey.domain.explanation import iso, moment, sentence
from koschey.domain.names import NormalizedName
from koschey.domain.page import Microseconds
from koschey.domain.quarantine import State, Verdict
from koschey.domain.why import (
    Explanation,
    Said,
    VersionWords,
    file_words,
    near,
    newest_first,
    policy_words,
    said,
    summary,
    version_words,
)
from koschey.errors import NotFound
from koschey.services.catalog import Catalog
from koschey.services.configuration import IndexConfig, SourceConfig
from koschey.services.gate import Gate, Judge, decision_of
from koschey.stores.database import Database, now
from koschey.stores.lookup import DECISION_COLUMNS
from koschey.stores.models import CheckResult, File, Project, SourceKind

#: Versions on a page of a project, hidden files that are shown with each, and files on a page of a version.
_VERSIONS_AT_ONCE = 100
_FILES_BESIDE = 5
_FILES_AT_ONCE = 100
#: Of the decisions about a scope the latest are shown; the audit has them all.
_DECISIONS_SHOWN = 100
_IDS_AT_ONCE = 500


class _ProjectRow(NamedTuple):
    source_id: int
    state: str
    status: str
    serial: int
    decided: bool
    status_reason: str | None
    looked_at: int | None


class _FileRow(NamedTuple):
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


_Judged = tuple[_FileRow, Verdict]
_DECISIONS = text(f"SELECT {DECISION_COLUMNS} FROM decision WHERE name IN (:name, '') ORDER BY id")  # noqa: S608 - our own names


@dataclass(frozen=True)
class _Case:
    """A project in an index: the verdicts on its files, and what was ever decided about it."""

    name: str
    index: IndexConfig
    source: SourceConfig
    project: _ProjectRow
    judge: Judge
    at: Microseconds
    releases: Mapping[str | None, Sequence[_Judged]]
    """By version, newest first, those of no version last; of each the hidden files first."""
    decisions: Sequence[Said]

    @property
    def versions(self) -> list[str]:
        """Those that are known, newest first."""
        return [version for version in self.releases if version is not None]

    @property
    def hosted(self) -> bool:
        """Whether the company's own store has it."""
        return self.source.kind is SourceKind.HOSTED


class Explanations:
    """Explains verdicts, with the same few queries for each page however many files a project has.

    Args:
        contact: whom to ask, text or URL.
    """

    def __init__(self, database: Database, gate: Gate, catalog: Catalog, *, contact: str) -> None:
        self._database = database
        self._gate = gate
        self._catalog = catalog
        self._contact = contact

    def project(self, index_name: str, name: NormalizedName, *, after: str | None = None) -> Explanation:
        """A project's versions, newest first, each with some of its hidden files.

        Args:
            after: the last version of the part before; one that is not known begins at the beginning.

        Raises:
            NotFound, UpstreamError, Busy: as its page.
        """
        case = self._case(index_name, name)
        versions = list(case.releases)
        begin = versions.index(after) + 1 if after in case.versions else 0
        shown = versions[begin : begin + _VERSIONS_AT_ONCE]
        files = {
            version: [file for file in case.releases[version] if not file[1].visible][:_FILES_BESIDE]
            for version in shown
        }
        return self._explanation(
            case,
            versions,
            self._words(case, files),
            [d for d in case.decisions if d.version is None and d.filename is None],
            next_version=shown[-1] if begin + len(shown) < len(versions) else None,
        )

    def version(
        self, index_name: str, name: NormalizedName, version: str, *, after: str | None = None
    ) -> Explanation:
        """One version with its files, hidden ones first; ``known`` is false when there is no such version.

        Args:
            version: in any spelling.
            after: the last file of the part before.

        Raises:
            NotFound, UpstreamError, Busy: as its project's page.
        """
        case = self._case(index_name, name)
        wanted = canonical(version)
        spelling = next((known for known in case.versions if canonical(known) == wanted), None)
        if spelling is None:
            return self._unknown(case, version)
        files = case.releases[spelling]
        names = [file.filename for file, _ in files]
        begin = names.index(after) + 1 if after in names else 0
        shown = files[begin : begin + _FILES_AT_ONCE]
        more = shown[-1][0].filename if begin + len(shown) < len(files) else None
        words = self._words(case, {spelling: shown}, next_file=more)
        decisions = [d for d in case.decisions if _covers(d, wanted, set(names))]
        return self._explanation(
            case, [spelling], words, decisions, version=spelling, sentence=words[0].sentence
        )

    def matching(self, index_name: str, name: NormalizedName, accepts: Callable[[str], bool]) -> Explanation:
        """All versions that ``accepts`` takes, each with all its hidden files.

        Raises:
            NotFound, UpstreamError, Busy: as its project's page.
        """
        case = self._case(index_name, name)
        versions = [version for version in case.versions if accepts(version)]
        files: dict[str | None, Sequence[_Judged]] = {
            v: [file for file in case.releases[v] if not file[1].visible] for v in versions
        }
        names = {file.filename for v in versions for file, _ in case.releases[v]}
        spellings = {canonical(version) for version in versions}
        decisions = [d for d in case.decisions if any(_covers(d, s, names) for s in spellings)]
        if not versions:
            words = f"no known version of {name} matches"
            return self._explanation(case, [], (), decisions, sentence=words, near=tuple(case.versions[:3]))
        return self._explanation(case, list(versions), self._words(case, files), decisions)

    def _case(self, index_name: str, name: NormalizedName) -> _Case:
        index, owner = self._catalog.owner(index_name, name)
        at = now()
        with self._database.reading() as session:
            columns = [getattr(Project, column) for column in _ProjectRow._fields]
            found = session.execute(select(*columns).where(Project.id == owner.project_id)).one_or_none()
            if found is None:
                raise NotFound("project", name)
            project = _ProjectRow._make(found)
            files = [getattr(File, column) for column in _FileRow._fields]
            rows = session.execute(select(*files).where(File.project_id == owner.project_id)).all()
            decisions = session.execute(_DECISIONS, {"name": name}).all()
        source = next(source for source in index.sources if source.id == project.source_id)
        judge = self._gate.judge(index, name, project)
        judged = [(file, judge.verdict(file, at)) for file in map(_FileRow._make, rows)]
        return _Case(
            name, index, source, project, judge, at, _releases(judged), _said(decisions, index, source, at)
        )

    def _words(
        self, case: _Case, files: Mapping[str | None, Sequence[_Judged]], next_file: str | None = None
    ) -> tuple[VersionWords, ...]:
        """Versions with those of their files that are to be explained."""
        policy, at = case.judge.policy, case.at
        answers = self._answers([file.id for judged in files.values() for file, _ in judged])
        return tuple(
            version_words(
                version,
                [verdict for _, verdict in case.releases[version]],
                sentence(case.releases[version][0][1], policy, at),
                [file_words(file, verdict, policy, at, answers[file.id]) for file, verdict in judged],
                next_file,
            )
            for version, judged in files.items()
        )

    def _answers(self, file_ids: Sequence[int]) -> Mapping[int, dict[str, tuple[str, str, int]]]:
        """By file and check, the latest answer: outcome, reason, time."""
        answers: dict[int, dict[str, tuple[str, str, int]]] = defaultdict(dict)
        with self._database.reading() as session:
            for start in range(0, len(file_ids), _IDS_AT_ONCE):
                for row in _latest(session, file_ids[start : start + _IDS_AT_ONCE]):
                    answers[row.file_id][row.check] = (row.outcome, row.reason, row.at)
        return answers

    def _explanation(
        self,
        case: _Case,
        versions: Sequence[str | None],
        words: tuple[VersionWords, ...],
        decisions: Sequence[Said],
        **further: Any,
    ) -> Explanation:
        """``versions``: all that were asked for, of which ``words`` may be a part."""
        counts = Counter(_state(case.releases[version]) for version in versions)
        seen = (v for v in versions if v is not None and _state(case.releases[v]) is State.VISIBLE)
        facts = {"version": None, "known": bool(versions), "sentence": summary(counts, next(seen, None))}
        return Explanation(
            project=case.name,
            index=case.index.name,
            source=case.source.name,
            hosted=case.hosted,
            status=case.project.status,
            status_reason=case.project.status_reason,
            withdrawal=case.judge.withdrawal.value,
            looked_at=iso(case.project.looked_at),
            policy=policy_words(case.judge.policy, hosted=case.hosted),
            visible=counts[State.VISIBLE],
            held=counts[State.HELD],
            rejected=counts[State.REJECTED],
            versions=words,
            decisions=tuple(decisions[-_DECISIONS_SHOWN:][::-1]),
            contact=self._contact,
            **(facts | further),
        )

    def _unknown(self, case: _Case, version: str) -> Explanation:
        if case.hosted or case.project.looked_at is None:
            words = f"there is no version {version} of {case.name} here"
        else:
            looked = moment(case.project.looked_at, case.at)
            words = f"{case.source.name} listed no version {version} of {case.name} as of {looked}"
        return self._explanation(
            case, [], (), [], version=version, sentence=words, near=near(version, case.versions)
        )


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


def _releases(judged: Iterable[_Judged]) -> Mapping[str | None, Sequence[_Judged]]:
    """Files by release; 1.0 and 1.0.0 are one, spelt as its first file spells it."""
    spelling: dict[str, str] = {}
    releases: dict[str | None, list[_Judged]] = defaultdict(list)
    for file, verdict in judged:
        version = file.version
        if version is not None:
            version = spelling.setdefault(canonical(version), version)
        releases[version].append((file, verdict))
    ordered: list[str | None] = list(newest_first(spelling.values()))
    if None in releases:
        ordered.append(None)
    return {v: sorted(releases[v], key=lambda file: (file[1].visible, file[0].filename)) for v in ordered}


def _state(judged: Sequence[_Judged]) -> State:
    states = {verdict.state for _, verdict in judged}
    return next(state for state in State if state in states)


def _covers(decision: Said, version: str, filenames: set[str]) -> bool:
    """Whether a decision is about a canonical version, its project, or one of these files."""
    if decision.filename is not None:
        return decision.filename in filenames
    return decision.version is None or canonical(decision.version) == version


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
