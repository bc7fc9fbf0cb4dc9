"""What a person sees of a project: versions with their verdicts, files, description, open requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version
from sqlalchemy import select

from koschey.checks.description import Description
from koschey.domain.asks import Ask
from koschey.domain.names import NormalizedName
from koschey.domain.quarantine import State
from koschey.domain.why import Explanation
from koschey.services.asks import Asks
from koschey.services.cases import Case, Judged
from koschey.services.descriptions import Descriptions
from koschey.services.explanations import Explanations
from koschey.stores.database import Database
from koschey.stores.lookup import Lookup
from koschey.stores.models import File

#: Files of a version that its page shows.
_FILES_SHOWN = 200


@dataclass(frozen=True)
class ShownFile:
    """A visible file. ``path`` is below the index's prefix; times in microseconds, sizes in bytes."""

    filename: str
    path: str
    size: int | None
    sha256: str | None
    upload_time: int | None
    requires_python: str | None
    yanked: bool | str
    stored: bool
    metadata: bool
    provenance: bool


@dataclass(frozen=True)
class ProjectPage:
    """A project, and of its versions the one that is shown whole."""

    why: Explanation
    version: str | None
    """The one that was asked for, or the newest that an installer would take; None: nothing is visible."""
    files: Sequence[ShownFile]
    hidden: int
    """So many more files of that version are not visible."""
    description: Description | None
    asks: Mapping[str, Ask]
    """By canonical version, the latest request for it."""


class ProjectPages:
    """Reads project pages: a few queries each, however many files a project has."""

    def __init__(
        self,
        database: Database,
        lookup: Lookup,
        explanations: Explanations,
        descriptions: Descriptions,
        asks: Asks,
    ) -> None:
        self._database = database
        self._lookup = lookup
        self._explanations = explanations
        self._descriptions = descriptions
        self._asks = asks

    def page(
        self, index: str, name: NormalizedName, version: str | None = None, *, after: str | None = None
    ) -> ProjectPage:
        """A project, or one version of it.

        Args:
            version: in any spelling; one that is not known leaves ``why.known`` false.
            after: the last version of the part of the list before.

        Raises:
            NotFound, UpstreamError, Busy: as the project's page.
        """
        case = self._explanations.case(index, name)
        if version is None:
            why, shown = self._explanations.of_project(case, after=after), newest(case)
        else:
            why, shown = self._explanations.of_version(case, version), case.spelling(version)
        judged = case.releases.get(shown, ()) if shown is not None else ()
        files = self._files(judged)
        return ProjectPage(
            why=why,
            version=shown,
            files=files,
            hidden=len(judged) - sum(verdict.visible for _, verdict in judged),
            description=self._described(name, judged),
            asks=self._asks.about(index, name),
        )

    def _files(self, judged: Sequence[Judged]) -> list[ShownFile]:
        ids = [file.id for file, verdict in judged if verdict.visible][:_FILES_SHOWN]
        if not ids:
            return []
        with self._database.reading() as session:
            rows = session.scalars(select(File).where(File.id.in_(ids)).order_by(File.filename)).all()
        return [
            ShownFile(
                filename=row.filename,
                path=row.path,
                size=row.size,
                sha256=row.sha256,
                upload_time=row.upload_time,
                requires_python=row.requires_python,
                yanked=row.yanked_reason or row.yanked,
                stored=row.stored_at is not None,
                metadata=row.metadata_stored or row.metadata_advertised,
                provenance=row.provenance_url is not None or row.provenance_sha256 is not None,
            )
            for row in rows
        ]

    def _described(self, name: str, judged: Sequence[Judged]) -> Description | None:
        """By a visible wheel, else by any visible file; the first one that says something."""
        visible = [file for file, verdict in judged if verdict.visible]
        ordered = sorted(visible, key=lambda file: not file.filename.endswith(".whl"))
        for file in ordered[:2]:
            look = self._lookup.file(file.id)
            described = None if look is None else self._descriptions.of(look)
            if described is not None:
                return described
        return None


def newest(case: Case) -> str | None:
    """The version that an installer takes by itself: the newest visible one that is final and not yanked.

    Where there is none such, the newest visible one.
    """
    visible = [
        version
        for version in case.versions
        if any(verdict.state is State.VISIBLE for _, verdict in case.releases[version])
    ]
    return next((version for version in visible if _takes(case, version)), next(iter(visible), None))


def _takes(case: Case, version: str) -> bool:
    try:
        final = not Version(version).is_prerelease
    except InvalidVersion:
        return False
    return final and any(verdict.visible and not file.yanked for file, verdict in case.releases[version])
