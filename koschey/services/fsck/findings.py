"""What a check finds, and what checks share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from koschey.services.configuration import Configuration
from koschey.services.holds import Holds
from koschey.services.root_build import RootBuilder
from koschey.stores.blobs import BlobStore
from koschey.stores.database import Database, Transaction
from koschey.stores.locks import Locks

#: Findings of one kind about rows that are told; more would say no more.
MOST = 20


@dataclass(frozen=True)
class Finding:
    """Something that is not as it must be, in one sentence."""

    check: str
    subject: str
    problem: str
    mended: bool = False
    advice: str = ""
    """What a person can do, where it was not mended."""


@dataclass(frozen=True)
class Context:
    """What the checks work with."""

    database: Database
    configuration: Configuration
    store: BlobStore
    locks: Locks
    holds: Holds
    roots: RootBuilder
    actor: str
    quick: bool
    """Leave out what reads every byte or every event."""
    repair: bool
    step: Callable[[int], None] = lambda _done: None
    """Told how many things more were looked at."""
    left_out: Callable[[str], None] = lambda _what: None
    """Told what a check passes over for now, and why."""

    def note(
        self, tx: Transaction, subject: str, *, project: str | None, before: str, after: str, reason: str
    ) -> None:
        """The event of a repair."""
        tx.record(
            "fsck.repaired",
            actor=self.actor,
            project=project,
            subject=subject,
            before=before,
            after=after,
            reason=reason,
        )
