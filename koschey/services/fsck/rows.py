"""Rows that contradict each other, or what was recorded before."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select, text

from koschey.services.fsck.findings import MOST, Context, Finding
from koschey.stores.database import SERIAL
from koschey.stores.schema import tables

_WINDOW = 20_000


def rows(context: Context) -> Iterator[Finding]:
    """No row refers to one that is not there; what is stored has a digest and a size."""
    for table in tables().sorted_tables:
        for key in table.foreign_keys:
            parent = key.column.table.alias("parent")
            query = (
                select(*table.primary_key.columns, key.parent)
                .select_from(table.outerjoin(parent, key.parent == parent.c[key.column.name]))
                .where(key.parent.is_not(None), parent.c[key.column.name].is_(None))
                .limit(MOST)
            )
            with context.database.reading() as session:
                found = session.execute(query).all()
            context.step(1)
            for row in found:
                yield Finding(
                    "rows",
                    f"{table.name} {'/'.join(str(value) for value in row[:-1])}",
                    f"refers to {key.column.table.name} {row[-1]}, which is not there",
                    advice="restore the database from a backup, or delete the row",
                )
    with context.database.reading() as session:
        for (filename,) in session.execute(_BARE, {"most": MOST}):
            yield Finding(
                "rows",
                filename,
                "is said to be stored, and has no digest or no size",
                advice="restore the database from a backup",
            )


def digests(context: Context) -> Iterator[Finding]:
    """What was checked under a filename is what is there under it now (HARDENING 3)."""
    with context.database.reading() as session:
        last = session.scalar(text("SELECT max(id) FROM file")) or 0
    for first in range(0, last + 1, _WINDOW):
        with context.database.reading() as session:
            found = session.execute(_OTHER, {"first": first, "next": first + _WINDOW, "most": MOST}).all()
        context.step(min(_WINDOW, last + 1 - first))
        for filename, now, then in found:
            yield Finding(
                "digests",
                filename,
                f"has sha256 {now}, and was checked with {then}",
                advice="find out which bytes are right: reject the version until you know",
            )


def serials(context: Context) -> Iterator[Finding]:
    """No project, event or root list is newer than the last serial."""
    with context.database.snapshot() as connection:
        last = connection.execute(_LAST, {"name": SERIAL}).scalar()
        newest = {
            table: connection.execute(text(f"SELECT max(serial) FROM {table}")).scalar() or 0  # noqa: S608 - ours
            for table in ("project", "event", "root_list")
        }
    context.step(len(newest))
    if last is None:
        yield Finding("serials", "counter", "the last serial is not there", advice="run `koschey db upgrade`")
        return
    ahead = {table: serial for table, serial in newest.items() if serial > last}
    for table, serial in ahead.items():
        if context.repair:
            with context.database.transaction() as tx:
                tx.connection.execute(_RAISE, {"serial": serial})
                context.note(
                    tx, "serial", project=None, before=str(last), after=str(serial), reason=f"table {table}"
                )
        yield Finding(
            "serials",
            table,
            f"has serial {serial}, and the last one given out is {last}: mirrors would miss changes",
            mended=context.repair,
            advice="--repair raises the serial",
        )


def counters(context: Context) -> Iterator[Finding]:
    """The counters of hidden files say what the holds come to."""
    with context.database.snapshot() as connection:
        counted = {
            f"held:{index}": number
            for index, number in connection.execute(text("SELECT index_id, count(*) FROM hold GROUP BY 1"))
        }
        kept = {
            name: value
            for name, value in connection.execute(text("SELECT name, value FROM counter"))
            if name.startswith("held:")
        }
    context.step(len(counted))
    for name in sorted(counted.keys() | kept.keys()):
        is_, should = kept.get(name, 0), counted.get(name, 0)
        if is_ == should:
            continue
        if context.repair:
            with context.database.transaction() as tx:
                tx.connection.execute(_RECOUNT, {"name": name, "index": int(name.removeprefix("held:"))})
                context.note(
                    tx, name, project=None, before=str(is_), after=str(should), reason="counted again"
                )
        yield Finding(
            "counters",
            name,
            f"says {is_:,}, and there are {should:,}",
            mended=context.repair,
            advice="--repair counts again",
        )


_BARE = text(
    "SELECT filename FROM file WHERE stored_at IS NOT NULL AND (sha256 IS NULL OR size IS NULL) LIMIT :most"
)
_OTHER = text(
    "SELECT DISTINCT f.filename, f.sha256, c.sha256 FROM file f JOIN check_result c ON c.file_id = f.id "
    "WHERE f.id >= :first AND f.id < :next AND c.sha256 <> f.sha256 LIMIT :most"
)
_LAST = text("SELECT value FROM counter WHERE name = :name")
_RAISE = text("UPDATE counter SET value = :serial WHERE name = 'serial' AND value < :serial")
_RECOUNT = text(
    "INSERT INTO counter (name, value) VALUES (:name, (SELECT count(*) FROM hold WHERE index_id = :index)) "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
