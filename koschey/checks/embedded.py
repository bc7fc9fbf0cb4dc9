"""What a file says of itself, in the form that crosses the border of its process."""

from __future__ import annotations

import msgspec


class Embedded(msgspec.Struct, frozen=True):
    """What METADATA or PKG-INFO says, as it spells it."""

    name: str
    version: str
    requires_python: str | None = None
