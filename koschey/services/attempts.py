"""Failed attempts to sign in, counted in the database: every process of every machine knows of them."""

from __future__ import annotations

import hmac
import unicodedata
from ipaddress import IPv6Address, ip_address, ip_network

from sqlalchemy import text

from koschey.domain.page import Microseconds
from koschey.errors import TooManyAttempts
from koschey.stores.database import Database, now

#: So many may fail in a window, for one name from one address, and from one address for all names.
MOST_FOR_NAME, MOST_FROM_ADDRESS = 10, 100
#: The same for one name from all addresses together. An address from which the name was right lately is not
#: concerned, so that strangers cannot lock somebody out (OWASP ASVS 5, 6.1.1 and 6.3.1).
MOST_FOR_NAME_ANYWHERE = 100
WINDOW: Microseconds = 15 * 60 * 1_000_000
#: For which an address from which a name was right is remembered.
FAMILIAR: Microseconds = 30 * 86_400 * 1_000_000
#: Whoever has one address of IPv6 has as many as these first bits leave open.
_SITE = 64

_COUNTS = text("SELECT key, count, began_at FROM sign_in_failure WHERE key IN (:one, :all, :name, :right)")
#: A window begins with its first failure.
_COUNT = text(
    "INSERT INTO sign_in_failure (key, count, began_at) VALUES (:key, 1, :at) "
    "ON CONFLICT (key) DO UPDATE SET "
    "count = CASE WHEN sign_in_failure.began_at <= :over THEN 1 ELSE sign_in_failure.count + 1 END, "
    "began_at = CASE WHEN sign_in_failure.began_at <= :over THEN :at ELSE sign_in_failure.began_at END"
)
_FORGET = text("DELETE FROM sign_in_failure WHERE key = :key")
_FAMILIAR = text(
    "INSERT INTO sign_in_failure (key, count, began_at) VALUES (:key, 0, :at) "
    "ON CONFLICT (key) DO UPDATE SET began_at = :at"
)
_SWEEP = text(
    "DELETE FROM sign_in_failure WHERE began_at <= :over AND (count > 0 OR began_at <= :unfamiliar)"
)


class Attempts:
    """Counts failures by name and address, under a key, so that the table says nothing to who steals it."""

    def __init__(self, database: Database, key: str) -> None:
        self._database = database
        self._key = key.encode()

    def check(self, name: str, address: str) -> None:
        """Raise TooManyAttempts if too many failed just now, whether the next one would be right or not."""
        keys, at = self._keys(name, address), now()
        with self._database.reading() as session:
            found = {key: (count, began) for key, count, began in session.execute(_COUNTS, keys)}
        limits = {keys["one"]: MOST_FOR_NAME, keys["all"]: MOST_FROM_ADDRESS}
        _, right_at = found.get(keys["right"], (0, 0))
        if right_at <= at - FAMILIAR:
            limits[keys["name"]] = MOST_FOR_NAME_ANYWHERE
        reached = [key for key, most in limits.items() if key in found and found[key][0] >= most]
        wait = max((found[key][1] + WINDOW - at for key in reached), default=0)
        if wait > 0:
            raise TooManyAttempts(wait / 1e6)

    def failed(self, name: str, address: str) -> None:
        """Count a failure."""
        keys, at = self._keys(name, address), now()
        counted = sorted(keys[what] for what in ("one", "all", "name"))
        with self._database.transaction() as tx:
            tx.connection.execute(_COUNT, [{"key": key, "at": at, "over": at - WINDOW} for key in counted])

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of a name from an address, and remember that it was right there."""
        keys = self._keys(name, address)
        with self._database.transaction() as tx:
            tx.connection.execute(_FORGET, {"key": keys["one"]})
            tx.connection.execute(_FAMILIAR, {"key": keys["right"], "at": now()})

    def sweep(self) -> None:
        """Remove what is over."""
        at = now()
        with self._database.transaction() as tx:
            tx.connection.execute(_SWEEP, {"over": at - WINDOW, "unfamiliar": at - FAMILIAR})

    def _keys(self, name: str, address: str) -> dict[str, str]:
        """By what they count: the name from the address, all names from there, the name from everywhere; and
        ``right``, since when the name was right from there."""
        name, place = _alike(name), _place(address)
        said = {
            "one": f"name\0{name}\0{place}",
            "all": f"address\0{place}",
            "name": f"anywhere\0{name}",
            "right": f"right\0{name}\0{place}",
        }
        return {what: self._digest(words) for what, words in said.items()}

    def _digest(self, said: str) -> str:
        return hmac.digest(self._key, said.encode("utf-8", "surrogateescape"), "sha256").hex()


def _alike(name: str) -> str:
    """What all spellings of a name have in common that a directory takes for the same (RFC 4518 section 2).

    Otherwise each of them would be a name of its own to guess by.
    """
    letters = unicodedata.normalize("NFKD", name).casefold()
    return "".join(c for c in letters if c.isprintable() and not c.isspace() and not unicodedata.combining(c))


def _place(address: str) -> str:
    """An address as far as it tells one client from another."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ip_network((found, _SITE), strict=False))
