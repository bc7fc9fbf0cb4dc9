"""A plug-in: the projects ``acme-TEAM-…`` are published by the group TEAM and nobody else, not even admins.

``KOSCHEY_PLUGIN_NAME_PREFIX`` is the company's prefix, ``acme`` without it.
"""

from __future__ import annotations

import os

from koschey.domain.permissions import Actor, Permission
from koschey.hookspecs import Opinion, hookimpl


@hookimpl
def koschey_authorise(actor: Actor, permission: Permission, name: str | None) -> Opinion | None:
    prefix = os.environ.get("KOSCHEY_PLUGIN_NAME_PREFIX", "acme") + "-"
    publishing = permission in (Permission.UPLOAD, Permission.MANAGE)
    if not publishing or name is None or not name.startswith(prefix):
        return None  # the grants decide
    team = name.removeprefix(prefix).partition("-")[0]
    if team in actor.groups:
        return Opinion(allowed=True, reason=f"{name} is the team's own")
    return Opinion(allowed=False, reason=f"{name} is published by the team {team} only")
