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

from koschey.domain.policy import Effect

if TYPE_CHECKING:
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
