"""Loading plug-ins, and asking them under a time limit so that what raises or hangs fails closed."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import entry_points
from typing import Any

import pluggy

from koschey import hookspecs
from koschey.domain.policy import Effect
from koschey.errors import KoscheyError, SettingsInvalid
from koschey.hookspecs import Check, LogInPage
from koschey.time_limit import TimeLimit

#: Seconds within which a plug-in's function must answer.
PATIENCE = 5.0
#: The plug-in with Koschey's own checks; by name, as anybody's: this layer knows none of them.
_BUILT_IN = "koschey.checks.builtin"

#: What the short form of a file's answers can carry (``koschey.domain.checks.summary``).
_CHECK_NAME = re.compile(r"(?=.{1,40}\Z)[a-z0-9]+(?:-[a-z0-9]+)*")
_CHECK_RUN = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)

_limit = TimeLimit()


class PluginError(KoscheyError):
    """A plug-in's function raised, hung, or returned what its hook does not allow."""

    def __init__(self, plugin: str, problem: str) -> None:
        self.plugin = plugin
        self.problem = problem
        super().__init__(f"plug-in {plugin} {problem}")


def load_plugins(modules: Iterable[str] = ()) -> pluggy.PluginManager:
    """The built-in one, installed plug-ins (entry points in group ``koschey``, by name), then ``modules``.

    pluggy asks the one registered last first, so a module named in the settings overrules installed ones.

    Raises:
        SettingsInvalid: a plug-in cannot be imported, or one of its functions fits no hook.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    _register(manager, _BUILT_IN, partial(importlib.import_module, _BUILT_IN))
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


def all_checks(manager: pluggy.PluginManager, patience: float = PATIENCE) -> tuple[Check, ...]:
    """The checks that every plug-in offers: the built-in ones, then installed plug-ins', then modules'.

    Raises:
        SettingsInvalid: a plug-in raised, hung for ``patience`` seconds, or offers what is no check, has a
            name that another one has, or could not be told from others in a policy or be called.
    """
    checks: dict[str, Check] = {}
    for implementation in manager.hook.koschey_checks.get_hookimpls():
        for check in _offered(implementation, patience):
            problem = _check_problem(check)
            if problem is None and check.name in checks:
                problem = f"there is a check {check.name!r} already"
            if problem is not None:
                raise SettingsInvalid("plugins", f"{implementation.plugin_name}: {problem}")
            checks[check.name] = check
    return tuple(checks.values())


def all_log_in_pages(
    manager: pluggy.PluginManager, patience: float = PATIENCE
) -> tuple[tuple[str, LogInPage], ...]:
    """The log-in pages that plug-ins offer, each with its plug-in's name.

    Raises:
        SettingsInvalid: a plug-in raised, hung for ``patience`` seconds, offers what is no such page, or one
            of a name that another one has.
    """
    pages: dict[str, tuple[str, LogInPage]] = {}
    for implementation in manager.hook.koschey_log_in_pages.get_hookimpls():
        plugin = implementation.plugin_name
        for page in _offered(implementation, patience, "log-in pages"):
            if not (isinstance(page, LogInPage) and _CHECK_NAME.fullmatch(str(page.name))):
                raise SettingsInvalid("plugins", f"{plugin} offers what is no log-in page, or has no name")
            if page.name in pages:
                raise SettingsInvalid("plugins", f"{plugin}: there is a log-in page {page.name!r} already")
            pages[page.name] = (plugin, page)
    return tuple(pages.values())


def _offered(implementation: pluggy.HookImpl, patience: float, what: str = "checks") -> tuple[Any, ...]:
    """What one plug-in offers, whatever that is."""
    plugin = implementation.plugin_name
    offer: Callable[..., Any] = implementation.function
    try:
        # A generator does its work when it is gone through: that belongs under the limit too.
        return _limit.call(patience, lambda: tuple(offer()))
    except TimeoutError:
        raise SettingsInvalid("plugins", f"{plugin} did not say its {what} within {patience:g} s") from None
    except (Exception, SystemExit) as error:
        problem = f"{plugin}: {implementation.function.__name__} failed: {type(error).__name__}: {error}"
        raise SettingsInvalid("plugins", problem) from error


def _check_problem(check: Any) -> str | None:
    """What is wrong with one offered check, None if nothing is."""
    if not isinstance(check, Check):
        return f"koschey_checks returned {type(check).__name__} among its checks"
    if not (isinstance(check.name, str) and _CHECK_NAME.fullmatch(check.name)):
        return f"check {check.name!r}: a name has at most 40 lower-case letters, digits and hyphens"
    if not (isinstance(check.summary, str) and check.summary.strip() and check.summary.isprintable()):
        return f"check {check.name!r}: the summary is one line of text"
    if not (isinstance(check.run, str) and _CHECK_RUN.fullmatch(check.run)):
        return f"check {check.name!r}: run is no package.module:function"
    if type(check.effect) is not Effect:  # its text would be equal, and no effect at all
        return f"check {check.name!r}: the effect is no koschey.domain.policy.Effect"
    return None
