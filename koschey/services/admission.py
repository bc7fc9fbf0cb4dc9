"""Whether a new project of the company's own may have its name: not while somebody outside has it."""

from __future__ import annotations

from koschey.domain.names import NormalizedName
from koschey.domain.ownership import Outside
from koschey.errors import Busy, NameOwned, NameTaken, NameUnsettled, StoreUnavailable, UpstreamError
from koschey.services.configuration import Configuration, IndexConfig, SourceConfig
from koschey.services.mirror import Mirror
from koschey.stores.database import now
from koschey.stores.lookup import Lookup, NameLook
from koschey.stores.models import ProjectState


class Admission:
    """Decides before the first upload of a name.

    Args:
        negative_seconds: for how long a remembered 404 of an upstream counts.
        deadline: seconds for each upstream that has to be asked.
    """

    def __init__(
        self,
        lookup: Lookup,
        configuration: Configuration,
        mirror: Mirror,
        *,
        negative_seconds: float,
        deadline: float,
    ) -> None:
        self._lookup = lookup
        self._configuration = configuration
        self._mirror = mirror
        self._negative_seconds = negative_seconds
        self._deadline = deadline

    def admit(self, index: IndexConfig, name: NormalizedName) -> None:
        """Return if a project of that name may come into the index's hosted source.

        A name that is reserved, claimed, merged or hosted already may, and no upstream is asked for it.
        Any other one is asked of the index's upstreams, unless it is known of one that it has the name, or
        a moment ago that it has not. So a name that must not become known outside is reserved first.

        Raises:
            NameTaken: an upstream has it. NameUnsettled: one could not say.
        """
        look = self._lookup.name(name)
        index = self._configuration.index(index.name, look.configuration)
        if index.outside(name, look.projects) is not Outside.OPEN:
            return
        self._refuse_taken(name, look)
        for source in index.sources:
            if source.endpoint is not None and self._in_doubt(source, look):
                self._ask(source, name, look)
        look = self._lookup.name(name)
        if (
            self._configuration.index(index.name, look.configuration).outside(name, look.projects)
            is Outside.OPEN
        ):
            self._refuse_taken(name, look)

    def _refuse_taken(self, name: NormalizedName, look: NameLook) -> None:
        """By what is known of any upstream, also one of another index: the name would be hidden there."""
        for project in look.projects.values():
            source = self._configuration.source(project.source_id)
            if source.endpoint is not None and project.state != ProjectState.ABSENT:
                raise NameTaken(name, source.name)

    def _in_doubt(self, source: SourceConfig, look: NameLook) -> bool:
        known = look.projects.get(source.id)
        return known is None or now() - (known.looked_at or 0) > self._negative_seconds * 1e6

    def _ask(self, source: SourceConfig, name: NormalizedName, look: NameLook) -> None:
        known = look.projects.get(source.id)
        seen = None if known is None else known.looked_at
        try:
            self._mirror.look(source, name, seen=seen, deadline=self._deadline)
        except NameOwned:
            return  # somebody reserved it meanwhile
        except (UpstreamError, Busy, StoreUnavailable) as error:
            raise NameUnsettled(name, str(error)) from error
