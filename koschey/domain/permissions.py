"""Who may do what: permissions, the roles that bundle them, grants, and the one question that is asked.

A grant only ever adds. What a token says of itself only ever takes away.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from types import MappingProxyType

from koschey.errors import RequestInvalid


class Permission(StrEnum):
    """What a route, or a verb of a service, asks for."""

    READ = "read"  # pages, files, and the explanations of what one may read
    ASK = "ask"  # for a version that is hidden, as somebody who is signed in
    UPLOAD = "upload"  # files of hosted projects
    MANAGE = "manage"  # yank, delete, archive or deprecate a hosted project
    REVIEW = "review"  # decisions of the quarantine, trust
    AUDIT = "audit"  # see the queue, events and every explanation; it changes nothing
    INSPECT = "inspect"  # see who may do what, and the settings; it changes nothing
    ADMIN = "admin"  # users, grants, indexes, upstreams, policies, claimed names, jobs, settings


class Role(StrEnum):
    """A named set of permissions; what a grant gives."""

    READER = "reader"
    PUBLISHER = "publisher"
    REVIEWER = "reviewer"
    AUDITOR = "auditor"
    ADMIN = "admin"


ROLES: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {
        Role.READER: frozenset({Permission.READ, Permission.ASK}),
        Role.PUBLISHER: frozenset({Permission.READ, Permission.ASK, Permission.UPLOAD, Permission.MANAGE}),
        Role.REVIEWER: frozenset({Permission.READ, Permission.ASK, Permission.REVIEW, Permission.AUDIT}),
        Role.AUDITOR: frozenset({Permission.READ, Permission.ASK, Permission.AUDIT, Permission.INSPECT}),
        Role.ADMIN: frozenset(Permission),
    }
)


class Scope(StrEnum):
    """What a token is for, at the most: a token never does what its user may not."""

    READ = "read"
    UPLOAD = "upload"
    ADMIN = "admin"


SCOPES: Mapping[Scope, frozenset[Permission]] = MappingProxyType(
    {
        Scope.READ: frozenset({Permission.READ}),
        Scope.UPLOAD: frozenset({Permission.READ, Permission.UPLOAD}),
        Scope.ADMIN: frozenset(Permission),
    }
)


class Kind(StrEnum):
    """How an actor came to be known."""

    ANONYMOUS = "anonymous"
    USER = "user"  # by session, password or a plug-in's word
    TOKEN = "token"  # noqa: S105 - a word


EVERYONE = "everyone"
SIGNED_IN = "signed-in"
#: User names that would be taken for something else.
_RESERVED = frozenset({EVERYONE, SIGNED_IN, "anonymous", "koschey"})
_ACCOUNT = re.compile(r"[a-z0-9](?:[a-z0-9._@+-]{0,98}[a-z0-9])?")
_GLOB = re.compile(r"[A-Za-z0-9*?](?:[A-Za-z0-9._*?-]{0,198}[A-Za-z0-9*?])?")


@dataclass(frozen=True)
class Actor:
    """Somebody who asks for something."""

    name: str
    """The user's; of a token, its user's."""
    kind: Kind
    groups: frozenset[str] = frozenset()
    scopes: frozenset[Scope] | None = None
    """What the token is for; None: no token, and no limit."""
    globs: frozenset[str] = frozenset()
    """Normalised names that the token is for; empty: all."""
    token_id: int | None = None

    @property
    def signed_in(self) -> bool:
        """Whether this is somebody."""
        return self.kind is not Kind.ANONYMOUS

    @property
    def audit_name(self) -> str:
        """How events name the actor."""
        if not self.signed_in:
            return Kind.ANONYMOUS.value
        return f"user:{self.name}" + ("" if self.token_id is None else f" (token {self.token_id})")


ANONYMOUS = Actor("anonymous", Kind.ANONYMOUS)


@dataclass(frozen=True)
class GrantRule:
    """A role for a subject, on an index (None: all), for the names that match a glob."""

    id: int
    role: Role
    subject: str
    """``everyone``, ``signed-in``, ``user:NAME`` or ``group:NAME``."""
    index: str | None = None
    pattern: str = "*"

    def concerns(self, actor: Actor) -> bool:
        """Whether the actor is the subject, or one of it."""
        kind, _, name = self.subject.partition(":")
        if not name:
            return kind == EVERYONE or actor.signed_in
        return actor.signed_in and (name == actor.name if kind == "user" else name in actor.groups)

    def covers(self, name: str | None, index: str | None) -> bool:
        """Whether it is about a normalised name (None: about all names) in an index (None: in all)."""
        return self.index in (None, index) and (
            self.pattern == "*" if name is None else fnmatchcase(name, self.pattern)
        )

    def __str__(self) -> str:
        names = "" if self.pattern == "*" else f" for {self.pattern}"
        where = "" if self.index is None else f" in index {self.index}"
        return f"grant {self.id}: {self.role} to {self.subject}{names}{where}"


@dataclass(frozen=True)
class Answer:
    """Yes or no, and what decided."""

    allowed: bool
    reason: str
    grant: GrantRule | None = None
    plugin: str | None = None
    """The plug-in that decided, if one did."""
    limited: bool = False
    """Whether the actor may and only the token may not: that is no secret to whoever holds the token."""


@dataclass(frozen=True)
class Names:
    """Normalised names by globs: those that match one of ``granted``, and one of ``within`` if it has any."""

    granted: frozenset[str]
    within: frozenset[str] = frozenset()

    @property
    def everything(self) -> bool:
        """Whether every name is in it."""
        return "*" in self.granted and (not self.within or "*" in self.within)

    def __bool__(self) -> bool:
        return bool(self.granted)

    def __contains__(self, name: str) -> bool:
        return any(fnmatchcase(name, glob) for glob in self.granted) and (
            not self.within or any(fnmatchcase(name, glob) for glob in self.within)
        )


def authorise(
    actor: Actor, permission: Permission, name: str | None, index: str | None, grants: Iterable[GrantRule]
) -> Answer:
    """Whether the actor has the permission, and by which grant.

    Args:
        name: a normalised project name; None: the permission for every name.
        index: None: the permission in every index.
    """
    giving = (grant for grant in grants if permission in ROLES[grant.role])
    found = next((grant for grant in giving if grant.concerns(actor) and grant.covers(name, index)), None)
    if found is None:
        return Answer(allowed=False, reason=f"no grant gives {_who(actor)} {permission}{_what(name, index)}")
    problem = token_problem(actor, permission, name)
    if problem is not None:
        return Answer(allowed=False, reason=problem, grant=found, limited=True)
    return Answer(allowed=True, reason=str(found), grant=found)


def token_problem(actor: Actor, permission: Permission, name: str | None) -> str | None:
    """Why an actor's token does not do for a permission, whatever its user may; None if it does."""
    if actor.scopes is not None and not any(permission in SCOPES[scope] for scope in actor.scopes):
        return f"this token is for {_listed(actor.scopes)}, not for {permission}"
    if actor.globs and not (name is not None and any(fnmatchcase(name, glob) for glob in actor.globs)):
        return f"this token is for {_listed(actor.globs)} only"
    return None


