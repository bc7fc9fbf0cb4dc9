"""Whether somebody may: the one place that every route and service asks."""

from __future__ import annotations

import time
from typing import NamedTuple

import structlog

from koschey.domain.names import is_valid_name, normalize
from koschey.domain.permissions import (
    ANONYMOUS,
    Actor,
    Answer,
    Names,
    Permission,
    authorise,
    names_allowed,
    subject_of,
    token_problem,
)
from koschey.errors import Forbidden, NotFound, RequestInvalid, Unauthenticated
from koschey.services.authentication import FOREVER, Authentication
from koschey.services.opinions import Opinions
from koschey.services.roster import Page, Roster
from koschey.services.token_uses import TokenUses

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: So many answers are remembered for a state of the grants; then it begins anew.
_MOST = 20_000


class Reader(NamedTuple):
    """Somebody who may read a name in an index."""

    actor: Actor
    open_to_all: bool
    """Whether everybody may, so that it matters not who asks."""
    until: int
    """When the credentials have to be looked at again (microseconds since 1970)."""


class Access:
    """Answers whether an actor may do something, by grants and by what plug-ins say."""

    def __init__(
        self, roster: Roster, authentication: Authentication, uses: TokenUses, opinions: Opinions
    ) -> None:
        self._roster = roster
        self._authentication = authentication
        self._uses = uses
        self._opinions = opinions

    def number(self) -> int:
        """The configuration's number, read now."""
        return self._roster.number()

    def known_reader(self, authorization: str | None, index: str, name: str, number: int) -> Reader | None:
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
        known: Reader | None = page.readers.get(key)
        if known is None:
            known = self._reader(page, authorization, index, name)
            if known is None:
                return None
            if len(page.readers) >= _MOST:
                page.readers.clear()
            page.readers[key] = known
        if known.until != FOREVER and known.until <= time.time_ns() // 1000:
            return None
        if known.actor.token_id is not None:
            self._uses.add(known.actor.token_id)
        return known

    def _reader(self, page: Page, authorization: str | None, index: str, name: str) -> Reader | None:
        actor, until = ANONYMOUS, FOREVER
        if authorization is not None:
            found = self._authentication.recalled(authorization, page.number)
            if found is None:
                return None
            actor, until = found.actor, found.until
        if not self.answer(actor, Permission.READ, index=index, name=name, number=page.number).allowed:
            return None
        return Reader(actor, self.open_to_all(index, name, page.number), until)

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
