"""Grants, users and tokens as this process last read them; read again when the configuration number moved."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from koschey.domain.permissions import ANONYMOUS, Actor, GrantRule, Kind, Role, Scope
from koschey.stores.lookup import Lookup
from koschey.stores.people_lookup import PeopleLookup, TokenLook, UserLook

#: Of each kind so much is remembered until the next change; then it begins anew.
_REMEMBERED = 20_000


@dataclass(frozen=True)
class Page:
    """What is so at one number of the configuration; what is looked up later may be newer, never older."""

    number: int
    grants: tuple[GrantRule, ...]
    answers: dict[Any, Any] = field(default_factory=dict, repr=False)
    """What was worked out by these grants alone, by what was asked."""
    readers: dict[Any, Any] = field(default_factory=dict, repr=False)
    """Who reads what, by the credentials as they were sent."""
    _tokens: dict[str, TokenLook | None] = field(default_factory=dict, repr=False)
    _users: dict[str | int, UserLook | None] = field(default_factory=dict, repr=False)
    _groups: dict[int, frozenset[str]] = field(default_factory=dict, repr=False)


class Roster:
    """Who there is. Users, groups, tokens and grants are changed by services that touch the number."""

    def __init__(self, lookup: Lookup, people: PeopleLookup) -> None:
        self._lookup = lookup
        self._people = people
        self._lock = threading.Lock()
        self._page = Page(-1, ())

    def number(self) -> int:
        """The configuration's number, read now."""
        return self._lookup.configuration()

    def page(self, number: int | None = None) -> Page:
        """The page of a number that was just read, or of the one that is read now."""
        if number is None:
            number = self._lookup.configuration()
        page = self._page
        if page.number == number:
            return page
        with self._lock:
            # The number before the grants: a change in between makes the page newer than it says.
            stored = self._lookup.configuration()
            if self._page.number != stored:
                self._page = Page(stored, tuple(_rule(*look) for look in self._people.grants()))
            return self._page

    def token(self, page: Page, digest: str) -> TokenLook | None:
        """The token with that digest, unless it was revoked."""
        return _remembered(page._tokens, digest, self._people.token)

    def user(self, page: Page, name: str) -> UserLook | None:
        """A user by name."""
        return _remembered(page._users, name, self._people.user)

    def user_with_id(self, page: Page, user_id: int) -> UserLook | None:
        """A user by id."""
        return _remembered(page._users, user_id, self._people.user_with_id)

    def actor(self, page: Page, user: UserLook, token: TokenLook | None = None) -> Actor:
        """The actor that a user is, by a token if there is one."""
        groups = _remembered(page._groups, user.user_id, self._people.groups)
        if token is None:
            return Actor(user.name, Kind.USER, groups)
        scopes = frozenset(Scope(word) for word in token.scopes.split())
        globs = frozenset(token.globs.split())
        return Actor(user.name, Kind.TOKEN, groups, scopes, globs, token.token_id)

    def actor_for(self, page: Page, subject: str) -> Actor | None:
        """Somebody whom a subject is about, for questions in advance; None: there is no such user.

        ``group:NAME`` and ``signed-in`` give somebody who is nothing else.
        """
        kind, _, name = subject.partition(":")
        if kind == "user":
            user = self.user(page, name)
            return None if user is None else self.actor(page, user)
        if kind == "group":
            return Actor("", Kind.USER, frozenset({name}))
        return ANONYMOUS if kind == "everyone" else Actor("", Kind.USER)

    def group_names(self, page: Page) -> frozenset[str]:
        """Names of all groups that are here."""
        return _remembered(page.answers, "groups", lambda _: self._people.group_names())

    def groups_by(self, page: Page, user: UserLook, origin: str) -> frozenset[str]:
        """Names of the groups that a user is in by a plug-in's word."""
        key = ("groups", user.user_id, origin)
        return _remembered(page.answers, key, lambda _: self._people.groups(user.user_id, origin))

    def disabled(self, page: Page, subject: str) -> bool:
        """Whether a subject is a user who is kept out."""
        kind, _, name = subject.partition(":")
        user = self.user(page, name) if kind == "user" else None
        return user is not None and bool(user.disabled)


def _remembered[K, V](memory: dict[K, V], key: K, look_up: Any) -> V:
    if key in memory:
        return memory[key]
    found: V = look_up(key)
    if len(memory) >= _REMEMBERED:
        memory.clear()
    memory[key] = found
    return found


def _rule(id_: int, role: str, subject: str, index: str | None, pattern: str) -> GrantRule:
    return GrantRule(id_, Role(role), subject, index, pattern)
