"""Passwords: argon2, and what a right one was a moment ago."""

from __future__ import annotations

import os
import secrets
import threading
import time
from hashlib import blake2b
from typing import TYPE_CHECKING

from koschey.errors import Busy, RequestInvalid

if TYPE_CHECKING:
    import argon2

#: Seconds for which a right password is not hashed again: installers send it with every request.
REMEMBERED_SECONDS = 300.0
_MOST_REMEMBERED = 2000
SHORTEST, LONGEST = 12, 1024
#: Each takes a processor, and 19 MiB (argon2id as the OWASP Password Storage Cheat Sheet has it).
_AT_ONCE = 2
_PATIENCE = 10.0


class Passwords:
    """Hashes passwords and checks them; safe to use from many threads."""

    def __init__(self) -> None:
        self._turns = threading.BoundedSemaphore(_AT_ONCE)
        self._dummy = ""
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._key = secrets.token_bytes(32)
        self._right: dict[bytes, float] = {}

    def hash(self, password: str) -> str:
        """What is kept of a password. Raises: RequestInvalid for one that is too short or too long."""
        if not SHORTEST <= len(password) <= LONGEST:
            raise RequestInvalid(f"a password has {SHORTEST} to {LONGEST} characters")
        return str(self._hasher().hash(password))

    def matches(self, kept: str | None, password: str) -> bool:
        """Whether ``kept`` is that password's; with None the answer is no and takes as long.

        Raises:
            Busy: too many others are being checked.
        """
        if not self._turns.acquire(timeout=_PATIENCE):
            raise Busy("the check of passwords")
        try:
            # An installer begins with many requests at once; one of them may have been looked at meanwhile.
            right = self.remembers(kept, password) or self._verified(kept, password)
        finally:
            self._turns.release()
        if right:
            if len(self._right) >= _MOST_REMEMBERED:
                self._right.clear()
            self._right[self._mark(kept, password)] = time.monotonic() + REMEMBERED_SECONDS
        return right

    def remembers(self, kept: str | None, password: str) -> bool:
        """Whether it was found right in the last few minutes; takes no time."""
        return self._right.get(self._mark(kept, password), 0.0) > time.monotonic()

    def _mark(self, kept: str | None, password: str) -> bytes:
        return blake2b(f"{kept}\0{password}".encode("utf-8", "surrogateescape"), key=self._key).digest()

    def _verified(self, kept: str | None, password: str) -> bool:
        from argon2.exceptions import InvalidHashError, VerificationError

        hasher = self._hasher()
        if kept is None:
            self._dummy = self._dummy or hasher.hash(secrets.token_hex())
        try:
            hasher.verify(kept or self._dummy, password[:LONGEST])
        except (VerificationError, InvalidHashError):
            return False
        return kept is not None and len(password) <= LONGEST

    @staticmethod
    def _hasher() -> argon2.PasswordHasher:
        # Loaded with the first password: most workers see tokens only.
        import argon2

        return argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
