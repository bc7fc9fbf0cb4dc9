"""A database full of held files, made by PostgreSQL itself: a million rows through Koschey take hours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask
from sqlalchemy import text

from koschey.application import create_app
from koschey.domain.checks import Outcome, summary
from koschey.domain.policy import DAY
from koschey.settings import load
from koschey.stores.database import Database, now
from koschey.web.current import Koschey

EACH = 10
"""Files of a project."""
_HOUR = DAY // 24


@contextmanager
def site(database_url: str, folder: Path) -> Iterator[tuple[Flask, Koschey]]:
    """Koschey over an empty PostgreSQL database, in this process and without periodic jobs."""
    settings = load(
        {},
        data_dir=folder,
        database_url=database_url,
        upstream_url="https://upstream.example/simple/",
        log_level="error",
    )
    app = create_app(settings, periodic_jobs=False)
    koschey: Koschey = app.extensions["koschey"]
    try:
        yield app, koschey
    finally:
        koschey.close()


@contextmanager
def services(database_url: str, folder: Path) -> Iterator[Koschey]:
    """The services of a ``site``."""
    with site(database_url, folder) as (_, koschey):
        yield koschey


def fill(koschey: Koschey, *, projects: int, ended: int, failed: int = 0) -> None:
    """``projects`` projects of ``EACH`` files that index ``main`` holds for time, every check passed.

    They came one after the other in the last days. The holds of the files of ``ended`` projects are over,
    and nobody has recorded that yet. Those of the last ``failed`` projects failed a check, and wait for a
    person. One project in five has a decision, about a version to come.
    """
    index = koschey.configuration.index("main")
    source = next(source for source in index.sources if source.endpoint is not None)
    policy = index.policy(source, "held-1")
    values = {
        "index": index.id,
        "source": source.id,
        "projects": projects,
        "each": EACH,
        "ended": ended,
        "hold": policy.hold,
        "now": now(),
        "hour": _HOUR,
        "second": 1_000_000,
        "checks": summary(dict.fromkeys(index.checks, Outcome.PASS)),
        "failed": projects - failed,
        "failing": summary(dict.fromkeys(index.checks, Outcome.PASS) | {"archive": Outcome.FAIL}),
        "counter": f"held:{index.id}",
    }
    with koschey.database.transaction() as tx:
        for statement in _FILL:
            tx.connection.execute(text(statement), values)
    _analyze(koschey.database)


#: A file was listed an hour after its upload. It was uploaded some hours ago, or longer than the hold.
_FILL = (
    """
    INSERT INTO project (source_id, name, state, status, serial, first_seen, looked_at, decided)
    SELECT :source, 'held-' || n, 'present', 'active', 0, :now - :hold - :hour, :now, n % 5 = 0
    FROM generate_series(1, :projects) n
    """,
    """
    INSERT INTO file (project_id, filename, version, path, url, sha256, size, upload_time, first_seen,
                      yanked, metadata_advertised, metadata_stored, checks, attempts)
    SELECT p.id, f.filename, '1.' || n, '/packages/' || f.path, 'https://upstream.example/' || f.filename,
           md5(f.filename) || md5('b' || f.filename), 1000, f.uploaded, f.uploaded + :hour,
           false, false, false,
           CASE WHEN substr(p.name, 6)::int > :failed THEN :failing ELSE :checks END, 0
    FROM project p CROSS JOIN generate_series(1, :each) n CROSS JOIN LATERAL (
        SELECT p.name || '-1.' || n || '.tar.gz' AS filename,
               md5(p.name) || '/' || n || '/' || p.name || '-1.' || n || '.tar.gz' AS path,
               CASE WHEN substr(p.name, 6)::int <= :ended THEN :now - :hold - :second - n
                    ELSE :now - :hold + :hour * 3 + (p.id * :each + n) % (:hold - :hour * 6) END AS uploaded
    ) f
    WHERE p.name LIKE 'held-%'
    """,
    """
    INSERT INTO hold (index_id, file_id, project_id, state, rule, until, since, review, release)
    SELECT :index, id, project_id, 'held', CASE WHEN checks = :failing THEN 'failed-check' ELSE 'time' END,
           CASE WHEN checks = :failing THEN NULL ELSE upload_time + :hold END, first_seen,
           checks = :failing, version
    FROM file
    """,
    """
    INSERT INTO decision (kind, name, version, reason, actor, at, expires_at)
    SELECT 'reject', 'held-' || n, '9.9', 'stolen', 'rena', :now, :now + :hold * 10 + n
    FROM generate_series(5, :projects, 5) n
    """,
    """
    INSERT INTO check_result (file_id, sha256, "check", outcome, reason, at)
    SELECT id, sha256, 'archive', CASE WHEN checks = :failing THEN 'fail' ELSE 'pass' END, '', first_seen
    FROM file WHERE id % :each < 2
    """,
    "INSERT INTO counter (name, value) SELECT :counter, count(*) FROM hold",
)


def _analyze(database: Database) -> None:
    """As autovacuum does, sooner or later."""
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
