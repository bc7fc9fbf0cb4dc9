"""The one function that decides whether a file can be seen.

Every way to a file's bytes, or to the knowledge that it exists, asks ``decide``: listings, ``versions``,
GET, HEAD, Range, metadata and provenance alike. It is pure: what it knows, it is given.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from koschey.domain.page import Microseconds


class State(StrEnum):
    """What a verdict comes to."""

    VISIBLE = "visible"
    HELD = "held"
    REJECTED = "rejected"


class Verdict(msgspec.Struct, frozen=True):
    """Whether a file is visible; if it is not, ``reason`` says why in one sentence."""

    state: State
    reason: str = ""

    @property
    def visible(self) -> bool:
        """Whether the file may be listed and served."""
        return self.state is State.VISIBLE


VISIBLE = Verdict(State.VISIBLE)


def decide(*, project_status: str, project_deleted: bool, withdrawn_at: Microseconds | None) -> Verdict:
    """The verdict on one file.

    Args:
        project_status: PEP 792 status of the project at its source.
        project_deleted: whether the source says that the project is gone.
        withdrawn_at: since when the source lists this file no more, None while it does.
    """
    if project_status == "quarantined":
        return Verdict(State.REJECTED, "the project is quarantined upstream")
    if project_deleted:
        return Verdict(State.REJECTED, "the project was deleted upstream")
    if withdrawn_at is not None:
        return Verdict(State.REJECTED, "the file was withdrawn upstream")
    return VISIBLE
