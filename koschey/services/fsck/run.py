"""The checks by name, and a run of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

from koschey.services.fsck import blobs, private, rows, verdicts
from koschey.services.fsck.findings import Context, Finding
from koschey.services.fsck.last import remember

Check = Callable[[Context], Iterator[Finding]]

#: In order: what the later ones rest on comes first.
CHECKS: dict[str, Check] = {
    "rows": rows.rows,
    "serials": rows.serials,
    "blobs": blobs.blobs,
    "digests": rows.digests,
    "private": private.private,
    "holds": verdicts.holds,
    "counters": rows.counters,
    "events": verdicts.events,
    "roots": verdicts.roots,
}
#: What a quick run leaves out.
SLOW = frozenset({"digests", "events"})


class Progress(Protocol):
    """Who is told how far a run is."""

    def begin(self, check: str) -> None:
        """A check begins."""

    def step(self, done: int) -> None:
        """So many things more were looked at."""

    def left_out(self, what: str) -> None:
        """The check passes that over for now."""

    def end(self, found: int) -> None:
        """The check is over, and found so much."""


def run(context: Context, progress: Progress, names: list[str] | None = None) -> Iterator[Finding]:
    """Run the checks one after the other.

    Args:
        names: only these of ``CHECKS``.

    Raises:
        StoreUnavailable, Busy: a look could not be made.
    """
    for name, check in CHECKS.items():
        if (names and name not in names) or (context.quick and name in SLOW and not names):
            continue
        progress.begin(name)
        found = left = 0
        example = None
        for finding in check(replace(context, step=progress.step, left_out=progress.left_out)):
            found += 1
            if not finding.mended:
                left, example = left + 1, example or f"{finding.subject} {finding.problem}"
            yield finding
        progress.end(found)
        if left or not context.quick:  # a quick look finds no other bytes, and says nothing of them
            remember(context.database, name, left, example)
