"""A plug-in: the company's proxy signs people in and says who they are in a header.

``KOSCHEY_PLUGIN_USER_HEADER`` names the header with the user's name, ``KOSCHEY_PLUGIN_GROUPS_HEADER`` the one
with groups, separated by commas. The proxy must take both away from what clients send, and stand in the
setting ``proxy_addresses``: from anybody else they are words.
"""

from __future__ import annotations

import os

from koschey.hookspecs import Identity, SignInRequest, hookimpl


@hookimpl
def koschey_authenticate(request: SignInRequest) -> Identity | None:
    if not request.through_proxy:
        return None
    name = _header(request, "KOSCHEY_PLUGIN_USER_HEADER", "X-Remote-User")
    if not name:
        return None
    groups = _header(request, "KOSCHEY_PLUGIN_GROUPS_HEADER", "X-Remote-Groups").split(",")
    return Identity(name=name, groups=frozenset(group.strip() for group in groups if group.strip()))


def _header(request: SignInRequest, variable: str, usual: str) -> str:
    return request.headers.get(os.environ.get(variable, usual).lower(), "")
