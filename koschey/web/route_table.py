"""Which route asks for what, by the application itself: for the documentation, and for people who wonder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from flask import Flask

from koschey.domain.permissions import ROLES, Permission, Role
from koschey.web.access import Public, declaration

_QUIET = frozenset({"HEAD", "OPTIONS"})


class RouteRow(NamedTuple):
    """A route, what it asks for, and who has that."""

    path: str
    method: str
    permission: Permission | None
    """None: it is public, or nobody said."""
    scope: str
    """For which names, in which index it is asked."""
    roles: tuple[Role, ...]
    reason: str
    """Why a public one is."""


def route_rows(app: Flask) -> list[RouteRow]:
    """Every route and method by its path."""
    rows = []
    for rule in app.url_map.iter_rules():
        declared = declaration(app, rule.endpoint)
        for method in sorted((rule.methods or set()) - _QUIET):
            if declared is None or isinstance(declared, Public):
                reason = "" if declared is None else declared.reason
                rows.append(RouteRow(rule.rule, method, None, "", tuple(Role) if declared else (), reason))
                continue
            roles = tuple(role for role in Role if declared.permission in ROLES[role])
            scope = _scope(rule.arguments | set(rule.defaults or ()), some=declared.some)
            rows.append(RouteRow(rule.rule, method, declared.permission, scope, roles, ""))
    return sorted(rows)


def as_rst(rows: Iterable[RouteRow]) -> str:
    """The table of ``docs/permissions.rst``."""
    lines = [".. list-table::", "   :header-rows: 1", "", *_cells("Route", "Permission", *Role)]
    for row in rows:
        asked = "nobody" if row.permission is None else f"{row.permission} {row.scope}"
        marks = ["yes" if role in row.roles else "" for role in Role]
        lines += _cells(f"``{row.method} {row.path}``", asked, *marks)
    lines += ["", "Why the public ones are:", ""]
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.permission is None:
            reasons.setdefault(row.reason, []).append(f"``{row.method} {row.path}``")
    for reason, paths in reasons.items():
        lines += [f"* {', '.join(paths)}: {reason}."]
    return "\n".join(lines) + "\n"


def _cells(*texts: str) -> list[str]:
    first, *rest = texts
    return [f"   * - {first}", *(f"     - {text}".rstrip() for text in rest)]


def _scope(arguments: set[str], *, some: bool) -> str:
    where = "in the index" if "index" in arguments else "in every index"
    if some:
        return f"for some name {where if 'index' in arguments else 'in some index'}"
    return f"for the name {where}" if arguments & {"name", "project"} else f"for every name {where}"
