"""Which addresses an upstream's pages and redirects may lead to.

An explicit table and not ``ipaddress``'s ``is_private``, which takes the documentation and benchmarking
ranges too: those lead nowhere, and are what tests and examples use.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from koschey.errors import UpstreamRefused
from koschey.upstream.deadlines import Exchange
from koschey.upstream.urls import Origin

_IPAddress = IPv4Address | IPv6Address
AddressInfo = tuple[Any, ...]
Resolve = Callable[..., list[AddressInfo]]

_FORBIDDEN = {
    ip_network(network): meaning
    for network, meaning in {
        "0.0.0.0/8": "unspecified",  # RFC 1122: "this host"; Linux connects it to loopback
        "10.0.0.0/8": "private",  # RFC 1918
        "100.64.0.0/10": "carrier-grade NAT",  # RFC 6598; inside of some clouds and VPNs
        "127.0.0.0/8": "loopback",  # RFC 1122
        "169.254.0.0/16": "link-local",  # RFC 3927; the clouds' metadata services
        "172.16.0.0/12": "private",  # RFC 1918
        "192.0.0.0/24": "reserved",  # RFC 6890; a cloud's metadata service lives here as well
        "192.168.0.0/16": "private",  # RFC 1918
        "224.0.0.0/4": "multicast",  # RFC 5771
        "240.0.0.0/4": "reserved",  # RFC 1112, with the broadcast address at its end
        "::/96": "unspecified or loopback",  # RFC 4291: ::, ::1 and the old IPv4-compatible form
        "64:ff9b:1::/48": "private NAT64",  # RFC 8215
        "fc00::/7": "private",  # RFC 4193
        "fe80::/10": "link-local",  # RFC 4291
        "fec0::/10": "private",  # RFC 3879: site-local, deprecated and still routed inside
        "ff00::/8": "multicast",  # RFC 4291
    }.items()
}

# IPv6 ranges that carry an IPv4 address, and how far from the right end its 32 bits are.
_EMBEDDING = {
    ip_network("::ffff:0:0/96"): 0,  # RFC 4291: IPv4-mapped
    ip_network("::ffff:0:0:0/96"): 0,  # RFC 2765: IPv4-translated
    ip_network("64:ff9b::/96"): 0,  # RFC 6052: NAT64
    ip_network("2002::/16"): 80,  # RFC 3056: 6to4
}
_TEREDO = ip_network("2001::/32")  # RFC 4380: the client's address, all bits flipped


def forbidden_range(address: str) -> str | None:
    """What kind of forbidden address this is, in one word or two; None when it may be connected to."""
    return _forbidden(ip_address(address))


def _forbidden(address: _IPAddress) -> str | None:
    for network, meaning in _FORBIDDEN.items():
        if address in network:
            return meaning
    inner = _embedded(address)
    return None if inner is None else _forbidden(inner)


def _embedded(address: _IPAddress) -> IPv4Address | None:
    if address in _TEREDO:
        return IPv4Address(~int(address) & 0xFFFF_FFFF)
    for network, shift in _EMBEDDING.items():
        if address in network:
            return IPv4Address(int(address) >> shift & 0xFFFF_FFFF)
    return None


@dataclass(frozen=True)
class AddressPolicy:
    """Where the connections of one upstream may go."""

    upstream: str
    own: Origin
    """Configured by the operator, so reachable whatever its address."""
    internal: bool
    resolve: Resolve

    def addresses(self, host: str, port: int, exchange: Exchange) -> list[AddressInfo]:
        """Addresses to connect to, all of them checked, as ``getaddrinfo`` describes them.

        The caller connects to these and resolves no second time, so that a name cannot change its
        meaning between the check and the connection.

        Raises:
            UpstreamRefused: one of them is forbidden. OSError: the name cannot be resolved.
        """
        self.check_literal(host, port)
        found: list[tuple[Any, ...]] = exchange.resolved(self.resolve, host, port)
        if not self._exempt(host, port):
            for info in found:
                self._check(host, info[4][0])
        return found

    def check_literal(self, host: str, port: int) -> None:
        """Check what needs no resolver, for a host that a proxy may resolve. Raises: UpstreamRefused."""
        if self._exempt(host, port):
            return
        if host == "localhost" or host.rstrip(".").endswith(".localhost"):  # RFC 6761 section 6.3
            raise UpstreamRefused(self.upstream, f"{host} is a loopback name; declare the upstream internal")
        try:
            # Accepts 127.1 and 0x7f000001 as well, as the proxy's resolver will.
            address = host if ":" in host else socket.inet_ntoa(socket.inet_aton(host))
        except OSError:
            return
        self._check(host, address)

    def _exempt(self, host: str, port: int) -> bool:
        return self.internal or (host, port) == (self.own.host, self.own.port)

    def _check(self, host: str, address: str) -> None:
        meaning = forbidden_range(address)
        if meaning is not None:
            raise UpstreamRefused(
                self.upstream,
                f"{host} leads to {address}, a {meaning} address; declare the upstream internal to allow it",
            )
