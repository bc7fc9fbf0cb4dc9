"""Connections for the few queries that a hot request makes: open, in autocommit, some for all threads.

No transaction and no statement compilation stand between a request and its row. What goes through here
reads and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine

from koschey.errors import StoreUnavailable

#: Look-ups are short: more than so many at once are rare, and get a connection for themselves.
_IDLE_CONNECTIONS = 8


class HotConnections:
    """Asks the database of ``engine``; safe to use from many threads.

    Attributes:
        mark: what stands for a value in a statement.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.mark = "?" if engine.dialect.name == "sqlite" else "%s"
        self._kept = _IDLE_CONNECTIONS
        self._idle: list[Any] = []
        self._parents: list[Any] = []
        os.register_at_fork(after_in_child=self._after_fork)

    def rows(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        """The rows of a SELECT. Raises: StoreUnavailable: the database does not answer."""
        errors = self._engine.dialect.loaded_dbapi.Error
        while self._idle:
            try:
                cursor = self._idle.pop()
            except IndexError:
                break  # another thread was quicker
            try:
                return self._asked(cursor, statement, values)
            except errors:
                continue  # it may have been cut long ago; a new one, below, has the last word
        try:
            return self._asked(self._connect(), statement, values)
        except errors as error:
            detail = str(error).strip().splitlines() or ["no answer"]
            raise StoreUnavailable("database", detail[0]) from error

    def among(self, statement: str, keys: Sequence[str]) -> list[Any]:
        """The rows of a SELECT that says ``{0}`` for "is one of these", of some hundreds at the most.

        Raises: as ``rows``.
        """
        if self._engine.dialect.name == "postgresql":
            return self.rows(statement.format("= ANY(%s)"), (list(keys),))
        return self.rows(statement.format(f"IN ({', '.join('?' * len(keys))})"), tuple(keys))

    def _asked(self, cursor: Any, statement: str, values: tuple[Any, ...]) -> list[Any]:
        cursor.execute(statement, values)
        rows = list(cursor.fetchall())
        if len(self._idle) < self._kept:
            self._idle.append(cursor)
        else:
            cursor.connection.close()
        return rows

    def keep(self, connections: int) -> None:
        """Keep so many connections open when nobody uses them, at the least: so many threads will ask."""
        self._kept = max(self._kept, connections)

    def _after_fork(self) -> None:
        """A child must not talk over its parent's connections, nor close them for it."""
        self._parents += self._idle
        self._idle = []

    def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            self._idle.pop().connection.close()

    def _connect(self) -> Any:
        dialect = self._engine.dialect
        arguments, given = dialect.create_connect_args(self._engine.url)
        options: dict[str, Any] = dict(given)
        if dialect.name == "sqlite":
            options |= {"timeout": 15, "isolation_level": None, "check_same_thread": False}
            return dialect.loaded_dbapi.connect(*arguments, **options).cursor()
        options |= {"connect_timeout": 5, "application_name": "koschey"}
        connection = dialect.loaded_dbapi.connect(*arguments, **options)
        connection.autocommit = True
        return connection.cursor()
