"""What a request says of its sender, as plug-ins see it."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from flask import request

from koschey.errors import SettingsInvalid
from koschey.hookspecs import SignInRequest
from koschey.web.current import koschey

_UNIX = "unix"
_SECRET = frozenset({"authorization", "cookie", "proxy-authorization"})

Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


@lru_cache(maxsize=8)
def declared_proxies(setting: str) -> tuple[bool, Networks]:
    """Whether proxies on Unix sockets are believed, and the networks of those that are.

    Raises:
        SettingsInvalid: something in the setting is no address and no network.
    """
    words = [word.strip() for word in setting.split(",") if word.strip()]
    try:
        networks = tuple(ipaddress.ip_network(word) for word in words if word != _UNIX)
    except ValueError as error:
        raise SettingsInvalid("proxy_addresses", str(error)) from error
    return _UNIX in words, networks


def is_proxy(peer: str, setting: str) -> bool:
    """Whether the other end of a connection is a declared proxy; ``peer`` is empty for a Unix socket."""
    unix, networks = declared_proxies(setting)
    if not peer:
        return unix
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)


def sign_in_request(*, username: str | None = None, password: str | None = None) -> SignInRequest:
    """The current request without our own credentials in it; name and password are those of a form."""
    before = request.environ.get("werkzeug.proxy_fix.orig", request.environ)
    peer = before.get("REMOTE_ADDR") or ""
    return SignInRequest(
        method=request.method,
        path=request.path,
        headers={
            name.lower(): value for name, value in request.headers.items() if name.lower() not in _SECRET
        },
        client=request.remote_addr or "",
        peer=peer,
        through_proxy=is_proxy(peer, koschey().settings.proxy_addresses),
        username=username,
        password=password,
    )
