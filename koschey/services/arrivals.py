"""Judging what an upstream lists for the first time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from koschey.domain.decisions import NONE
from koschey.domain.page import Microseconds, UpstreamFile
from koschey.domain.quarantine import decide, wants_checks
from koschey.services.configuration import Configuration, IndexConfig, SourceConfig
from koschey.services.holds import Holds
from koschey.services.writes import Arrival
from koschey.stores.database import Transaction


class _New(NamedTuple):
    filename: str
    version: str | None
    sha256: str | None
    upload_time: int | None
    first_seen: int
    previous_look: int | None
    withdrawn_at: int | None = None


class Arrivals:
    """Judges each new file in every index that has its source."""

    def __init__(self, configuration: Configuration, holds: Holds) -> None:
        self._configuration = configuration
        self._holds = holds

    def indexes(self, tx: Transaction, source: SourceConfig) -> Sequence[IndexConfig]:
        """The indexes in which the source's files are judged."""
        return self._configuration.indexes_of(source.id, tx.session)

    def judge(
        self,
        indexes: Sequence[IndexConfig],
        source: SourceConfig,
        name: str,
        files: Sequence[UpstreamFile],
        arrival: Arrival,
    ) -> list[tuple[bool, bool]]:
        """Of each file whether some index holds it, and whether to store and check it before it is asked for.

        Decisions are left out: where there are any, the whole project is settled anyhow.
        """
        policies = {index.policy(source, name) for index in indexes}
        news = (
            _New(
                file.filename, file.version, file.sha256, file.upload_time, arrival.at, arrival.previous_look
            )
            for file in files
        )
        return [
            (
                any(not decide(new, policy, None, NONE, arrival.at).visible for policy in policies),
                any(wants_checks(new, policy) for policy in policies),
            )
            for new in news
        ]

    def settle(
        self,
        tx: Transaction,
        project_ids: Sequence[int],
        *,
        actor: str,
        at: Microseconds,
        changed: Sequence[int],
    ) -> None:
        """Record what verdicts on all files of some projects come to; the pages of ``changed`` are new."""
        self._holds.settle(tx, project_ids, actor=actor, at=at, changed=changed)
