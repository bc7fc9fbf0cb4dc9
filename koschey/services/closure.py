"""What a held version needs to be installed: the held part of the closure of its dependencies.

Markers are read leniently: what any environment could need is needed, extras only when they are asked for.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from sqlalchemy import Connection

from koschey.domain.decisions import canonical
from koschey.domain.explanation import sentence
from koschey.domain.names import normalize
from koschey.domain.quarantine import Rule, State, Verdict
from koschey.errors import Conflict, NotFound
from koschey.services.approval import refuse_rejected
from koschey.services.configuration import MAIN, Configuration, IndexConfig
from koschey.services.gate import Judge
from koschey.services.known import KnownFile, decisions_about, files_of, judge, owners, projects_named, shown
from koschey.services.plan import Needed, Plan, PlannedFile, Unsatisfied
from koschey.services.requirements import Requirements
from koschey.services.scope import near, scope_of
from koschey.stores.database import Database, now

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

#: Versions in one plan; nobody reviews more.
MOST = 300


class Closure:
    """Makes plans; ``Review.approve_plan`` carries them out."""

    def __init__(self, database: Database, configuration: Configuration, requirements: Requirements) -> None:
        self._database = database
        self._configuration = configuration
        self._requirements = requirements

    def plan(
        self,
        name: str,
        version: str,
        filename: str | None = None,
        *,
        index: str | None = None,
        include_failed: bool = False,
    ) -> Plan:
        """What is to be approved so that a version can be installed from an index.

        Args:
            index: None: ``main``.
            include_failed: whether a dependency may be one that failed a check.

        Raises:
            NotFound: no such version or file. Conflict: it is rejected, or it needs too much.
        """
        config = self._configuration.index(index or MAIN)
        scope = scope_of(name, version, filename, index)
        assert scope.version is not None
        walk = _Walk(self._database, config, self._requirements, include_failed=include_failed)
        while True:
            walk.begin(scope.name, scope.version, scope.filename)
            plan = walk.finish()
            if not walk.passes_over():
                return plan


class _Release:
    """A version of a project, with the verdicts on its files."""

    def __init__(self, version: Version, spelled: str) -> None:
        self.version = version
        self.spelled = spelled
        self.files: list[tuple[KnownFile, Verdict]] = []

    @property
    def visible(self) -> bool:
        return any(verdict.visible for _, verdict in self.files)

    @property
    def yanked(self) -> bool:
        return all(file.yanked for file, _ in self.files)

    def approvable(self, *, include_failed: bool) -> list[tuple[KnownFile, Verdict]]:
        rules = {Rule.TIME, Rule.MISSING_CHECK} | ({Rule.FAILED_CHECK} if include_failed else set())
        return [
            (file, verdict)
            for file, verdict in self.files
            if verdict.state is State.HELD and verdict.rule in rules and file.sha256 is not None
        ]


class _Chosen:
    """A version that is in the plan, with the extras of it that are needed."""

    def __init__(self, name: str, release: _Release, files: Sequence[tuple[KnownFile, Verdict]]) -> None:
        self.name = name
        self.release = release
        self.files = files
        self.extras: set[str] = set()
        self.why: list[str] = []
        self.specifiers: list[SpecifierSet] = []


class _Walk:
    """Goes from a version to what it needs, and on; every version is looked at once for each new extra."""

    def __init__(
        self, database: Database, index: IndexConfig, requirements: Requirements, *, include_failed: bool
    ) -> None:
        self._database = database
        self._index = index
        self._requirements = requirements
        self._include_failed = include_failed
        self._at = now()
        self._projects: dict[str, tuple[Judge | None, list[_Release]]] = {}
        self._passed_over: set[tuple[str, Version]] = set()

    def begin(self, name: str, version: str, filename: str | None) -> None:
        """Take the version that was asked for. Raises: NotFound, Conflict."""
        self._chosen: dict[tuple[str, Version], _Chosen] = {}
        self._queue: deque[_Chosen] = deque()
        self._unsatisfied: dict[tuple[str, str], Unsatisfied] = {}
        self._unknown: dict[str, None] = {}
        _, releases = self._project(name)
        release = next((r for r in releases if canonical(r.spelled) == version), None)
        if release is None:
            known = near(version, {r.spelled for r in releases})
            raise NotFound("version", f"{name}=={version}", known)
        files = [(f, v) for f, v in release.files if filename in (None, f.filename)]
        if not files:
            raise NotFound("file", filename or "", [f.filename for f, _ in release.files][:5])
        for file, verdict in files:
            refuse_rejected(file.filename, {self._index.name: verdict})
        hidden = [(f, v) for f, v in files if v.state is State.HELD]
        self._choose(name, release, hidden)

    def finish(self) -> Plan:
        while self._queue:
            self._expand(self._queue.popleft())
        return Plan(
            index=self._index.name,
            versions=tuple(
                Needed(
                    chosen.name,
                    chosen.release.spelled,
                    tuple(self._planned(chosen.name, file, verdict) for file, verdict in chosen.files),
                    tuple(chosen.why),
                )
                for chosen in self._chosen.values()
                if chosen.files
            ),
            unsatisfied=tuple(self._unsatisfied.values()),
            unknown=tuple(self._unknown),
        )

    def passes_over(self) -> bool:
        """Whether another chosen version does in the place of one; then begin again, without that.

        A requirement that came first took the newest, and one that came later needs an older one.
        """
        found: dict[str, Version] = {}
        for (name, version), chosen in self._chosen.items():
            others = [o.release for o in self._chosen.values() if o.name == name and o is not chosen]
            needless = chosen.specifiers and any(_fits(other, chosen.specifiers) for other in others)
            if needless and (name, version) not in self._passed_over:
                found.setdefault(name, version)
        self._passed_over.update(found.items())
        return bool(found)

    def _planned(self, name: str, file: KnownFile, verdict: Verdict) -> PlannedFile:
        return PlannedFile(file.filename, file.sha256, self._words(name, verdict))

    def _words(self, name: str, verdict: Verdict) -> str:
        judge, _ = self._project(name)
        assert judge is not None
        return sentence(verdict, judge.policy, self._at)

    def _choose(
        self,
        name: str,
        release: _Release,
        files: Sequence[tuple[KnownFile, Verdict]],
        requirement: Requirement | None = None,
        why: str = "",
    ) -> None:
        chosen = self._chosen.get((name, release.version))
        new = chosen is None
        if chosen is None:
            if len(self._chosen) >= MOST:
                raise Conflict(f"it needs more than {MOST} versions that are held; approve step by step")
            chosen = self._chosen[name, release.version] = _Chosen(name, release, files)
        if why and why not in chosen.why:
            chosen.why.append(why)
        if requirement is not None:
            chosen.specifiers.append(requirement.specifier)
        extras = () if requirement is None else requirement.extras
        more = {canonicalize_name(extra) for extra in extras} - chosen.extras
        chosen.extras |= more
        if new or more:
            self._queue.append(chosen)

    def _expand(self, chosen: _Chosen) -> None:
        by = f"{chosen.name} {chosen.release.spelled}"
        required = self._requirements.of([file for file, _ in chosen.release.files])
        if required is None:
            self._unknown[by] = None
            return
        from packaging.requirements import InvalidRequirement, Requirement  # only for plans

        for line in required:
            try:
                requirement = Requirement(line)
            except InvalidRequirement:
                self._miss(line, by, "it cannot be read")
                continue
            if _wanted(requirement, chosen.extras):
                self._satisfy(requirement, by)

    def _satisfy(self, requirement: Requirement, by: str) -> None:
        name = normalize(requirement.name)
        if requirement.url is not None:
            self._miss(str(requirement), by, "it names a URL, not a version of an index")
            return
        _, releases = self._project(name)
        fitting = [r for r in releases if requirement.specifier.contains(r.version, prereleases=True)]
        pinned = any(specifier.operator in ("==", "===") for specifier in requirement.specifier)
        usable = [r for r in fitting if pinned or not r.yanked]
        if any(release.visible for release in usable):
            return
        why = f"{by} requires {requirement}"
        for release in usable:
            if (name, release.version) in self._chosen:
                self._choose(name, release, (), requirement, why)
                return
        finals_first = sorted(usable, key=lambda r: (not r.version.is_prerelease, r.version), reverse=True)
        for release in sorted(finals_first, key=lambda r: (name, r.version) in self._passed_over):
            files = release.approvable(include_failed=self._include_failed)
            if files:
                self._choose(name, release, files, requirement, why)
                return
        self._miss(str(requirement), by, self._problem(name, releases, finals_first))

    def _problem(self, name: str, releases: Sequence[_Release], fitting: Sequence[_Release]) -> str:
        if not releases:
            return f"no files of {name} are known in index {self._index.name}"
        if not fitting:
            return f"no known version of {name} fits"
        file, verdict = fitting[0].files[0]
        return f"{file.filename}: {self._words(name, verdict)}"

    def _miss(self, requirement: str, by: str, problem: str) -> None:
        self._unsatisfied.setdefault((requirement, by), Unsatisfied(requirement, by, problem))

    def _project(self, name: str) -> tuple[Judge | None, list[_Release]]:
        """The judge of a name in the index, and its releases."""
        if name not in self._projects:
            with self._database.reading() as session:
                self._projects[name] = self._read(session.connection(), name)
        return self._projects[name]

    def _read(self, connection: Connection, name: str) -> tuple[Judge | None, list[_Release]]:
        parts = owners(self._index, projects_named(connection, [name]))
        if not parts:
            return None, []
        decided = any(project.decided for project in parts)
        decisions = decisions_about(connection, [name] if decided else [])
        quarantined = parts[0].status == "quarantined"
        judges = {
            project.id: judge(self._index, project, decisions, quarantined=quarantined) for project in parts
        }
        files = files_of(connection, list(judges))
        releases: dict[Version, _Release] = {}
        for project, file in shown([(project, files[project.id]) for project in parts]):
            parsed = _parsed(file.version)
            if parsed is not None and file.version is not None:
                release = releases.setdefault(parsed, _Release(parsed, file.version))
                release.files.append((file, judges[project.id].verdict(file, self._at)))
        # The last part is the upstream's where there is one: what is held, its policy holds.
        return judges[parts[-1].id], list(releases.values())


def _fits(release: _Release, specifiers: Iterable[SpecifierSet]) -> bool:
    return all(specifier.contains(release.version, prereleases=True) for specifier in specifiers)


def _parsed(version: str | None) -> Version | None:
    try:
        return None if version is None else Version(version)
    except InvalidVersion:
        return None


_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']|["']([^"']+)["']\s*==\s*extra""")


def _wanted(requirement: Requirement, extras: set[str]) -> bool:
    """Whether any environment needs it; what an extra needs counts only with that extra."""
    named = {canonicalize_name(a or b) for a, b in _EXTRA.findall(str(requirement.marker or ""))}
    return not named or bool(named & extras)
