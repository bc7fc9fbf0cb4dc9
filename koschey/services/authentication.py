"""Who asks: credentials of every kind turned into actors, and what is remembered of those that were right."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from typing import NamedTuple

import structlog

from koschey.domain.credentials import Basic, Bearer, parse_authorization, presented_token, token_digest
from koschey.domain.permissions import Actor, account_name
from koschey.errors import Forbidden, RequestInvalid, Unauthenticated
from koschey.hookspecs import Identity, SignInRequest
from koschey.services.attempts import Attempts
from koschey.services.identities import Identities
from koschey.services.passwords import REMEMBERED_SECONDS, Passwords
from koschey.services.roster import Page, Roster
from koschey.services.token_uses import TokenUses
from koschey.stores.database import now

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: So many credentials are remembered; then it begins anew.
_MOST = 20_000
#: For which a plug-in is not asked again about the same password or bearer token.
_PLUGIN_SECONDS = 60.0
#: Of credentials that do not expire.
FOREVER = 2**63


class Recalled(NamedTuple):
    """Credentials that were found right at a number of the configuration, until a time (microseconds)."""

    number: int
    actor: Actor
    until: int


class Authentication:
    """Finds the actor that credentials, a session or a plug-in's word stand for."""

    def __init__(
        self,
        roster: Roster,
        passwords: Passwords,
        uses: TokenUses,
        attempts: Attempts,
        identities: Identities,
    ) -> None:
        self._roster = roster
        self._passwords = passwords
        self._uses = uses
        self._attempts = attempts
        self._identities = identities
        self._right: dict[bytes, Recalled] = {}

    @property
    def asks_about_headers(self) -> bool:
        """Whether a request without credentials may still be somebody's, by a plug-in's word."""
        return self._identities.any

    def authenticate(self, authorization: str, request: SignInRequest, number: int | None = None) -> Actor:
        """The actor that an Authorization header is.

        Args:
            request: what else is known of the request.
            number: the configuration's, if the caller has just read it.

        Raises:
            Unauthenticated: it is malformed, or the credentials are wrong, revoked, expired or disabled.
            TooManyAttempts: too many passwords were wrong just now.
            PluginError: a plug-in that had to be asked failed.
        """
        page = self._roster.page(number)
        recalled = self.recalled(authorization, page.number)
        if recalled is not None and recalled.until > time.time_ns() // 1000:
            if recalled.actor.token_id is not None:
                self._uses.add(recalled.actor.token_id)
            return recalled.actor
        presented = parse_authorization(authorization)
        if presented is None:
            raise Unauthenticated(presented=True)
        found = self._presented(page, presented, request)
        if len(self._right) >= _MOST:
            self._right.clear()
        self._right[_mark(authorization)] = found
        return found.actor

    def recalled(self, authorization: str, number: int) -> Recalled | None:
        """What a header was found to be, by now perhaps past its time; takes no query and no waiting.

        Args:
            authorization: the header as it was sent.
            number: the configuration's, just read.

        Returns:
            None: it has to be looked at.
        """
        found = self._right.get(_mark(authorization))
        return found if found is not None and found.number == number else None

    def log_in(self, username: str, password: str, request: SignInRequest) -> Actor:
        """The user with that name and password; a token is none. Raises: as ``authenticate``."""
        return self._by_password(self._roster.page(), Basic(username, password), request).actor

    def proved(self, name: str, request: SignInRequest) -> Actor:
        """The user of that name, who has just used a link of theirs: no stranger's failures stand in the way.

        Raises:
            Unauthenticated: gone or disabled meanwhile.
        """
        page = self._roster.page()
        user = self._roster.user(page, name)
        if user is None or user.disabled:
            raise Unauthenticated(presented=True)
        self._attempts.succeeded(user.name, request.client)
        return self._roster.actor(page, user)

    def confirm(self, actor: Actor, password: str, request: SignInRequest) -> None:
        """Return if that is the password that the actor's user has here; neither a token nor a plug-in's is.

        Raises:
            Unauthenticated: it is not, or the user has none here. TooManyAttempts: as ``authenticate``.
        """
        page = self._roster.page()
        user = self._roster.user(page, actor.name)
        if user is None or user.password_hash is None:
            raise Unauthenticated(presented=True)
        self._by_password(page, Basic(actor.name, password), request)

    def by_headers(self, request: SignInRequest) -> Actor | None:
        """The actor whom a plug-in sees in a request without credentials. Raises: as ``authenticate``."""
        return self._identities.actor(self._roster.page(), request) if self._identities.any else None

    def vouched(self, plugin: str, identity: Identity) -> Actor:
        """The actor whom a plug-in's log-in page vouches for. Raises: Unauthenticated, PluginError."""
        return self._identities.accept(plugin, identity)

    def session_key(self, actor: Actor) -> str:
        """What a session of a user is good for: worthless once the user is signed out or disabled.

        Raises:
            Unauthenticated: there is no such user any more.
            Forbidden: the credentials have limits, which a session would not keep.
        """
        if actor.scopes is not None or actor.globs:
            log.warning("access.session_refused", actor=actor.audit_name)
            raise Forbidden(
                "log-in", "these credentials are for some things only, and no session can be had by them"
            )
        user = self._roster.user(self._roster.page(), actor.name)
        if user is None or user.disabled:
            raise Unauthenticated(presented=True)
        return f"{user.user_id}:{user.epoch}"

    def by_session(self, key: str, number: int | None = None) -> Actor | None:
        """The actor of a session; None: it has ended. ``number``: as for ``authenticate``."""
        user_id, _, epoch = key.partition(":")
        if not (user_id.isdigit() and epoch.isdigit()):
            return None
        page = self._roster.page(number)
        user = self._roster.user_with_id(page, int(user_id))
        if user is None or user.disabled or user.epoch != int(epoch):
            return None
        return self._roster.actor(page, user)

    def session_name(self, key: str) -> str:
        """Name of the user whose session it is, or was; empty: there is no such user any more."""
        user_id = key.partition(":")[0]
        user = self._roster.user_with_id(self._roster.page(), int(user_id)) if user_id.isdigit() else None
        return "" if user is None else user.name

    def _presented(self, page: Page, presented: Basic | Bearer, request: SignInRequest) -> Recalled:
        """The actor, and how long the same credentials are right if nothing changes."""
        secret = presented_token(presented)
        if secret is not None:
            return self._by_token(page, secret)
        if isinstance(presented, Bearer):
            actor = self._identities.actor(page, replace(request, bearer=presented.token))
            if actor is None:
                raise Unauthenticated(presented=True)
            return self._for_a_while(page, actor, _PLUGIN_SECONDS)
        return self._by_password(page, presented, request)

    def _by_token(self, page: Page, secret: str) -> Recalled:
        token = self._roster.token(page, token_digest(secret))
        expires = FOREVER if token is None or token.expires_at is None else token.expires_at
        if token is None or token.user.disabled or expires <= now():
            raise Unauthenticated(presented=True)
        self._uses.add(token.token_id)
        return Recalled(page.number, self._roster.actor(page, token.user, token), expires)

    def _by_password(self, page: Page, presented: Basic, request: SignInRequest) -> Recalled:
        """A local user's own password; that of anybody else is a plug-in's business."""
        try:
            user = self._roster.user(page, account_name(presented.username))
        except RequestInvalid:
            user = None
        kept = None if user is None or user.disabled else user.password_hash
        if user is not None and self._passwords.remembers(kept, presented.password):
            return self._for_a_while(page, self._roster.actor(page, user), REMEMBERED_SECONDS)
        name = presented.username.strip().lower()
        actor, seconds = None, REMEMBERED_SECONDS
        with self._attempts.attempt(name, request.client) as attempt:
            if self._passwords.matches(kept, presented.password) and user is not None:
                actor = self._roster.actor(page, user)
            elif user is None or (user.password_hash is None and not user.disabled):
                actor, seconds = self._by_plugin(page, presented, request), _PLUGIN_SECONDS
            attempt.right = actor is not None
        if actor is None:
            known = user.name if user is not None else None
            log.warning("access.sign_in_failed", client=request.client, user=known)
            raise Unauthenticated(presented=True)
        return self._for_a_while(page, actor, seconds)

    def _by_plugin(self, page: Page, presented: Basic, request: SignInRequest) -> Actor | None:
        asked = replace(request, username=presented.username, password=presented.password)
        try:
            return self._identities.actor(page, asked)
        except Unauthenticated:
            return None

    @staticmethod
    def _for_a_while(page: Page, actor: Actor, seconds: float) -> Recalled:
        # By the number before it was found out: whatever changed meanwhile, it is looked at again.
        return Recalled(page.number, actor, now() + round(seconds * 1e6))


def _mark(authorization: str) -> bytes:
    """What is remembered in place of a header with a secret in it."""
    return hashlib.sha256(authorization.encode("utf-8", "surrogateescape")).digest()
