"""Sizes as people write and read them."""

from __future__ import annotations

import re
from typing import Any

import click

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)


class _Bytes(click.ParamType[int]):
    """Bytes, as ``500GB``, ``1.5TiB`` or a plain number."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = _SIZE.fullmatch(str(value).strip())
        if found is None:
            self.fail(f"{value!r} is not a size; write 500GB, 1.5TiB or a number of bytes", param, ctx)
        unit = found[2].lower()
        binary = 1024 ** list(_UNITS).index(unit) if found[3] else _UNITS[unit]
        return int(float(found[1]) * binary)


BYTES = _Bytes()


def readable(size: int) -> str:
    """A size in the unit that suits it."""
    value, units = float(size), ["B", "kB", "MB", "GB", "TB", "PB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"