def names_allowed(
    actor: Actor, permission: Permission, index: str | None, grants: Iterable[GrantRule]
) -> Names:
    """The names in an index for which the actor has the permission; none when the token is not for it."""
    if actor.scopes is not None and not any(permission in SCOPES[scope] for scope in actor.scopes):
        return Names(frozenset())
    patterns = frozenset(
        grant.pattern
        for grant in grants
        if permission in ROLES[grant.role] and grant.concerns(actor) and grant.index in (None, index)
    )
    return Names(frozenset("*") if "*" in patterns else patterns, actor.globs)


def account_name(text: str) -> str:
    """The name of a user or group in its one spelling. Raises: RequestInvalid."""
    name = text.strip().lower()
    if not _ACCOUNT.fullmatch(name) or name in _RESERVED or name.isdigit():
        raise RequestInvalid(
            f"{text!r} is no name for a user or group: up to 100 letters, digits and . _ @ + -, "
            f"not digits only, and none of {', '.join(sorted(_RESERVED))}"
        )
    return name


def subject_of(text: str) -> str:
    """A grant's subject as people write it; ``NAME`` is ``user:NAME``. Raises: RequestInvalid."""
    word = text.strip().lower()
    if word in (EVERYONE, SIGNED_IN):
        return word
    kind, colon, name = word.partition(":")
    if not colon:
        kind, name = "user", word
    if kind not in ("user", "group"):
        raise RequestInvalid(f"{text!r}: a subject is NAME, group:NAME, {SIGNED_IN} or {EVERYONE}")
    return f"{kind}:{account_name(name)}"


def name_glob(text: str) -> str:
    """A glob of ``*`` and ``?`` over normalised names, itself normalised. Raises: RequestInvalid."""
    if not _GLOB.fullmatch(text):
        raise RequestInvalid(f"{text!r} is no glob over project names: letters, digits, . _ - and * ?")
    return re.sub(r"[-_.]+", "-", text).lower()


def _who(actor: Actor) -> str:
    if not actor.signed_in:
        return "people who are not signed in"
    return actor.name or ", ".join(sorted(actor.groups)) or "whoever is signed in"


def _what(name: str | None, index: str | None) -> str:
    what = "" if name is None else f" for {name}"
    return what + ("" if index is None else f" in index {index}")


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))
