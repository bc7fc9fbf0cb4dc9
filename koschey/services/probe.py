"""Trying an upstream out: one page, asked for through everything that a real look goes through."""

from __future__ import annotations

import time
from typing import Any

from koschey.domain.names import normalize
from koschey.errors import NotFound, UpstreamError
from koschey.services.configuration import Configuration
from koschey.upstream.client import PageFetched, PageMissing, UpstreamClient


class Probe:
    """Answers whether an upstream can be used, and stores nothing."""

    def __init__(self, configuration: Configuration, client: UpstreamClient, *, deadline: float) -> None:
        self._configuration = configuration
        self._client = client
        self._deadline = deadline

    def try_out(self, upstream: str, project: str) -> dict[str, Any]:
        """Ask for a project's page. Returns plain values; ``ok`` says whether the upstream is usable.

        Raises:
            NotFound: no such upstream. RequestInvalid: not a project name.
        """
        source = next((s for s in self._configuration.upstreams() if s.name == upstream), None)
        if source is None or source.endpoint is None:
            raise NotFound("upstream", upstream)
        result: dict[str, Any] = {"upstream": upstream, "url": source.endpoint.url, "project": project}
        started = time.monotonic()
        try:
            outcome = self._client.project_page(
                source.endpoint, normalize(project), etag=None, deadline=self._deadline
            )
        except UpstreamError as error:
            return result | {"ok": False, "answer": error.problem}
        result["seconds"] = round(time.monotonic() - started, 3)
        date = getattr(outcome, "date", None)
        if date is not None:
            result["clock_ahead"] = round(time.time() - date, 1)
        if isinstance(outcome, PageMissing):
            return result | {"ok": True, "answer": "no such project (404)"}
        assert isinstance(outcome, PageFetched)
        page = outcome.page
        return result | {
            "ok": True,
            "answer": f"{len(page.files)} files, {len(page.refused)} entries refused",
            "status": page.status,
            "serial": page.serial,
            "etag": outcome.etag is not None,
        }
