"""A plug-in: the company's reverse proxy signs people in and says who they are in a header.

The header counts only when the connection comes from an address of the setting ``proxy_addresses``; from
anybody else it is words. The proxy has to take the headers away from what clients send.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

from koschey.contrib.variables import PREFIX, Variable, Variables
from koschey.hookspecs import Identity, LogInPage, Refusal, SignInRequest, hookimpl

VARIABLES = Variables(
    f"{PREFIX}HEADER_",
    (
        Variable("USER", "Header with the user's name.", "X-Remote-User"),
        Variable("GROUPS", "Header with the user's groups; empty: there is none.", "X-Remote-Groups"),
        Variable("SEPARATOR", "What stands between two groups.", ","),
    ),
)


@functools.cache
def _said() -> dict[str, str]:
    return VARIABLES.read()


@hookimpl
def koschey_log_in_pages() -> Iterable[LogInPage]:
    """No page: the proxy logs people in. What is wrong with the variables shall be known at the start."""
    _said()
    return ()


@hookimpl
def koschey_authenticate(request: SignInRequest) -> Identity | Refusal | None:
    """Whom the proxy says."""
    if not request.through_proxy or request.username is not None or request.bearer is not None:
        return None
    said = _said()
    name = request.headers.get(said["user"].lower(), "").strip()
    if not name:
        return None
    if "," in name:
        # Two headers of one name arrive joined: one of them is not the proxy's.
        return Refusal(reason=f"the header {said['user']} came twice, or names more than one user")
    groups = request.headers.get(said["groups"].lower(), "") if said["groups"] else ""
    parts = (group.strip() for group in groups.split(said["separator"] or ","))
    return Identity(name=name, groups=frozenset(filter(None, parts)))
