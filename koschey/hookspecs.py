"""Every extension point, on one page. ``docs/plugins.rst`` explains them with examples.

A plug-in is an installed package with an entry point in the group ``koschey``, or a module named in the
setting ``plugins``; its functions carry ``@hookimpl``. A hook that raises or hangs fails closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import pluggy

from koschey.domain.permissions import Actor, Permission, Scope
from koschey.domain.policy import Effect

if TYPE_CHECKING:
    from flask import Blueprint
    from requests.adapters import BaseAdapter

PROJECT = "koschey"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True, kw_only=True)
class Route:
    """How one outgoing request shall travel. What is left out stays as the upstream's settings have it."""

    proxy: str | None = field(default=None, repr=False)  # may carry a password
    """``http://`` or ``https://`` URL of a proxy; the empty string means none at all."""
    headers: Mapping[str, str] = field(default=MappingProxyType({}), repr=False)  # may carry a token
    """Added to the request; sent to the upstream's own origin only, never to where it redirects."""
    ca_file: str | None = None
    """PEM file or folder of the certification authorities to accept, instead of the usual ones."""
    client_cert: str | tuple[str, str] | None = None
    """PEM file of a client certificate with its key, or (certificate, key); own origin only."""
    adapter: BaseAdapter | None = None
    """A whole transport. It answers itself for addresses, certificates and the proxy of its connections."""


@hookspec(firstresult=True)
def koschey_outgoing_request(endpoint_name: str, url: str) -> Route | None:
    """Decide how a request to an upstream travels; None leaves it to the next plug-in.

    Asked before every request, each hop of a redirect and each repetition included, from many threads at
    once; an answer must come within five seconds.

    Args:
        endpoint_name: the upstream's name.
        url: what is about to be fetched, without fragment and user information.
    """


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check of stored files. Built-in ones come through the same door."""

    name: str
    """Lower-case letters, digits and hyphens; what policies call it."""
    summary: str
    """One sentence for people: what it looks for."""
    effect: Effect = Effect.REQUIRED
    """What it means where no policy says otherwise."""
    run: str
    """``package.module:function``: takes a ``koschey.checks.subject.Subject`` and returns a
    ``koschey.domain.checks.Finding``. It is imported and called in a process of its own that is killed when
    it takes too long; what it raises counts as not passed."""


@hookspec
def koschey_checks() -> Iterable[Check]:  # type: ignore[empty-body]  # pluggy takes the signature only
    """Offer checks of stored files. Asked once in each process, at its start."""


@dataclass(frozen=True, kw_only=True)
class SignInRequest:
    """What a request says of who sends it. A ``koschey_…`` token is Koschey's own and never shown here."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default=MappingProxyType({}), repr=False)  # may carry secrets
    """Names in lower case. Authorization and Cookie are left out."""
    client: str = ""
    """Address of the client, behind as many proxies as the setting ``trusted_proxies`` says."""
    peer: str = ""
    """Address of the connection's other end; empty for a Unix socket."""
    through_proxy: bool = False
    """Whether the other end is one of the setting ``proxy_addresses``: only then may a header be believed."""
    username: str | None = None
    """Of HTTP Basic, or of the log-in form; with a password."""
    password: str | None = field(default=None, repr=False)
    bearer: str | None = field(default=None, repr=False)
    """A bearer token that is none of Koschey's own."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Somebody whom a plug-in vouches for."""

    name: str
    """Name of the user; made when there is none. A user with a password here cannot be taken over."""
    groups: frozenset[str] = frozenset()
    """All groups that the plug-in knows the user in; those count of which one of the same name is here."""
    scopes: frozenset[Scope] | None = None
    """What these credentials are for at the most, as of a token; None: all that the user may."""
    projects: frozenset[str] = frozenset()
    """Globs over project names that they are for; empty: all."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A plug-in's word that credentials are wrong: the client gets a 401 and no other plug-in is asked."""

    reason: str
    """For the log only."""


@hookspec(firstresult=True)
def koschey_authenticate(request: SignInRequest) -> Identity | Refusal | None:
    """Say who sends a request; None leaves it to the next plug-in.

    Asked, from many threads at once, with a user name and password that are no local user's; with a bearer
    token that is not Koschey's; and, for a request with neither, with its headers. An answer must come
    within five seconds. What a right name and password, or bearer token, came to is remembered for
    a minute; headers are asked about each time.
    """


@dataclass(frozen=True, kw_only=True)
class LogInPage:
    """A way for people to log in with a browser, by pages of the plug-in's own."""

    name: str
    """Lower-case letters, digits and hyphens; the blueprint is mounted at ``/login/<name>``."""
    label: str
    """Of the button on the log-in page, which leads to ``/login/<name>/``."""
    blueprint: Blueprint
    """Its views carry ``koschey.web.access.public``; one of them ends in ``koschey.web.sign_in.finish``."""


@hookspec
def koschey_log_in_pages() -> Iterable[LogInPage]:  # type: ignore[empty-body]  # pluggy takes the signature only
    """Offer log-in pages. Asked once in each process, at its start."""


@dataclass(frozen=True, kw_only=True)
class Opinion:
    """A plug-in's word on whether somebody may do something."""

    allowed: bool
    reason: str
    """One sentence: ``koschey acl explain`` and the log show it."""
    names: frozenset[str] | None = None
    """Only when asked about every name, and allowed: globs over the names for which it is so."""


@hookspec(firstresult=True)
def koschey_authorise(
    actor: Actor, permission: Permission, name: str | None, index: str | None
) -> Opinion | None:
    """Allow or deny; None leaves it to the next plug-in, and in the end to the grants.

    Asked with every request, from many threads at once; an answer must come within five seconds. What a
    token is not for stays denied.

    Args:
        name: normalised name of a project; None: every name, such as for the list of names.
        index: its name; None: every index.
    """
