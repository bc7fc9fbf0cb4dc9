"""People whom plug-ins vouch for: asked about, checked, and mapped to users and groups here."""

from __future__ import annotations

import structlog
from pluggy import PluginManager
from sqlalchemy import delete, select

from koschey.domain.permissions import Actor, Kind, Scope, account_name, name_glob
from koschey.errors import Busy, Conflict, RequestInvalid, Unauthenticated
from koschey.hookspecs import Identity, Refusal, SignInRequest
from koschey.plugins import PATIENCE, PluginError, first_answer
from koschey.services.roster import Page, Roster
from koschey.stores.database import Database
from koschey.stores.people_lookup import UserLook
from koschey.stores.people_rows import Membership, User, UserGroup

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Identities:
    """Asks the plug-ins who somebody is.

    Attributes:
        any: whether there is a plug-in to ask.
    """

    def __init__(
        self, database: Database, roster: Roster, hooks: PluginManager, *, patience: float = PATIENCE
    ) -> None:
        self._database = database
        self._roster = roster
        self._hook = hooks.hook.koschey_authenticate
        self._patience = patience
        self.any = bool(self._hook.get_hookimpls())

    def actor(self, page: Page, request: SignInRequest) -> Actor | None:
        """The actor whom a plug-in sees in a request; None: none has an opinion.

        Raises:
            Unauthenticated: a plug-in refuses, or vouches for who is disabled or has a password here.
            PluginError: a plug-in raised, hung, or returned nonsense.
        """
        found = first_answer(self._hook, self._patience, request=request) if self.any else None
        if found is None:
            return None
        plugin, answer = found
        if isinstance(answer, Refusal):
            log.info("access.plugin_refused", plugin=plugin, reason=answer.reason, client=request.client)
            raise Unauthenticated(presented=True)
        if not isinstance(answer, Identity):
            raise PluginError(plugin, f"returned {type(answer).__name__}, not who it is")
        return self.accept(plugin, answer, page)

    def accept(self, plugin: str, identity: Identity, page: Page | None = None) -> Actor:
        """The actor whom a plug-in vouches for; the user is made, and put into groups, where that is due.

        Raises:
            Unauthenticated: the user is disabled, or has a password here and so is somebody's own.
            PluginError: the identity is nonsense.
        """
        page = page or self._roster.page()
        name, groups, globs = _checked(plugin, identity)
        user = self._roster.user(page, name)
        if user is not None and (user.disabled or user.password_hash is not None):
            problem = "is disabled" if user.disabled else "has a password here, and cannot be taken over"
            log.warning("access.plugin_user_refused", plugin=plugin, user=name, problem=problem)
            raise Unauthenticated(presented=True)
        user, stored = self._kept(page, plugin, user, name, groups)
        kind = Kind.USER if identity.scopes is None and not globs else Kind.TOKEN
        return Actor(user.name, kind, stored, identity.scopes, globs)

    def _kept(
        self, page: Page, plugin: str, user: UserLook | None, name: str, groups: frozenset[str]
    ) -> tuple[UserLook, frozenset[str]]:
        """The user's row and groups, after what the plug-in says was written down if it is news."""
        wanted = groups & self._roster.group_names(page)
        if user is None or self._roster.groups_by(page, user, plugin) != wanted:
            try:
                self._write(plugin, name, wanted)
            except (Busy, Conflict):  # the same person, by another request
                log.debug("access.plugin_user_raced", user=name)
            page = self._roster.page()
            user = self._roster.user(page, name)
            if user is None or user.disabled or user.password_hash is not None:
                raise Unauthenticated(presented=True)
        return user, self._roster.actor(page, user).groups

    def _write(self, plugin: str, name: str, groups: frozenset[str]) -> None:
        from koschey.services.accounts import add_user  # an idle worker need not carry it

        with self._database.transaction() as tx:
            user = tx.session.scalar(select(User).where(User.name == name).with_for_update())
            if user is None:
                user = add_user(tx, name, None, actor=f"plugin:{plugin}", origin=plugin)
            chosen = select(UserGroup.name, UserGroup.id).where(UserGroup.name.in_(groups))
            ids = {row.name: row.id for row in tx.session.execute(chosen)}
            mine = (Membership.user_id == user.id) & (Membership.origin == plugin)
            before = set(tx.session.scalars(select(Membership.group_id).where(mine)))
            after = set(ids.values())
            if before != after:
                gone = before - after
                tx.session.execute(delete(Membership).where(mine, Membership.group_id.in_(gone)))
                for group_id in after - before:
                    tx.session.add(Membership(group_id=group_id, user_id=user.id, origin=plugin))
                tx.record(
                    "user.groups",
                    actor=f"plugin:{plugin}",
                    subject=name,
                    after=", ".join(sorted(ids)) or "none",
                )
            tx.touch_configuration()


def _checked(plugin: str, identity: Identity) -> tuple[str, frozenset[str], frozenset[str]]:
    """Name, groups and globs of an identity in their one spelling. Raises: PluginError."""
    words = (identity.groups, identity.projects, *([] if identity.scopes is None else [identity.scopes]))
    if not isinstance(identity.name, str) or not all(isinstance(word, frozenset) for word in words):
        raise PluginError(plugin, "vouched for somebody in words of the wrong types")
    if not all(isinstance(item, str) for word in words for item in word):
        raise PluginError(plugin, "vouched for somebody in words of the wrong types")
    if identity.scopes is not None and not all(type(scope) is Scope for scope in identity.scopes):
        raise PluginError(plugin, "named a scope that there is not")
    try:
        name = account_name(identity.name)
        globs = frozenset(name_glob(glob) for glob in identity.projects)
    except RequestInvalid as error:
        raise PluginError(plugin, f"vouched for nobody who can be: {error}") from error
    return name, frozenset(group.strip().lower() for group in identity.groups), globs
