"""What an upstream's root list says that is not known yet: which projects are to be looked at, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Why(StrEnum):
    """Why a project is to be looked at."""

    NEW = "new"  # it was never looked at
    CHANGED = "changed"  # its serial is above the one that was synced
    AGAIN = "again"  # it changed so lately that a change may have been committed behind another one
    UNLISTED = "unlisted"  # the root list has it no more
    AGE = "age"  # nothing tells whether it changed: it is asked on a condition


class Synced(NamedTuple):
    """A project as it was synced last. ``serial``: of its page then; ``present``: not a remembered 404."""

    name: str
    serial: int | None
    present: bool


@dataclass
class RootDiff:
    """Compares a root list with what is known, in pieces of what is known.

    Never one high-water mark: serials of a live index are committed out of order, and each project has its
    own. What ``compare`` was not told of is new, by ``rest``.

    Args:
        serials: names that are kept, to their serials; emptied on the way.
        settled: serials above this one are so late that their projects are looked at again.
    """

    serials: dict[str, int | None]
    settled: int | None = None
    backwards: int = 0
    """Projects whose serial is lower than what was synced."""

    def compare(self, known: Iterable[Synced]) -> Iterable[tuple[str, int | None, Why]]:
        """What is to be looked at of those projects: name, its serial in the root list, and why."""
        for project in known:
            if project.name not in self.serials:
                if project.present:
                    yield project.name, None, Why.UNLISTED
                continue
            serial = self.serials.pop(project.name)
            why = self._why(project, serial)
            if why is not None:
                yield project.name, serial, why

    def rest(self) -> Iterable[tuple[str, int | None, Why]]:
        """What nothing is known of."""
        while self.serials:
            name, serial = self.serials.popitem()
            yield name, serial, Why.NEW

    def _why(self, project: Synced, serial: int | None) -> Why | None:
        if not project.present:
            return Why.NEW
        if serial is None:
            return Why.AGE
        if project.serial is None or serial > project.serial:
            return Why.CHANGED
        if serial < project.serial:
            self.backwards += 1
            return None
        return Why.AGAIN if self.settled is not None and serial > self.settled else None


def shrunk(before: int, unlisted: int) -> bool:
    """Whether a root list lost so many of the names known before that it is not believed."""
    return unlisted > max(100, before // 10)
