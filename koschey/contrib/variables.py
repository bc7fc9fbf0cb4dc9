"""The variables of a plug-in: declared once, read and checked together, so that a misspelt one is found."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from koschey.errors import SettingsInvalid

PREFIX = "KOSCHEY_PLUGIN_"


@dataclass(frozen=True)
class Variable:
    """One variable: its name behind the plug-in's prefix, what it means, and what holds without it."""

    name: str
    help: str
    default: str | None = ""
    """None: it has to be said."""
    secret: bool = False


@dataclass(frozen=True)
class Variables:
    """Those of one plug-in. ``prefix``: what their names begin with, ``KOSCHEY_PLUGIN_`` included."""

    prefix: str
    known: tuple[Variable, ...] = field(repr=False)

    def read(self, environ: Mapping[str, str] | None = None) -> dict[str, str]:
        """Every variable's value by its name, without the prefix and in lower case.

        Raises:
            SettingsInvalid: one is missing, or there is one of the prefix that nobody declared.
        """
        given = os.environ if environ is None else environ
        names = {self.prefix + variable.name for variable in self.known}
        for name in sorted(given):
            if name.startswith(self.prefix) and name not in names:
                raise SettingsInvalid(
                    name, f"there is no such variable; known are {', '.join(sorted(names))}"
                )
        values = {}
        for variable in self.known:
            value = given.get(self.prefix + variable.name, variable.default)
            if value is None or (variable.default is None and not value.strip()):
                raise SettingsInvalid(self.prefix + variable.name, f"it is needed: {variable.help}")
            values[variable.name.lower()] = value
        return values
