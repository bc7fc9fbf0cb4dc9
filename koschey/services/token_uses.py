"""When each token was used last."""

from __future__ import annotations

import threading
import time

import structlog
from sqlalchemy import text

from koschey.domain.page import Microseconds
from koschey.errors import KoscheyError
from koschey.services.batching import BatchWriter
from koschey.stores.database import Database

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_FLUSH_SECONDS = 60.0


class TokenUses:
    """Notes that tokens were used, and writes it down once a minute: no request waits for that.

    Args:
        flush_seconds: time between two writes.
    """

    def __init__(self, database: Database, *, flush_seconds: float = _FLUSH_SECONDS) -> None:
        self._database = database
        self._writer = BatchWriter("token-uses", self.flush, self._empty, seconds=flush_seconds)

    def _empty(self) -> None:
        self._used: dict[int, Microseconds] = {}
        self._guard = threading.Lock()

    def add(self, token_id: int) -> None:
        """Note a use, now."""
        self._used[token_id] = time.time_ns() // 1000
        if not self._writer.started:
            self._writer.start()

    def flush(self) -> None:
        """Write down what was noted; what cannot be written now is left out: the next use is noted again."""
        with self._guard:
            used, self._used = self._used, {}
        if not used:
            return
        rows = [{"id": token_id, "at": at} for token_id, at in sorted(used.items())]
        try:
            with self._database.transaction() as tx:
                tx.connection.execute(_USED, rows)
        except KoscheyError as error:
            log.warning("token.uses_not_written", tokens=len(rows), problem=str(error))

    def close(self) -> None:
        """Write down what is left, and note nothing more in a thread."""
        self._writer.close()


_USED = text("UPDATE token SET used_at = :at WHERE id = :id AND (used_at IS NULL OR used_at < :at)")
