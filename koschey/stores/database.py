"""The database: engine, short transactions, and serials."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, Engine, bindparam, event, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from koschey.errors import Busy, RequestInvalid, StoreUnavailable
from koschey.settings import Settings
from koschey.stores.models import Base, Counter, Event, Project
from koschey.stores.turns import Turns

#: Flask-SQLAlchemy's handle: owns the engine and gives Flask-Migrate the metadata.
db = SQLAlchemy(model_class=Base, disable_autonaming=True)

SERIAL = "serial"
CONFIGURATION = "configuration"
#: How many transactions of a process write at once. Fewer than there are connections: those who wait to write
#: hold none, or a writer that needs a look at something else would wait for them, and they for it.
_WRITERS = 16
#: Seconds that a transaction waits for its turn to write.
_PATIENCE = 15


def now() -> int:
    """Microseconds since 1970, UTC: the one clock of the outer layers."""
    return time.time_ns() // 1000


def engine_options(settings: Settings) -> dict[str, Any]:
    """Options for ``SQLALCHEMY_ENGINE_OPTIONS``: a pool that fails fast instead of queueing for ever.

    An error never repeats the values of its statement: an upstream's password may be one.
    """
    if settings.embedded:
        return {"hide_parameters": True, "connect_args": {"timeout": _PATIENCE, "check_same_thread": False}}
    return {
        "hide_parameters": True,
        "pool_size": 10,
        "max_overflow": 10,
        "pool_timeout": 5,
        "pool_pre_ping": True,
        "pool_recycle": 1800,
        "executemany_mode": "values_plus_batch",
        "connect_args": {"connect_timeout": 5, "application_name": "koschey"},
    }


def tune(engine: Engine) -> None:
    """Make SQLite transactional and quick: WAL, explicit BEGIN, foreign keys. Nothing on PostgreSQL."""
    if engine.dialect.name != "sqlite":
        return

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we send BEGIN ourselves, the driver would send it too late
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "foreign_keys=ON",
            "cache_size=-8000",
            "temp_store=MEMORY",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred transaction that turns into a writer fails at once when another one writes;
        # an immediate one waits for its turn.
        options = connection.get_execution_options()
        # WAL with NORMAL survives any death of a process; FULL waits for the disk, for a loss of power, too.
        level = "FULL" if options.get("koschey_durable") else "NORMAL"
        if connection.info.setdefault("synchronous", "NORMAL") != level:
            connection.exec_driver_sql(f"PRAGMA synchronous={level}")
            connection.info["synchronous"] = level
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("koschey_writes") else "BEGIN")


_COUNTERS = Counter.__table__
_PROJECTS = Project.__table__
#: Built once: for small statements, SQLAlchemy takes longer to build than the database to execute.
_NEXT_SERIAL = (
    update(_COUNTERS)  # type: ignore[arg-type]
    .where(_COUNTERS.c.name == SERIAL)
    .values(value=_COUNTERS.c.value + 1)
    .returning(_COUNTERS.c.value)
)
#: Of two numbers: the locks of ``koschey.stores.locks`` have one.
_LOCK_NAME = text("SELECT pg_advisory_xact_lock(1, hashtext(:name))")
_LOCK_NAMES = text(
    "SELECT count(pg_advisory_xact_lock(1, number)) FROM ("
    "SELECT DISTINCT hashtext(name) AS number FROM unnest(CAST(:names AS text[])) AS name ORDER BY 1) AS n"
)
_LOCK_PROJECT = select(_PROJECTS.c.id).where(_PROJECTS.c.id == bindparam("_id")).with_for_update()
_RAISE_SERIAL = (
    update(_PROJECTS)  # type: ignore[arg-type]
    .where(_PROJECTS.c.id == bindparam("_id"))
    .values(serial=bindparam("_serial"))
)


def close_connections(engine: Engine) -> None:
    """Close the connections of ``engine``; one that a thread still uses, when the thread gives it back.

    ``Engine.dispose`` alone leaves such a connection to the garbage collector.
    """

    @event.listens_for(engine.pool, "checkin")
    def _returned(_connection: Any, entry: ConnectionPoolEntry) -> None:
        entry.invalidate()

    engine.dispose()


class Transaction:
    """An open transaction: its session, and the serial that it took."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.serial: int | None = None

    @property
    def connection(self) -> Connection:
        """The transaction's connection, for statements of the core, which cost less than the session's."""
        return self.session.connection()

    def next_serial(self) -> int:
        """This transaction's serial. Call it last: the counter's row stays locked until the commit.

        Serials so become visible in the order of their numbers, which readers rely on.
        """
        if self.serial is None:
            self.serial = self.connection.execute(_NEXT_SERIAL).scalar_one()
        return self.serial

    def lock_name(self, name: str) -> None:
        """Keep others from making a project of that name, and from deciding about it, until the commit.

        For who must know what there is of a name: a row that is not there yet cannot be locked. It comes
        before the locks of projects. On SQLite a transaction writes alone.
        """
        if self.connection.dialect.name == "postgresql":
            self.connection.execute(_LOCK_NAME, {"name": name})

    def lock_names(self, names: Sequence[str]) -> None:
        """``lock_name`` for many, in one order, so that two who do so do not wait for each other."""
        if self.connection.dialect.name == "postgresql":
            self.connection.execute(_LOCK_NAMES, {"names": list(names)})

    def lock_project(self, project_id: int) -> bool:
        """Keep other writers off a project and its files until the commit; False: there is none of that id.

        Everybody takes locks in one order, project, files, serial: in two orders they would wait for each
        other for ever.
        """
        return self.connection.execute(_LOCK_PROJECT, {"_id": project_id}).first() is not None

    def raise_serial(self, project_id: int) -> None:
        """Make the pages of a locked project new ones, under this transaction's serial."""
        self.connection.execute(_RAISE_SERIAL, {"_id": project_id, "_serial": self.next_serial()})

    def touch_configuration(self) -> None:
        """Tell every process that sources or indexes changed."""
        self.session.execute(
            update(Counter).where(Counter.name == CONFIGURATION).values(value=Counter.value + 1)
        )

    def record(
        self,
        action: str,
        *,
        actor: str,
        project: str | None = None,
        index: str | None = None,
        subject: str | None = None,
        before: str | None = None,
        after: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Append one event in this transaction (HARDENING invariant 7)."""
        self.session.add(
            Event(
                at=now(),
                actor=actor,
                action=action,
                project=project,
                index=index,
                subject=subject,
                before=before,
                after=after,
                reason=reason,
                serial=self.serial,
            )
        )


class Database:
    """Short transactions over one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writing = engine.execution_options(koschey_writes=True)
        self._durably = engine.execution_options(koschey_writes=True, koschey_durable=True)
        # SQLite has one writer at a time and no queue: who waits tries again ten times a second, and the
        # unlucky of many are never served. Here they come in turn, and one of each process tries.
        self._turns = Turns(1 if engine.dialect.name == "sqlite" else _WRITERS)
        self._here = threading.local()

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[Transaction]:
        """A transaction that is committed when the block ends and rolled back when it raises.

        Args:
            durable: what it commits is on the disk when the block has ended, whatever the database. Others
                may be lost with the machine's power on SQLite; never with a process.

        Raises:
            StoreUnavailable: the database cannot be reached, is locked, or has no free connection.
            RuntimeError: the thread is in a transaction already, for which this one would wait.
        """
        if getattr(self._here, "pid", None) == os.getpid():  # a child is in none of its parent's
            raise RuntimeError(
                "a transaction within another of the same thread would wait for it, or for its locks"
            )
        engine = self._durably if durable else self._writing
        with (
            _translated(),
            self._turns.turn(_PATIENCE) as mine,
            Session(engine, expire_on_commit=False) as session,
        ):
            if not mine:
                raise StoreUnavailable("database", "too many are writing; try again")
            self._here.pid = os.getpid()
            try:
                transaction = Transaction(session)
                with session.begin():
                    yield transaction
            finally:
                del self._here.pid

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session for queries; nothing is committed."""
        with _translated(), Session(self.engine) as session:
            yield session

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection on which every query sees the database as it was at the first one."""
        with _translated(), self.engine.connect() as connection:
            if connection.dialect.name == "postgresql":  # SQLite's transactions are so anyhow
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    def check(self) -> None:
        """Prove that the database answers. Raises: StoreUnavailable."""
        with self.reading() as session:
            session.execute(select(1))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except PoolTimeout as error:
        raise StoreUnavailable("database", "all connections are in use; try again") from error
    except IntegrityError as error:
        if not _is_race(error):
            raise
        raise Busy("what this is about") from error
    except ValueError as error:  # PostgreSQL's texts have no NUL, and nobody's have half a character
        if isinstance(error, UnicodeEncodeError) or "NUL (0x00)" in str(error):
            raise RequestInvalid("a text has a character that cannot be stored") from error
        raise
    except OverflowError as error:  # SQLite's driver takes 64 bits and no more
        raise RequestInvalid("a number is larger than any here can be") from error
    except DBAPIError as error:
        if error.connection_invalidated or isinstance(error, OperationalError):  # a deadlock is one, too
            detail = str(error.orig).strip().splitlines() or ["no answer"]
            raise StoreUnavailable("database", detail[0]) from error
        raise


def _is_race(error: IntegrityError) -> bool:
    """Whether somebody else made the same row just now, or removed the one that this belongs to."""
    code = getattr(error.orig, "pgcode", None) or getattr(error.orig, "sqlite_errorname", "")
    return code in ("23505", "23503", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_FOREIGNKEY")
