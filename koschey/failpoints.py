"""Places where a test may make the process die, fail or dawdle.

``KOSCHEY_FAIL=point:kill|raise|sleep[:seconds][,point:…]`` is read once, when this module is imported.
Without it ``failpoint`` is a function that does nothing, so that a marked place costs one call.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial

from koschey.errors import SettingsInvalid

VARIABLE = "KOSCHEY_FAIL"


class FailpointReached(Exception):
    """Raised by a failpoint whose action is ``raise``; no code of Koschey expects it."""


def armed(specification: str) -> Callable[[str], None]:
    """A ``failpoint`` function for a specification in the form above.

    Raises:
        SettingsInvalid: the specification cannot be understood.
    """
    actions: dict[str, Callable[[str], None]] = {}
    for part in filter(None, specification.split(",")):
        point, _, action = part.strip().partition(":")
        actions[point] = _action(part, action)

    def reach(point: str) -> None:
        if action := actions.get(point):
            action(point)

    return reach


def _action(part: str, action: str) -> Callable[[str], None]:
    match action.split(":"):
        case ["kill"]:
            return _kill
        case ["raise"]:
            return _raise
        case ["sleep"]:
            return partial(_sleep, 1.0)
        case ["sleep", seconds] if seconds.replace(".", "", 1).isdigit():
            return partial(_sleep, float(seconds))
    raise SettingsInvalid(VARIABLE, f"{part!r} is not point:kill, point:raise or point:sleep[:seconds]")


def _kill(point: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _raise(point: str) -> None:
    raise FailpointReached(point)


def _sleep(seconds: float, point: str) -> None:
    time.sleep(seconds)


def _nothing(point: str) -> None:
    pass


#: ``failpoint("noun.moment")`` marks a place; it does what ``KOSCHEY_FAIL`` says about that name.
failpoint: Callable[[str], None] = armed(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else _nothing
