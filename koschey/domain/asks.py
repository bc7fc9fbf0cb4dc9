"""A wish for a version that is hidden: who has it, and what became of it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from koschey.domain.page import Microseconds
from koschey.errors import RequestInvalid

_LONGEST_EMAIL = 254


class AskState(StrEnum):
    """What became of a wish."""

    OPEN = "open"
    RELEASED = "released"  # the version is visible
    REJECTED = "rejected"  # somebody said that it never will be
    REFUSED = "refused"  # a reviewer said no, and left it held
    WITHDRAWN = "withdrawn"  # everybody who asked took it back


class Asker(msgspec.Struct, frozen=True, kw_only=True):
    """One of the people who ask."""

    actor: str
    reason: str
    at: Microseconds


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A wish, and its answer if it has one."""

    id: int
    index: str
    project: str
    version: str
    """As the project spells it."""
    state: AskState
    people: int
    asked_at: Microseconds
    answered_at: Microseconds | None
    answered_by: str | None
    answer: str | None


class AskPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some wishes, those that most people have first, or the newest first."""

    asks: tuple[Ask, ...]
    next: int | None
    """``before`` of the part behind."""


def checked_email(email: str | None) -> str | None:
    """An address to write to, or None. Raises: RequestInvalid."""
    address = (email or "").strip()
    if not address:
        return None
    name, at, host = address.rpartition("@")
    plain = (
        address.isascii() and address.isprintable() and not any(sign in " ,;<>()\"'\\" for sign in address)
    )
    if not (at and name and host and plain and len(address) <= _LONGEST_EMAIL and "@" not in name):
        raise RequestInvalid(f"{address!r} is not one e-mail address")
    return address
