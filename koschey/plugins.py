"""Loading plug-ins, and asking them under a time limit so that what raises or hangs fails closed."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import entry_points
from typing import Any

import pluggy

from koschey import hookspecs
from koschey.errors import KoscheyError, SettingsInvalid
from koschey.time_limit import TimeLimit

#: Seconds within which a plug-in's function must answer.
PATIENCE = 5.0

_limit = TimeLimit()


class PluginError(KoscheyError):
    """A plug-in's function raised, hung, or returned what its hook does not allow."""

    def __init__(self, plugin: str, problem: str) -> None:
        self.plugin = plugin
        self.problem = problem
        super().__init__(f"plug-in {plugin} {problem}")


def load_plugins(modules: Iterable[str] = ()) -> pluggy.PluginManager:
    """Installed plug-ins (entry points in group ``koschey``, in order of name), then ``modules``.

    pluggy asks the one registered last first, so a module named in the settings overrules installed ones.

    Raises:
        SettingsInvalid: a plug-in cannot be imported, or one of its functions fits no hook.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    for entry in sorted(entry_points(group=hookspecs.PROJECT), key=lambda entry: entry.name):
        _register(manager, entry.name, entry.load)
    for module in modules:
        _register(manager, module, partial(importlib.import_module, module))
    return manager


def _register(manager: pluggy.PluginManager, name: str, load: Callable[[], Any]) -> None:
    try:
        plugin = load()
    except Exception as error:  # foreign code runs at its import and may raise anything
        problem = f"{name} cannot be loaded: {type(error).__name__}: {error}"
        raise SettingsInvalid("plugins", problem) from error
    if manager.is_registered(plugin):
        return
    for function_name, function in inspect.getmembers(plugin, inspect.isroutine):
        marked = getattr(function, f"{hookspecs.PROJECT}_impl", None)
        if marked is None and function_name.startswith(f"{hookspecs.PROJECT}_"):
            raise SettingsInvalid("plugins", f"{name}: {function_name} lacks @hookimpl")
        if marked is not None and (marked["wrapper"] or marked["hookwrapper"]):
            # ``first_answer`` asks one function after the other to know whose fault a failure is.
            raise SettingsInvalid("plugins", f"{name}: {function_name} is a wrapper; Koschey has none")
    try:
        manager.register(plugin, name)
        manager.check_pending()
    except (pluggy.PluginValidationError, ValueError) as error:
        raise SettingsInvalid("plugins", f"{name}: {error}") from error


def first_answer(
    hook: pluggy.HookCaller, patience: float = PATIENCE, **arguments: Any
) -> tuple[str, Any] | None:
    """Name of the first plug-in that has an opinion, and its answer; None when nobody has.

    Raises:
        PluginError: a plug-in raised, or was silent for ``patience`` seconds.
    """
    for implementation in reversed(hook.get_hookimpls()):
        name = implementation.plugin_name
        accepted = [arguments[argument] for argument in implementation.argnames]
        try:
            answer = _limit.call(patience, implementation.function, *accepted)
        except TimeoutError:
            raise PluginError(name, f"did not answer within {patience:g} s") from None
        except (Exception, SystemExit) as error:
            raise PluginError(name, f"failed: {type(error).__name__}") from error
        if answer is not None:
            return name, answer
    return None


def all_checks(manager: pluggy.PluginManager) -> tuple[hookspecs.Check, ...]:
    """The checks that every plug-in offers, built-in ones first."""
    return tuple(check for offered in reversed(manager.hook.koschey_checks()) for check in offered)
