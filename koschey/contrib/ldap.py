"""A plug-in: user names and passwords of an LDAP directory, or Active Directory (extra ``ldap``).

The user's entry is searched for, and its password tried by binding as it. A directory that does not answer
fails closed: nobody gets in by it meanwhile.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from koschey.contrib.variables import PREFIX, Variable, Variables
from koschey.errors import SettingsInvalid
from koschey.hookspecs import Identity, LogInPage, Refusal, SignInRequest, hookimpl

if TYPE_CHECKING:
    from ldap3 import Connection, Server

VARIABLES = Variables(
    f"{PREFIX}LDAP_",
    (
        Variable("URL", "ldaps://HOST[:PORT], or ldap:// with STARTTLS (see TLS).", None),
        Variable("BIND_DN", "Entry that searches for users; empty: anonymously."),
        Variable("BIND_PASSWORD", "Its password.", secret=True),
        Variable("USER_BASE", "Below which entry users are, such as ou=people,dc=acme,dc=example.", None),
        Variable("USER_FILTER", "Finds a user; {name} is what was typed.", "(uid={name})"),
        Variable("NAME_ATTRIBUTE", "Attribute with the name that the user has here.", "uid"),
        Variable("GROUP_BASE", "Below which entry groups are; empty: no groups."),
        Variable("GROUP_FILTER", "Finds a user's groups; {dn} is the user's entry.", "(member={dn})"),
        Variable("GROUP_ATTRIBUTE", "Attribute with a group's name.", "cn"),
        Variable("CA_FILE", "PEM file of the authorities to accept; empty: the usual ones."),
        Variable("TLS", "yes; or no: passwords go over ldap:// in the clear.", "yes"),
    ),
)
#: Seconds for a connection and for an answer; the hook has five for all.
_SECONDS = 2


@functools.cache
def _said() -> dict[str, str]:
    said = VARIABLES.read()
    if not said["url"].startswith(("ldap://", "ldaps://")):
        raise SettingsInvalid(f"{VARIABLES.prefix}URL", "it begins with ldaps:// or ldap://")
    if said["tls"] not in ("yes", "no"):
        raise SettingsInvalid(f"{VARIABLES.prefix}TLS", "yes or no")
    for variable, mark in (("user_filter", "{name}"), ("group_filter", "{dn}")):
        if mark not in said[variable]:
            raise SettingsInvalid(VARIABLES.prefix + variable.upper(), f"it has {mark} where that is meant")
    return said


@hookimpl
def koschey_log_in_pages() -> Iterable[LogInPage]:
    """No page: the log-in form asks. What is wrong with the variables shall be known at the start."""
    _said()
    return ()


@hookimpl
def koschey_authenticate(request: SignInRequest) -> Identity | Refusal | None:
    """Whose name and password these are.

    Raises:
        ldap3.core.exceptions.LDAPException: the directory does not answer, or its answer says nothing.
    """
    if request.username is None:
        return None
    if not request.password:
        return Refusal(reason="no password")  # a bind without one succeeds as anonymous (RFC 4513 5.1.2)
    said = _said()
    with _connection(said, said["bind_dn"], said["bind_password"]) as directory:
        if not directory.bind():
            raise RuntimeError("the directory does not accept KOSCHEY_PLUGIN_LDAP_BIND_DN")
        found = _user(directory, said, request.username)
        if found is None:
            return None
        dn, name = found
        with _connection(said, dn, request.password) as own:
            if not own.bind():
                return Refusal(reason=f"the directory does not accept the password of {dn}")
        return Identity(name=name, groups=_groups(directory, said, dn))


def _user(directory: Connection, said: dict[str, str], typed: str) -> tuple[str, str] | None:
    """Entry and name of the one user whom the filter finds."""
    from ldap3.utils.conv import escape_filter_chars

    wanted = said["user_filter"].replace("{name}", escape_filter_chars(typed))
    entries = _search(directory, said["user_base"], wanted, said["name_attribute"])
    if len(entries) > 1:
        raise RuntimeError("KOSCHEY_PLUGIN_LDAP_USER_FILTER finds several entries for one name")
    if not entries:
        return None
    dn, names = entries[0]
    if len(names) != 1:
        raise RuntimeError(f"{dn} has {len(names)} values of {said['name_attribute']}, and needs one")
    return dn, names[0]


def _groups(directory: Connection, said: dict[str, str], dn: str) -> frozenset[str]:
    from ldap3.utils.conv import escape_filter_chars

    if not said["group_base"]:
        return frozenset()
    wanted = said["group_filter"].replace("{dn}", escape_filter_chars(dn))
    entries = _search(directory, said["group_base"], wanted, said["group_attribute"])
    return frozenset(name for _, names in entries for name in names)


def _search(directory: Connection, base: str, wanted: str, attribute: str) -> list[tuple[str, list[str]]]:
    """Entries with the values of an attribute. Raises: RuntimeError: the directory refuses."""
    directory.search(base, wanted, attributes=[attribute])
    if directory.result["result"] not in (0, 32):  # 32: there is no such base, and so nobody below it
        raise RuntimeError(f"the directory answers {directory.result['description']}")
    found = []
    for entry in directory.response or ():
        if entry["type"] == "searchResEntry":
            values: Any = entry["attributes"].get(attribute, [])
            found.append((entry["dn"], [values] if isinstance(values, str) else list(values)))
    return found


@contextmanager
def _connection(said: dict[str, str], dn: str, password: str) -> Iterator[Connection]:
    """A connection that is about to bind as that entry; empty: as nobody."""
    from ldap3 import AUTO_BIND_NONE, SIMPLE, Connection

    connection = Connection(
        _server(said["url"], said["ca_file"]),
        user=dn or None,
        password=password if dn else None,
        authentication=SIMPLE if dn else None,
        auto_bind=AUTO_BIND_NONE,
        receive_timeout=_SECONDS,
        auto_referrals=False,
        raise_exceptions=False,
    )
    try:
        connection.open()
        if said["url"].startswith("ldap://") and said["tls"] == "yes" and not connection.start_tls():
            raise RuntimeError("the directory does not begin TLS")
        yield connection
    finally:
        connection.unbind()
        if connection.socket is not None:  # one that never was connected is left open
            connection.socket.close()


def _server(url: str, ca_file: str) -> Server:
    from ldap3 import NONE, Server, Tls

    tls = Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=ca_file or None)
    return Server(url, tls=tls, get_info=NONE, connect_timeout=_SECONDS)
