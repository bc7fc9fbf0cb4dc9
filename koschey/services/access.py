"""Who asks, and whether they may: the one place that every route and service asks."""

from __future__ import annotations

import hashlib
import time
from typing import NamedTuple

import structlog

from koschey.domain.credentials import Basic, Bearer, parse_authorization, presented_token, token_digest
from koschey.domain.permissions import (
    Actor,
    Answer,
    Names,
    Permission,
    account_name,
    authorise,
    names_allowed,
)
from koschey.errors import Forbidden, NotFound, RequestInvalid, Unauthenticated
from koschey.services.passwords import REMEMBERED_SECONDS, Passwords
from koschey.services.roster import Page, Roster
from koschey.services.tokens import TokenUses
from koschey.stores.database import now
from koschey.stores.lookup import Lookup

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_MOST = 20_000
_FOREVER = 2**63


class _Recalled(NamedTuple):
    """Credentials that were found right at a number of the configuration, until a time (microseconds)."""

    number: int
    actor: Actor
    until: int


class Access:
    """Turns credentials into actors, and answers whether an actor may do something."""

    def __init__(self, lookup: Lookup, passwords: Passwords, uses: TokenUses) -> None:
        self._roster = Roster(lookup)
        self._passwords = passwords
        self._uses = uses
        self._right: dict[bytes, _Recalled] = {}

    # Who

    def authenticate(self, authorization: str, number: int | None = None) -> Actor:
        """The actor that an Authorization header is.

        Raises:
            Unauthenticated: it is malformed, or the credentials are wrong, revoked, expired or disabled.
        """
        page = self._roster.page(number)
        recalled = self.recalled(authorization, page.number)
        if recalled is not None:
            return recalled
        presented = parse_authorization(authorization)
        if presented is None:
            raise Unauthenticated(presented=True)
        actor, until = self._presented(page, presented)
        if len(self._right) >= _MOST:
            self._right.clear()
        self._right[_mark(authorization)] = _Recalled(page.number, actor, until)
        return actor

    def recalled(self, authorization: str, number: int) -> Actor | None:
        """The actor of a header that was right a moment ago and still is; None: it has to be looked at.

        Takes no query and no waiting. ``number``: the configuration's, just read.
        """
        found = self._right.get(_mark(authorization))
        if found is None or found.number != number or found.until <= time.time_ns() // 1000:
            return None
        if found.actor.token_id is not None:
            self._uses.add(found.actor.token_id)
        return found.actor

    def basic(self, username: str, password: str) -> Actor:
        """The actor with that user name and password, or with a token as the password of ``__token__``.

        Raises:
            Unauthenticated: there is none.
        """
        return self._presented(self._roster.page(), Basic(username, password))[0]

    def _presented(self, page: Page, presented: Basic | Bearer) -> tuple[Actor, int]:
        """The actor, and until when the same credentials are right if nothing changes."""
        secret = presented_token(presented)
        if secret is not None:
            return self._by_token(page, secret)
        if isinstance(presented, Bearer):
            raise Unauthenticated(presented=True)
        return self._by_password(page, presented)

    def _by_token(self, page: Page, secret: str) -> tuple[Actor, int]:
        token = self._roster.token(page, token_digest(secret))
        expires = _FOREVER if token is None or token.expires_at is None else token.expires_at
        if token is None or token.user.disabled or expires <= now():
            raise Unauthenticated(presented=True)
        self._uses.add(token.token_id)
        return self._roster.actor(page, token.user, token), expires

    def _by_password(self, page: Page, presented: Basic) -> tuple[Actor, int]:
        try:
            user = self._roster.user(page, account_name(presented.username))
        except RequestInvalid:
            user = None
        kept = None if user is None or user.disabled else user.password_hash
        if not self._passwords.matches(kept, presented.password) or user is None:
            raise Unauthenticated(presented=True)
        return self._roster.actor(page, user), now() + round(REMEMBERED_SECONDS * 1e6)

    # Whether

    def answer(
        self,
        actor: Actor,
        permission: Permission,
        *,
        index: str | None = None,
        name: str | None = None,
        number: int | None = None,
    ) -> Answer:
        """Whether an actor may, and what decided.

        Args:
            index: None: in every index.
            name: a normalised project name; None: for every name.
            number: the configuration's, if the caller has just read it.
        """
        page = self._roster.page(number)
        key = (actor, permission, index, name)
        known: Answer | None = page.answers.get(key)
        if known is None:
            known = authorise(actor, permission, name, index, page.grants)
            _remember(page, key, known)
        return known

    def names(
        self, actor: Actor, permission: Permission, *, index: str | None = None, number: int | None = None
    ) -> Names:
        """The names in an index for which the actor has the permission."""
        page = self._roster.page(number)
        key = (actor, permission, index)
        known: Names | None = page.answers.get(key)
        if known is None:
            known = names_allowed(actor, permission, index, page.grants)
            _remember(page, key, known)
        return known

    def require(
        self,
        actor: Actor,
        permission: Permission,
        *,
        index: str | None = None,
        name: str | None = None,
        some: bool = False,
        number: int | None = None,
    ) -> None:
        """Return if an actor may; what cannot be seen looks as if it were not there.

        Args:
            some: it is enough to have the permission for some names of the index.

        Raises:
            Unauthenticated: nobody is signed in, and nobody may.
            NotFound: somebody may not even read; whether there is such a thing, is not said.
            Forbidden: somebody may not.
        """
        if some:
            if self.names(actor, permission, index=index, number=number):
                return
            reason = f"no grant gives {actor.name} {permission} here"
            limited = False
        else:
            answer = self.answer(actor, permission, index=index, name=name, number=number)
            if answer.allowed:
                return
            reason, limited = answer.reason, answer.limited
        if not actor.signed_in:
            raise Unauthenticated
        log.info("access.refused", actor=actor.audit_name, permission=permission.value, reason=reason)
        if permission is Permission.READ and index is not None and not limited:
            if name is not None and self.names(actor, permission, index=index, number=number):
                raise NotFound("project", name)
            raise NotFound("index", index)
        raise Forbidden(permission.value, reason)


def _remember(page: Page, key: object, answer: object) -> None:
    if len(page.answers) >= _MOST:
        page.answers.clear()
    page.answers[key] = answer


def _mark(authorization: str) -> bytes:
    """What is remembered in place of a header with a secret in it."""
    return hashlib.sha256(authorization.encode("utf-8", "surrogateescape")).digest()
