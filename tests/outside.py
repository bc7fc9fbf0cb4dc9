"""No test reaches beyond this machine: an audit hook stops each connection that Python makes.

A name that is not of this machine is not looked up either: it fails as it would without a network.
C libraries that connect by themselves (libpq, libuv) are not seen; they get loopback addresses only.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from typing import Any

_CONNECTIONS = ("socket.connect", "socket.sendto")
_LOOKUPS = ("socket.getaddrinfo", "socket.gethostbyname")

_THIS_MACHINE = socket.gethostname()

#: What was tried, for the test's report; code under test may have swallowed the error.
attempts: list[str] = []


class OutsideError(AssertionError):
    """A test tried to reach another machine."""


def block() -> None:
    """Stop connections of this process to other machines from now on; there is no way back."""
    sys.addaudithook(_watch)


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _CONNECTIONS and not is_loopback(arguments[1]):
        attempts.append(str(arguments[1]))
        raise OutsideError(f"tests stay on this machine; this one tried to reach {arguments[1]}")
    if event in _LOOKUPS and not _is_local_name(arguments[0]):
        raise socket.gaierror(socket.EAI_NONAME, f"tests look up no names, and not {arguments[0]!r}")


def is_loopback(address: Any) -> bool:
    """Whether a socket address is of this machine: a unix socket, ``localhost`` or a loopback address."""
    if not isinstance(address, tuple):
        return True
    if address[0] == "localhost":
        return True
    try:
        return ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        return False


def _is_local_name(host: str | bytes | None) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost", _THIS_MACHINE):
        return True
    try:
        return bool(ipaddress.ip_address(str(name).partition("%")[0]))
    except ValueError:
        return False
