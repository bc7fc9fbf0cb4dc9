"""The JSON API's document of a project, ready-made: what is visible and nothing else."""

from __future__ import annotations

from koschey.domain.names import NormalizedName
from koschey.domain.page import ProjectPage
from koschey.domain.project_json import newest, render_project_json
from koschey.errors import BlobMissing, NotFound, StoreUnavailable
from koschey.services.catalog import Catalog
from koschey.services.pages import PageCache, ReadyPage, ready
from koschey.stores.blobs import BlobStore

#: More of METADATA than this is not shown in a listing.
_METADATA_BYTES = 512 * 1024


class ProjectJson:
    """Answers for ``/pypi/…/json``."""

    def __init__(self, catalog: Catalog, store: BlobStore, cache: PageCache) -> None:
        self._catalog = catalog
        self._store = store
        self._cache = cache

    def page(
        self, index_name: str, name: NormalizedName, version: str | None, encoding: str, base_url: str
    ) -> ReadyPage:
        """The document of a project in an index, or of one of its versions.

        Args:
            base_url: as ``Catalog.project_page``.

        Raises:
            NotFound: no such index or project, or the version has no visible file.
            UpstreamError, Busy: nothing is stored and a source could not be asked.
        """
        index, stands = self._catalog.stands(index_name, name)
        key = (
            ("json", version),
            stands.mark(name),
            index.id,
            index.policy_version,
            encoding,
            base_url,
        )

        def made() -> ReadyPage:
            page, until = self._catalog.load(index, stands, name)
            if version is not None and not newest(page, version):
                raise NotFound("version", f"{name}=={version}")
            body = render_project_json(page, version, base_url, self._metadata(page, version))
            return ready(
                body, content_type="application/json", encoding=encoding, serial=page.serial, until=until
            )

        return self._cache.get_or_make(key, made)

    def _metadata(self, page: ProjectPage, version: str | None) -> bytes | None:
        """METADATA of a described file that lies in the store; nothing is fetched for a listing."""
        for file in newest(page, version):
            if isinstance(file.core_metadata, str):
                try:
                    return b"".join(self._store.read(file.core_metadata, 0, _METADATA_BYTES))
                except (BlobMissing, StoreUnavailable):
                    continue
        return None
