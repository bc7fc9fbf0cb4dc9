"""Whether this process can do its work."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from koschey.errors import KoscheyError


class Health:
    """Asks each part whether it can be used."""

    def __init__(self, parts: Mapping[str, Callable[[], None]]) -> None:
        self._parts = parts

    def check(self) -> dict[str, str]:
        """Each part's name, and ``ok`` or the problem."""
        return {name: _state(check) for name, check in self._parts.items()}


def _state(check: Callable[[], None]) -> str:
    try:
        check()
    except KoscheyError as error:
        return str(error)
    return "ok"
