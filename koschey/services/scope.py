"""What a decision is about: a project, a version or a file, in one index or in all."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from packaging.version import InvalidVersion, Version

from koschey.domain.decisions import Decision, Kind, canonical
from koschey.domain.names import NormalizedName, normalize, safe_filename, version_of
from koschey.errors import NotFound, RequestInvalid
from koschey.services.gate import decision_of
from koschey.services.known import KnownFile
from koschey.services.sitting import Sitting
from koschey.stores.models import File

_MAX_VERSION = 200
#: How many known things an error names.
_NAMED = 5


@dataclass(frozen=True)
class Scope:
    """What is spoken about; what is None is wider."""

    name: NormalizedName
    version: str | None = None
    """Canonical."""
    filename: str | None = None
    index: str | None = None
    spelled: str | None = field(default=None, compare=False)
    """The version as the project spells it; where it knows none, as it was named."""

    @property
    def text(self) -> str:
        """For people."""
        if self.filename is not None:
            return self.filename
        return self.name if self.version is None else f"{self.name}=={self.spelled or self.version}"

    def as_known(self, files: Iterable[KnownFile | File]) -> Scope:
        """The same, spelled as the first of these files that has the version."""
        for file in files:
            if file.version is not None and canonical(file.version) == self.version:
                return replace(self, spelled=file.version)
        return self


def scope_of(name: str, version: str | None, filename: str | None, index: str | None) -> Scope:
    """The scope that somebody names in any spelling. Raises: RequestInvalid."""
    project = normalize(name)
    spelled = None
    if version is not None:
        spelled = version = version.strip()
        if not version or len(version) > _MAX_VERSION or not version.isprintable() or " " in version:
            raise RequestInvalid(f"not a version: {version!r}")
        version = canonical(version)
    if filename is not None:
        if not safe_filename(filename):
            raise RequestInvalid(f"not a filename: {filename!r}")
        stated = version_of(project, filename)
        if version is not None and stated is not None and canonical(stated) != version:
            raise RequestInvalid(f"{filename} is a file of version {stated}, not of {spelled}")
    return Scope(project, version, filename, index, spelled)


def selected(here: Sitting, scope: Scope, *, everywhere: bool = False) -> list[KnownFile]:
    """The known files that a scope covers, in its indexes or in all that there are.

    Raises:
        NotFound: there are none; it names what is known and near.
    """
    files = here.files(scope.name, everywhere=everywhere)
    if not files:
        raise NotFound("files of project", scope.name)
    if scope.version is not None:
        versions = {file.version for file in files if file.version is not None}
        files = [file for file in files if file.version and canonical(file.version) == scope.version]
        if not files:
            raise NotFound("version", scope.text, near(scope.version, versions))
    if scope.filename is not None:
        names = [file.filename for file in files]
        files = [file for file in files if file.filename == scope.filename]
        if not files:
            raise NotFound("file", scope.filename, _alike(scope.filename, names))
    return files


def near(version: str, known: set[str]) -> list[str]:
    """The known versions around one that is not known, in order."""
    ordered = sorted(known, key=version_key)
    place = bisect_left(ordered, version_key(version), key=version_key)
    start = max(0, min(place - _NAMED // 2, len(ordered) - _NAMED))
    return ordered[start : start + _NAMED]


def version_key(version: str) -> tuple[bool, Version, str]:
    """Sort key: by PEP 440; what it cannot read comes first."""
    try:
        return True, Version(version), version
    except InvalidVersion:
        return False, Version("0"), version


def _alike(filename: str, known: Sequence[str]) -> list[str]:
    return get_close_matches(filename, known, n=_NAMED, cutoff=0.3)


def standing_decisions(here: Sitting, name: str) -> list[Decision]:
    """The decisions about a name that count now, in order."""
    rows = here.decisions.get(name, [])
    reverted = {row[11] for row in rows}
    made = [decision_of(row) for row in rows if row[1] != Kind.REVERT and row[0] not in reverted]
    return [decision for decision in made if not _over(decision, here.at)]


def _over(decision: Decision, at: int) -> bool:
    ends = (decision.expires_at, decision.until if decision.kind is Kind.HOLD else None)
    return any(end is not None and end <= at for end in ends)


def covers(decision: Decision, scope: Scope) -> bool:
    """Whether a decision was made of exactly that scope.

    Approvals are always of files. Those that were made of a whole project have no version.
    """
    if decision.index != scope.index:
        return False
    if scope.filename is not None:
        return decision.filename == scope.filename
    whole = decision.filename is None or decision.kind is Kind.APPROVE
    return whole and decision.version == scope.version


def spelled(name: str, decision: Decision) -> str:
    """A decision in few words, for errors."""
    where = "" if decision.index is None else f" in index {decision.index}"
    about = Scope(normalize(name), decision.version, decision.filename).text
    return f"decision {decision.id} ({decision.kind} of {about}{where})"
