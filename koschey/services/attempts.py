"""Attempts to sign in, counted in the database: every process of every machine knows of them."""

from __future__ import annotations

import hmac
import time
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum, auto
from hashlib import sha256
from ipaddress import IPv6Address, ip_address, ip_network

from sqlalchemy import Connection, bindparam, text

from koschey.domain.page import Microseconds
from koschey.errors import Busy, TooManyAttempts
from koschey.stores.database import Database, Transaction, now

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

#: An attempt that is under way longer died with its process, and is not waited for.
_LOST: Microseconds = 120 * 1_000_000
#: Seconds for which an attempt waits for those under way, and between two looks at them.
_PATIENCE, _PAUSE = 10.0, 0.05
#: What is counted of an attempt.
_COUNTED = ("one", "all", "name")

_COUNTS = text("SELECT key, count, began_at FROM sign_in_failure WHERE key IN :keys").bindparams(
    bindparam("keys", expanding=True)
)
#: A window begins with its first failure.
_COUNT = text(
    "INSERT INTO sign_in_failure (key, count, began_at) VALUES (:key, 1, :at) "
    "ON CONFLICT (key) DO UPDATE SET "
    "count = CASE WHEN sign_in_failure.began_at <= :over THEN 1 ELSE sign_in_failure.count + 1 END, "
    "began_at = CASE WHEN sign_in_failure.began_at <= :over THEN :at ELSE sign_in_failure.began_at END"
)
#: What is under way has the time of the last that began.
_BEGIN = text(
    "INSERT INTO sign_in_failure (key, count, began_at) VALUES (:key, 1, :at) "
    "ON CONFLICT (key) DO UPDATE SET began_at = :at, "
    "count = CASE WHEN sign_in_failure.began_at <= :lost THEN 1 ELSE sign_in_failure.count + 1 END"
)
_END = text("UPDATE sign_in_failure SET count = count - 1 WHERE key = :key")
_ENDED = text("DELETE FROM sign_in_failure WHERE key = :key AND count <= 0")
_FORGET = text("DELETE FROM sign_in_failure WHERE key = :key")
_FAMILIAR = text(
    "INSERT INTO sign_in_failure (key, count, began_at) VALUES (:key, 0, :at) "
    "ON CONFLICT (key) DO UPDATE SET began_at = :at"
)
_SWEEP = text(
    "DELETE FROM sign_in_failure WHERE began_at <= :over AND (count > 0 OR began_at <= :unfamiliar)"
)


class Attempt:
    """One attempt to sign in, while it is looked at."""

    right = False
    """To be set once it was found right; what ends without that has failed."""


class _Ended(Enum):
    RIGHT = auto()
    WRONG = auto()
    BROKEN_OFF = auto()


class Attempts:
    """Counts attempts by name and address, under a key, so that the table says nothing to who steals it.

    An attempt counts from before its password is looked at: those that are under way, in any process, and
    those that failed are together never more than may fail.
    """

    def __init__(self, database: Database, key: str) -> None:
        self._database = database
        self._key = key.encode()

    @contextmanager
    def attempt(self, name: str, address: str) -> Iterator[Attempt]:
        """Make an attempt in the block; one that raises has neither failed nor been right.

        It may have to wait for others that are under way: an installer begins with many at once, all right.

        Raises:
            TooManyAttempts: too many failed just now, whether this one would be right or not.
            Busy: too many are under way.
        """
        keys, attempt = self._keys(name, address), Attempt()
        self._begin(keys)
        try:
            yield attempt
        except BaseException:
            self._end(keys, _Ended.BROKEN_OFF)
            raise
        self._end(keys, _Ended.RIGHT if attempt.right else _Ended.WRONG)

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of a name from an address, and remember that it was right there."""
        with self._database.transaction() as tx:
            self._forgive(tx, self._keys(name, address))

    def _begin(self, keys: Mapping[str, str]) -> None:
        patience = time.monotonic() + _PATIENCE
        begun = sorted(_under_way(keys[what]) for what in _COUNTED)
        while True:
            try:
                with self._database.reading() as session:
                    self._check(session.connection(), keys, 1)  # most that is refused is so without writing
                with self._database.transaction() as tx:
                    at = now()
                    tx.connection.execute(
                        _BEGIN, [{"key": key, "at": at, "lost": at - _LOST} for key in begun]
                    )
                    # Under the locks of these rows, which whatever begins or ends takes first.
                    self._check(tx.connection, keys, 0)
                return
            except Busy:
                if time.monotonic() > patience:
                    raise
            time.sleep(_PAUSE)

    def _check(self, connection: Connection, keys: Mapping[str, str], more: int) -> None:
        """Return if ``more`` may begin besides those under way. Raises: as ``attempt``."""
        at = now()
        asked = [*keys.values(), *(_under_way(keys[what]) for what in _COUNTED)]
        found = {key: (count, began) for key, count, began in connection.execute(_COUNTS, {"keys": asked})}
        limits = {keys["one"]: MOST_FOR_NAME, keys["all"]: MOST_FROM_ADDRESS}
        if found.get(keys["right"], (0, 0))[1] <= at - FAMILIAR:
            limits[keys["name"]] = MOST_FOR_NAME_ANYWHERE
        wait, full = 0, False
        for key, most in limits.items():
            failed, began = found.get(key, (0, 0))
            going, last = found.get(_under_way(key), (0, 0))
            failed = failed if began > at - WINDOW else 0
            going = going if last > at - _LOST else 0
            if failed >= most:
                wait = max(wait, began + WINDOW - at)
            full = full or failed + going + more > most
        if wait:
            raise TooManyAttempts(wait / 1e6)
        if full:
            raise Busy("the check of passwords")

    def _end(self, keys: Mapping[str, str], how: _Ended) -> None:
        at = now()
        begun = [{"key": key} for key in sorted(_under_way(keys[what]) for what in _COUNTED)]
        counted = [{"key": key, "at": at, "over": at - WINDOW} for key in sorted(keys[w] for w in _COUNTED)]
        with self._database.transaction() as tx:
            tx.connection.execute(_END, begun)
            tx.connection.execute(_ENDED, begun)
            if how is _Ended.RIGHT:
                self._forgive(tx, keys)
            elif how is _Ended.WRONG:
                tx.connection.execute(_COUNT, counted)

    @staticmethod
    def _forgive(tx: Transaction, keys: Mapping[str, str]) -> None:
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


def _under_way(key: str) -> str:
    """Where the attempts that are under way are counted, for what ``key`` counts the failures of."""
    return sha256(key.encode()).hexdigest()


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
