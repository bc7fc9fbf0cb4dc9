"""Why a file is visible, held or rejected: what the gate says of a project, with everything it rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import structs

from koschey.domain.decisions import canonical
from koschey.domain.explaining import file_words, near, policy_words, summary, version_words
from koschey.domain.explanation import iso, moment, sentence
from koschey.domain.names import NormalizedName
from koschey.domain.quarantine import State
from koschey.domain.why import Explanation, Said, VersionWords
from koschey.services.cases import Case, Cases, Judged
from koschey.services.catalog import Catalog
from koschey.services.gate import Gate
from koschey.stores.database import Database

#: Versions on a page of a project, hidden files that are shown with each, and files on a page of a version.
_VERSIONS_AT_ONCE = 100
_FILES_BESIDE = 5
_FILES_AT_ONCE = 100
#: Of the decisions about a scope the latest are shown; the audit has them all.
_DECISIONS_SHOWN = 100


class Explanations:
    """Explains verdicts, with the same few queries for each page however many files a project has.

    Args:
        contact: whom to ask, text or URL.
    """

    def __init__(self, database: Database, gate: Gate, catalog: Catalog, *, contact: str) -> None:
        self._cases = Cases(database, gate, catalog)
        self._contact = contact

    def project(self, index_name: str, name: NormalizedName, *, after: str | None = None) -> Explanation:
        """A project's versions, newest first, each with some of its hidden files.

        Args:
            after: the last version of the part before; one that is not known begins at the beginning.

        Raises:
            NotFound, UpstreamError, Busy: as its page.
        """
        return self.of_project(self.case(index_name, name), after=after)

    def case(self, index_name: str, name: NormalizedName) -> Case:
        """What ``of_project`` and ``of_version`` explain. Raises: as ``project``."""
        return self._cases.case(index_name, name)

    def of_project(self, case: Case, *, after: str | None = None) -> Explanation:
        """As ``project``, of a case."""
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
        return self.of_version(self.case(index_name, name), version, after=after)

    def of_version(self, case: Case, version: str, *, after: str | None = None) -> Explanation:
        """As ``version``, of a case."""
        wanted, spelling = canonical(version), case.spelling(version)
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
        case = self._cases.case(index_name, name)
        versions = [version for version in case.versions if accepts(version)]
        files: dict[str | None, Sequence[Judged]] = {
            v: [file for file in case.releases[v] if not file[1].visible] for v in versions
        }
        names = {file.filename for v in versions for file, _ in case.releases[v]}
        spellings = {canonical(version) for version in versions}
        decisions = [d for d in case.decisions if any(_covers(d, s, names) for s in spellings)]
        if not versions:
            words = f"no known version of {name} matches"
            return self._explanation(case, [], (), decisions, sentence=words, near=tuple(case.versions[:3]))
        return self._explanation(case, list(versions), self._words(case, files), decisions)

    def _words(
        self, case: Case, files: Mapping[str | None, Sequence[Judged]], next_file: str | None = None
    ) -> tuple[VersionWords, ...]:
        """Versions with those of their files that are to be explained."""
        policy, at = case.judge.policy, case.at
        answers = self._cases.answers([file.id for judged in files.values() for file, _ in judged])
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

    def _explanation(
        self,
        case: Case,
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
            merged=None if case.merged is None else case.merged.name,
            policy=policy_words(case.judge.policy, hosted=case.hosted and case.merged is None),
            visible=counts[State.VISIBLE],
            held=counts[State.HELD],
            rejected=counts[State.REJECTED],
            versions=words,
            decisions=_spelled(case, decisions[-_DECISIONS_SHOWN:][::-1]),
            contact=self._contact,
            **(facts | further),
        )

    def _unknown(self, case: Case, version: str) -> Explanation:
        if case.hosted or case.project.looked_at is None:
            words = f"there is no version {version} of {case.name} here"
        else:
            looked = moment(case.project.looked_at, case.at)
            words = f"{case.source.name} listed no version {version} of {case.name} as of {looked}"
        return self._explanation(
            case, [], (), [], version=version, sentence=words, near=near(version, case.versions)
        )


def _spelled(case: Case, decisions: Sequence[Said]) -> tuple[Said, ...]:
    """Decisions, which have canonical versions, with these as the project spells them."""
    if not any(decision.version for decision in decisions):
        return tuple(decisions)
    known = {canonical(version): version for version in reversed(case.versions)}
    return tuple(
        structs.replace(decision, version=known.get(decision.version or "", decision.version))
        for decision in decisions
    )


def _state(judged: Sequence[Judged]) -> State:
    states = {verdict.state for _, verdict in judged}
    return next(state for state in State if state in states)


def _covers(decision: Said, version: str, filenames: set[str]) -> bool:
    """Whether a decision is about a canonical version, its project, or one of these files."""
    if decision.filename is not None:
        return decision.filename in filenames
    return decision.version is None or canonical(decision.version) == version
