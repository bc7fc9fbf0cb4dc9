"""A plug-in: a company's own sign-in by a header, and its rights from a YAML file.

``KOSCHEY_PLUGIN_ACL_FILE`` names the file. It is read again when it changes; a file that cannot be read, or
says what this plug-in does not know, lets nobody do anything until it is put right.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from koschey.domain.permissions import ROLES, Actor, Permission, Role
from koschey.hookspecs import Identity, Opinion, Refusal, SignInRequest, hookimpl


@hookimpl
def koschey_authenticate(request: SignInRequest) -> Identity | Refusal | None:
    """The proxy at the company's door knows everybody by a number."""
    if not request.through_proxy:
        return None  # anybody can send a header
    number = request.headers.get("x-acme-staff", "")
    if not number:
        return None
    staff = _acl().staff
    if number not in staff:
        return Refusal(reason=f"nobody has the staff number {number!r}")
    return Identity(name=staff[number])


@hookimpl
def koschey_authorise(
    actor: Actor, permission: Permission, name: str | None, index: str | None
) -> Opinion | None:
    """What the file says; where it says nothing, the grants decide."""
    acl = _acl()
    roles = [rule for rule in acl.rules if actor.signed_in and rule.concerns(acl.teams, actor.name)]
    rules = [r for r in roles if permission in ROLES[r.role] and r.index in (None, index)]
    if name is None:
        patterns = frozenset(rule.projects for rule in rules)
        return Opinion(allowed=True, reason="by the file", names=patterns) if patterns else None
    for rule in rules:
        if fnmatchcase(name, rule.projects):
            return Opinion(allowed=True, reason=f"{rule.who} is {rule.role} of {rule.projects}")
    return None


@dataclass(frozen=True)
class Rule:
    who: str  # a user, or @team
    role: Role
    projects: str  # a glob over normalised names
    index: str | None

    def concerns(self, teams: dict[str, list[str]], user: str) -> bool:
        return user in teams[self.who[1:]] if self.who.startswith("@") else user == self.who


@dataclass(frozen=True)
class Acl:
    staff: dict[str, str]  # staff number to user
    teams: dict[str, list[str]]
    rules: tuple[Rule, ...]


_read: dict[str, tuple[tuple[int, int], Acl]] = {}


def _acl() -> Acl:
    path = os.environ["KOSCHEY_PLUGIN_ACL_FILE"]
    at = Path(path).stat()
    mark = (at.st_mtime_ns, at.st_size)
    known = _read.get(path)
    if known is None or known[0] != mark:
        known = _read[path] = (mark, _parsed(yaml.safe_load(Path(path).read_text(encoding="utf-8"))))
    return known[1]


def _parsed(document: dict[str, Any]) -> Acl:
    rules = []
    for rule in document["rules"]:
        unknown = rule.keys() - {"who", "role", "projects", "index"}
        if unknown:
            raise ValueError(f"a rule has {', '.join(sorted(unknown))}, which means nothing here")
        rules.append(Rule(rule["who"], Role(rule["role"]), rule.get("projects", "*"), rule.get("index")))
    teams: dict[str, list[str]] = document.get("teams", {})
    for made in rules:
        if made.who.startswith("@") and made.who[1:] not in teams:
            raise ValueError(f"there is no team {made.who}")
    return Acl({str(number): user for number, user in document["staff"].items()}, teams, tuple(rules))
