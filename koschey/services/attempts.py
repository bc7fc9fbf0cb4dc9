"""Failed attempts to sign in, counted in the database: every process of every machine knows of them."""

from __future__ import annotations

import hmac

from sqlalchemy import text

from koschey.domain.page import Microseconds
from koschey.errors import TooManyAttempts
from koschey.stores.database import Database, now

#: So many may fail in a window, for one name from one address, and from one address for all names.
MOST_FOR_NAME, MOST_FROM_ADDRESS = 10, 100
WINDOW: Microseconds = 15 * 60 * 1_000_000

_COUNTS = text("SELECT key, count, began_at FROM sign_in_failure WHERE key IN (:one, :other)")
#: A window begins with its first failure.
_COUNT = text(
    "INSERT INTO sign_in_failure (key, count, began_at) VALUES (:key, 1, :at) "
    "ON CONFLICT (key) DO UPDATE SET "
    "count = CASE WHEN sign_in_failure.began_at <= :over THEN 1 ELSE sign_in_failure.count + 1 END, "
    "began_at = CASE WHEN sign_in_failure.began_at <= :over THEN :at ELSE sign_in_failure.began_at END"
)
_FORGET = text("DELETE FROM sign_in_failure WHERE key = :key")
_SWEEP = text("DELETE FROM sign_in_failure WHERE began_at <= :over")


class Attempts:
    """Counts failures by name and address, under a key, so that the table says nothing to who steals it."""

    def __init__(self, database: Database, key: str) -> None:
        self._database = database
        self._key = key.encode()

    def check(self, name: str, address: str) -> None:
        """Raise TooManyAttempts if too many failed just now, whether the next one would be right or not."""
        limits = dict(zip(self._keys(name, address), (MOST_FOR_NAME, MOST_FROM_ADDRESS), strict=True))
        one, other = limits
        at = now()
        with self._database.reading() as session:
            rows = session.execute(_COUNTS, {"one": one, "other": other}).all()
        waits = [began + WINDOW - at for key, count, began in rows if count >= limits[key]]
        if waits and max(waits) > 0:
            raise TooManyAttempts(max(waits) / 1e6)

    def failed(self, name: str, address: str) -> None:
        """Count a failure."""
        at = now()
        rows = [{"key": key, "at": at, "over": at - WINDOW} for key in sorted(self._keys(name, address))]
        with self._database.transaction() as tx:
            tx.connection.execute(_COUNT, rows)

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of a name from an address."""
        with self._database.transaction() as tx:
            tx.connection.execute(_FORGET, {"key": self._keys(name, address)[0]})

    def sweep(self) -> None:
        """Remove what is over."""
        with self._database.transaction() as tx:
            tx.connection.execute(_SWEEP, {"over": now() - WINDOW})

    def _keys(self, name: str, address: str) -> tuple[str, str]:
        return self._digest(f"name\0{name}\0{address}"), self._digest(f"address\0{address}")

    def _digest(self, said: str) -> str:
        return hmac.digest(self._key, said.encode("utf-8", "surrogateescape"), "sha256").hex()
