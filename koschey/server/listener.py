"""The listening socket: where it is bound, and how that is said as a URL.

The parent process of ``koschey serve`` uses it, and is to carry little: no pathlib here.
"""

from __future__ import annotations

import errno
import os
import socket
import stat

from koschey.errors import KoscheyError

BACKLOG = 2048


class AddressUnusable(KoscheyError):
    """Nothing can listen at ``bind``; ``problem`` says why and what to do."""

    def __init__(self, bind: str, problem: str) -> None:
        self.bind = bind
        self.problem = problem
        super().__init__(f"cannot listen on {bind}: {problem}")


def parse(bind: str) -> tuple[str, int] | str:
    """``host:port``, ``[v6]:port`` or ``unix:path``.

    Returns:
        The host without brackets and the port, of which 0 lets the system choose; or the path.

    Raises:
        AddressUnusable: the text is none of these.
    """
    if bind.startswith("unix:"):
        return bind.removeprefix("unix:")
    host, colon, port = bind.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host or not (port.isascii() and port.isdigit()) or (":" in host and not bracketed):
        raise AddressUnusable(bind, "write host:port, [IPv6 address]:port or unix:path")
    if int(port) > 65535:
        raise AddressUnusable(bind, "a port is at most 65535")
    return host.strip("[]"), int(port)


def listen(bind: str) -> socket.socket:
    """A non-blocking socket that listens at ``bind`` (see ``parse``).

    Raises:
        AddressUnusable: the address is in use, not of this machine, or not permitted.
    """
    address = parse(bind)
    try:
        return _listen_unix(address) if isinstance(address, str) else _listen_tcp(address)
    except UnicodeError as error:
        raise AddressUnusable(bind, "that is no host name") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            problem = "it is in use already; stop the other program or choose another --bind"
        else:
            problem = error.strerror or str(error)
        raise AddressUnusable(bind, problem) from error


def url_of(listener: socket.socket) -> str:
    """The URL by which a client on this machine reaches ``listener``, without a final slash."""
    if listener.family == socket.AF_UNIX:
        return f"http+unix://{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _listen_tcp(address: tuple[str, int]) -> socket.socket:
    host, port = address
    # For a name, Python loads the codec of IDNA and with it a megabyte, but not for bytes.
    numeric = ":" in host or host.replace(".", "").isdecimal()
    found = socket.getaddrinfo(
        host.encode() if numeric else host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, _, _, _, target = found[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A restart must not wait for the old connections' TIME_WAIT.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(target)
        listener.listen(BACKLOG)
        listener.settimeout(0)
    except OSError:
        listener.close()
        raise
    return listener


def _listen_unix(path: str) -> socket.socket:
    _remove_abandoned(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        listener.listen(BACKLOG)
        listener.settimeout(0)
    except OSError:
        listener.close()
        raise
    return listener


def _remove_abandoned(path: str) -> None:
    """Unlink a socket that nobody listens on any more, as a killed server leaves it."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
