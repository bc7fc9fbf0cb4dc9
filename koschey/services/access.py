"""Who asks, and whether they may: the one place that every route and service asks."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from typing import NamedTuple

import structlog

from koschey.domain.credentials import Basic, Bearer, parse_authorization, presented_token, token_digest
from koschey.domain.names import is_valid_name, normalize
from koschey.domain.permissions import (
    ANONYMOUS,
    Actor,
    Answer,
    Names,
    Permission,
    account_name,
    authorise,
    names_allowed,
    subject_of,
    token_problem,
)
from koschey.errors import Forbidden, NotFound, RequestInvalid, Unauthenticated
from koschey.hookspecs import Identity, SignInRequest
from koschey.services.attempts import Attempts
from koschey.services.identities import Identities
from koschey.services.opinions import Opinions
from koschey.services.passwords import REMEMBERED_SECONDS, Passwords
from koschey.services.roster import Page, Roster
from koschey.services.token_uses import TokenUses
from koschey.stores.database import now

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_MOST = 20_000
#: For which a plug-in is not asked again about the same password or bearer token.
_PLUGIN_SECONDS = 60.0
_FOREVER = 2**63


class _Recalled(NamedTuple):
    """Credentials that were found right at a number of the configuration, until a time (microseconds)."""

    number: int
    actor: Actor
    until: int


class Admission(NamedTuple):
    """Somebody who may read a name in an index."""

    actor: Actor
    open_to_all: bool
    """Whether everybody may, so that it matters not who asks."""
    until: int
    """When the credentials have to be looked at again (microseconds since 1970)."""


class Access:
    """Turns credentials into actors, and answers whether an actor may do something."""

    def __init__(
        self,
        roster: Roster,
        passwords: Passwords,
        uses: TokenUses,
        attempts: Attempts,
        identities: Identities,
        opinions: Opinions,
    ) -> None:
        self._roster = roster
        self._passwords = passwords
        self._uses = uses
        self._attempts = attempts
        self._identities = identities
        self._opinions = opinions
        self._right: dict[bytes, _Recalled] = {}

    # Who

    @property
    def asks_about_headers(self) -> bool:
        """Whether a request without credentials may still be somebody's, by a plug-in's word."""
        return self._identities.any

    def number(self) -> int:
        """The configuration's number, read now."""
        return self._roster.number()

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
        if recalled is not None:
            return recalled
        presented = parse_authorization(authorization)
        if presented is None:
            raise Unauthenticated(presented=True)
        found = self._presented(page, presented, request)
        if len(self._right) >= _MOST:
            self._right.clear()
        self._right[_mark(authorization)] = found
        return found.actor

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

    def admission(self, authorization: str | None, index: str, name: str, number: int) -> Admission | None:
        """Somebody who reads a name, if that is known already; takes no query and no waiting.

        Args:
            authorization: the header as it was sent; None: there is none.
            number: the configuration's, just read.

        Returns:
            None: it has to be found out, or refused.
        """
        if self._opinions.any:
            return None  # a plug-in may take its time
        page = self._roster.page(number)
        key = (authorization, index, name)
        known: Admission | None = page.admissions.get(key)
        if known is None:
            known = self._admission(page, authorization, index, name)
            if known is None:
                return None
            if len(page.admissions) >= _MOST:
                page.admissions.clear()
            page.admissions[key] = known
        if known.until != _FOREVER and known.until <= time.time_ns() // 1000:
            return None
        if known.actor.token_id is not None:
            self._uses.add(known.actor.token_id)
        return known

    def _admission(self, page: Page, authorization: str | None, index: str, name: str) -> Admission | None:
        actor, until = ANONYMOUS, _FOREVER
        if authorization is not None:
            found = self._right.get(_mark(authorization))
            if found is None or found.number != page.number:
                return None
            actor, until = found.actor, found.until
        if not self.answer(actor, Permission.READ, index=index, name=name, number=page.number).allowed:
            return None
        return Admission(actor, self.open_to_all(index, name, page.number), until)

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

    def _presented(self, page: Page, presented: Basic | Bearer, request: SignInRequest) -> _Recalled:
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

    def _by_token(self, page: Page, secret: str) -> _Recalled:
        token = self._roster.token(page, token_digest(secret))
        expires = _FOREVER if token is None or token.expires_at is None else token.expires_at
        if token is None or token.user.disabled or expires <= now():
            raise Unauthenticated(presented=True)
        self._uses.add(token.token_id)
        return _Recalled(page.number, self._roster.actor(page, token.user, token), expires)

    def _by_password(self, page: Page, presented: Basic, request: SignInRequest) -> _Recalled:
        """A local user's own password; that of anybody else is a plug-in's business."""
        try:
            user = self._roster.user(page, account_name(presented.username))
        except RequestInvalid:
            user = None
        kept = None if user is None or user.disabled else user.password_hash
        if user is not None and self._passwords.remembers(kept, presented.password):
            return self._for_a_while(page, self._roster.actor(page, user), REMEMBERED_SECONDS)
        name = presented.username.strip().lower()
        self._attempts.check(name, request.client)
        actor, seconds = None, REMEMBERED_SECONDS
        if self._passwords.matches(kept, presented.password) and user is not None:
            actor = self._roster.actor(page, user)
        elif user is None or (user.password_hash is None and not user.disabled):
            actor, seconds = self._by_plugin(page, presented, request), _PLUGIN_SECONDS
        if actor is None:
            self._attempts.failed(name, request.client)
            known = user.name if user is not None else None
            log.warning("access.sign_in_failed", client=request.client, user=known)
            raise Unauthenticated(presented=True)
        self._attempts.succeeded(name, request.client)
        return self._for_a_while(page, actor, seconds)

    def _by_plugin(self, page: Page, presented: Basic, request: SignInRequest) -> Actor | None:
        asked = replace(request, username=presented.username, password=presented.password)
        try:
            return self._identities.actor(page, asked)
        except Unauthenticated:
            return None

    @staticmethod
    def _for_a_while(page: Page, actor: Actor, seconds: float) -> _Recalled:
        # By the number before it was found out: whatever changed meanwhile, it is looked at again.
        return _Recalled(page.number, actor, now() + round(seconds * 1e6))

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

        Raises:
            PluginError: a plug-in that has opinions failed.
        """
        opinion = self._opinions.answer(actor, permission, name, index) if self._opinions.any else None
        if opinion is not None:
            return opinion
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
        opinion = self._opinions.names(actor, permission, index) if self._opinions.any else None
        if opinion is not None:
            return opinion
        page = self._roster.page(number)
        key = (actor, permission, index)
        known: Names | None = page.answers.get(key)
        if known is None:
            known = names_allowed(actor, permission, index, page.grants)
            _remember(page, key, known)
        return known

    def open_to_all(self, index: str | None, name: str | None, number: int | None = None) -> bool:
        """Whether everybody may read a name, or every name, in an index, so that it matters not who asks."""
        if self._opinions.any:
            return False
        return self.answer(ANONYMOUS, Permission.READ, index=index, name=name, number=number).allowed

    def explain(self, subject: str, permission: Permission, *, index: str | None, name: str | None) -> Answer:
        """The answer for a subject as people write it, for whoever wonders.

        Raises:
            RequestInvalid: no subject, or no name of a project. NotFound: no such user.
        """
        if name is not None and not is_valid_name(name):
            raise RequestInvalid(f"{name!r} is no name of a project")
        page = self._roster.page()
        subject = subject_of(subject)
        actor = self._roster.actor_for(page, subject)
        if actor is None:
            raise NotFound("user", subject.partition(":")[2])
        if self._roster.disabled(page, subject):
            return Answer(allowed=False, reason=f"{actor.name} is disabled")
        wanted = None if name is None else normalize(name)
        return self.answer(actor, permission, index=index, name=wanted, number=page.number)

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
            problem = token_problem(actor, permission, next(iter(actor.globs), None))
            reason = problem or f"no grant gives {actor.name} {permission} here"
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
