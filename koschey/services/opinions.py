"""What plug-ins think of who may do what: asked before the grants."""

from __future__ import annotations

from pluggy import PluginManager

from koschey.domain.permissions import Actor, Answer, Names, Permission, name_glob, token_problem
from koschey.errors import RequestInvalid
from koschey.hookspecs import Opinion
from koschey.plugins import PATIENCE, PluginError, first_answer


class Opinions:
    """Asks the plug-ins that have opinions about rights.

    Attributes:
        any: whether there is one.
    """

    def __init__(self, hooks: PluginManager, *, patience: float = PATIENCE) -> None:
        self._hook = hooks.hook.koschey_authorise
        self._patience = patience
        self.any = bool(self._hook.get_hookimpls())

    def answer(
        self, actor: Actor, permission: Permission, name: str | None, index: str | None
    ) -> Answer | None:
        """What the first plug-in with an opinion says; None: the grants decide.

        Raises:
            PluginError: a plug-in raised, hung, or returned nonsense.
        """
        found = self._asked(actor, permission, name, index)
        if found is None:
            return None
        plugin, opinion = found
        reason = f"plug-in {plugin}: {opinion.reason}"
        if not opinion.allowed:
            return Answer(allowed=False, reason=reason, plugin=plugin)
        if name is None and opinion.names is not None and "*" not in opinion.names:
            return Answer(allowed=False, reason=f"{reason} (for some names only)", plugin=plugin)
        problem = token_problem(actor, permission, name)
        if problem is not None:
            return Answer(allowed=False, reason=problem, plugin=plugin, limited=True)
        return Answer(allowed=True, reason=reason, plugin=plugin)

    def names(self, actor: Actor, permission: Permission, index: str | None) -> Names | None:
        """The names for which a plug-in allows it; None: the grants decide. Raises: PluginError."""
        found = self._asked(actor, permission, None, index)
        if found is None:
            return None
        plugin, opinion = found
        problem = token_problem(actor, permission, None if not actor.globs else next(iter(actor.globs)))
        if not opinion.allowed or problem is not None:
            return Names(frozenset())
        if opinion.names is None:
            return Names(frozenset("*"), actor.globs)
        try:
            return Names(frozenset(name_glob(glob) for glob in opinion.names), actor.globs)
        except (RequestInvalid, TypeError) as error:
            raise PluginError(plugin, f"named no globs: {error}") from error

    def _asked(
        self, actor: Actor, permission: Permission, name: str | None, index: str | None
    ) -> tuple[str, Opinion] | None:
        if not self.any:
            return None
        found = first_answer(
            self._hook, self._patience, actor=actor, permission=permission, name=name, index=index
        )
        if found is None:
            return None
        plugin, opinion = found
        # Whatever is true in Python must not open a door: only True does.
        if not isinstance(opinion, Opinion) or not isinstance(opinion.allowed, bool):
            raise PluginError(plugin, f"returned {type(opinion).__name__}, not an opinion")
        return plugin, opinion
