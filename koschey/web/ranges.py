"""The Range header (RFC 9110 section 14.2), as far as installers use it: one range of bytes."""

from __future__ import annotations

import re
from typing import NamedTuple

_ONE_RANGE = re.compile(r"bytes=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.ASCII)


class Selected(NamedTuple):
    """A part of a representation, in bytes."""

    start: int
    length: int


class Unsatisfiable(NamedTuple):
    """The range begins behind the end: 416."""


def selected_range(header: str, size: int) -> Selected | Unsatisfiable | None:
    """What a Range header selects of ``size`` bytes; None when it is to be ignored (200).

    Several ranges at once are ignored, as the RFC allows: no installer asks for them, and many small
    ones are a way to make a server work.
    """
    match = _ONE_RANGE.fullmatch(header)
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first == "":
        length = min(int(last), size)
        return Selected(size - length, length) if length else Unsatisfiable()
    if int(first) >= size:
        return Unsatisfiable()
    if last and int(last) < int(first):
        return None
    end = min(int(last), size - 1) if last else size - 1
    return Selected(int(first), end - int(first) + 1)
