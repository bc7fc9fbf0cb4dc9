"""The administrators' lists over a database as a large company has it: first and thousandth pages."""

from __future__ import annotations

import base64
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from flask import Flask
from sqlalchemy import event, text

from bench import held
from bench.ground import Ground
from bench.processes import BenchError
from bench.report import Goal, Row
from koschey.domain.permissions import Role, Scope
from koschey.domain.policy import DAY
from koschey.errors import Conflict
from koschey.services.audit import EventFilter
from koschey.services.project_lists import Which
from koschey.services.review_queue import Tab
from koschey.stores.database import now
from koschey.web.current import Koschey

HELD, PROJECTS, EVENTS = 1_000_000, 200_000, 5_000_000
MOST_QUERIES = 12
#: An index in which files were held lately, and none was released.
_QUIET = "quiet"
#: Pages of 50 before the thousandth, in steps of 200.
_STEPS = 999 * 50 // 200


def panel(ground: Ground) -> Iterator[Row]:
    """Server time and queries of each list's first and thousandth page."""
    from tests.services import Services

    server = Services.begin()
    try:
        with server.database() as url, held.site(url, ground.folder / "panel") as (app, koschey):
            fill(koschey)
            koschey.indexes.add_index(_QUIET, ["upstream"], hold_days=None, actor="bench")
            for name, path in _lists(koschey):
                for row in _measured(app, koschey, name, path, ground.effort.rounds):
                    if row.unit == "queries" and row.koschey > MOST_QUERIES:
                        raise BenchError(f"{path} asks {row.koschey:g} queries")
                    yield row
            for name, path in _PAGES:
                yield from _measured(app, koschey, name, path, ground.effort.rounds)
    finally:
        server.stop()


def fill(koschey: Koschey, *, held_files: int = HELD, projects: int = PROJECTS, events: int = EVENTS) -> None:
    """A database as a large company has it."""
    held.fill(koschey, projects=held_files // held.EACH, ended=0)
    add(koschey, known=held_files // held.EACH, projects=projects, events=events)


def add(koschey: Koschey, *, known: int, projects: int, events: int) -> None:
    """To ``known`` projects with held files: others without any, and what happened in three years.

    Of the held versions a quarter failed a check and waits for a reviewer, a sixteenth was rejected. Events
    are of a few actors, one of them rare; half of the files were downloaded today, by some people.
    """
    values = {
        "source": koschey.configuration.upstreams()[0].id,
        "projects": projects - known,
        "known": known,
        "events": events,
        "now": now(),
        "second": 1_000_000,
        "today": now() // DAY,
    }
    for statement in _FILL:
        with koschey.database.transaction() as tx:
            tx.connection.execute(text(statement), values)
    with koschey.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


_FILL = (
    """
    UPDATE hold SET review = true, rule = 'failed-check', until = NULL WHERE file_id % 4 = 0 AND until > :now
    """,
    """
    UPDATE file SET checks = replace(checks, 'archive=pass', 'archive=fail')
    WHERE id IN (SELECT file_id FROM hold WHERE review)
    """,
    """
    UPDATE hold SET state = 'rejected', rule = 'reject', until = NULL WHERE file_id % 16 = 1 AND until > :now
    """,
    """
    INSERT INTO decision (kind, name, version, reason, actor, at)
    SELECT 'reject', p.name, f.version, 'stolen', 'rena', :now
    FROM hold h JOIN file f ON f.id = h.file_id
    JOIN project p ON p.id = f.project_id WHERE h.state = 'rejected'
    """,
    "UPDATE project SET decided = true",
    """
    INSERT INTO project (source_id, name, state, status, serial, first_seen, looked_at, decided)
    SELECT :source, 'plain-' || n, 'present', CASE WHEN n % 50 = 0 THEN 'archived' ELSE 'active' END, 0,
           :now, :now, false
    FROM generate_series(1, :projects) n
    """,
    """
    INSERT INTO name_word (part, word, name)
    SELECT false, name, name FROM project
    UNION ALL SELECT true, substr(name, position('-' in name) + 1), name FROM project
    ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO event (at, actor, action, project, "index", subject, reason)
    SELECT :now - CAST(:events - n AS bigint) * :second * 20,
           CASE WHEN n % 1000 = 0 THEN 'user:rena' WHEN n % 3 = 0 THEN 'upstream:upstream' ELSE 'job' END,
           CASE WHEN n % 1000 = 0 THEN 'decision.approve' WHEN n % 100000 = 1 THEN 'policy.set'
                WHEN n % 2 = 0 THEN 'file.held' ELSE 'file.released' END,
           'held-' || (1 + n % :known), 'main', 'held-' || (1 + n % :known), 'as ever'
    FROM generate_series(1, :events) n
    """,
    """
    INSERT INTO event (at, actor, action, project, "index", subject, reason)
    SELECT :now, 'upstream:upstream', 'file.held', 'held-' || (1 + n % :known), 'quiet',
           'held-' || (1 + n % :known), 'as ever'
    FROM generate_series(1, :events / 10) n
    """,
    """
    INSERT INTO decision (kind, name, reason, actor, at)
    SELECT 'trust', 'held-' || n, 'read it', 'rena', :now FROM generate_series(1, :known, 7) n
    """,
    """
    INSERT INTO download (day, index_id, file_id, actor, count, last_at)
    SELECT :today - f.id % 40, h.index_id, f.id, 'person-' || f.id % 50, 1, :now
    FROM file f JOIN hold h ON h.file_id = f.id WHERE f.id % 2 = 0
    """,
    """
    INSERT INTO counter (name, value)
    SELECT 'search:serial', value FROM counter WHERE name = 'serial'
    UNION ALL SELECT 'search:id', max(id) FROM project
    """,
    """
    INSERT INTO "user" (name, disabled, epoch, created_at)
    SELECT 'person-' || n, false, 1, :now FROM generate_series(1, 60000) n
    """,
)


#: Further pages: of one thing, or of several lists.
_PAGES = (
    ("a held version", "/admin/quarantine/held-200/1.4"),
    ("a project", "/admin/projects/held-200"),
    ("overview", "/admin/"),
    ("jobs", "/admin/jobs"),
    ("audit of what is nowhere", "/admin/audit?subject=nothing"),
)


def _lists(koschey: Koschey) -> Iterator[tuple[str, str]]:
    """Name and address of each list's first and thousandth page."""
    queue, tabs = "/admin/quarantine?tab=", koschey.review_queue.page
    lists: dict[str, tuple[str, Callable[..., Any]]] = {
        "needs review": (f"{queue}review&", lambda **at: tabs(Tab.REVIEW, **at)),
        "needs review, an index": (
            f"{queue}review&index=main&",
            lambda **at: tabs(Tab.REVIEW, index="main", **at),
        ),
        "waiting": (f"{queue}waiting&", lambda **at: tabs(Tab.WAITING, **at)),
        "waiting, an index": (
            f"{queue}waiting&index=main&",
            lambda **at: tabs(Tab.WAITING, index="main", **at),
        ),
        "waiting, a beginning": (
            f"{queue}waiting&q=held-9&",
            lambda **at: tabs(Tab.WAITING, search="held-9", **at),
        ),
        "rejected": (f"{queue}rejected&", lambda **at: tabs(Tab.REJECTED, **at)),
        "released": (f"{queue}released&", lambda **at: koschey.releases.page(**at)),
        "released, an index": (
            f"{queue}released&index=main&",
            lambda **at: koschey.releases.page(index="main", **at),
        ),
        "released, an index where nothing was": (
            f"{queue}released&index={_QUIET}&",
            lambda **at: koschey.releases.page(index=_QUIET, **at),
        ),
        "projects": ("/admin/projects?", lambda **at: koschey.project_lists.page(Which.ALL, **at)),
        "projects by a beginning": (
            "/admin/projects?q=pl&",
            lambda **at: koschey.project_lists.page(Which.ALL, prefix="pl", **at),
        ),
        "trusted": ("/admin/trusted?", lambda **at: koschey.project_lists.trusted(**at)),
        "users": ("/admin/access?", lambda **at: koschey.directory.users(**at)),
        "audit": ("/admin/audit?", lambda **at: koschey.audit.page(EventFilter(), **at).page),
        "audit by action": (
            "/admin/audit?action=file.*&",
            lambda **at: koschey.audit.page(EventFilter(action="file.*"), **at).page,
        ),
        "audit by actor, action and index": (
            "/admin/audit?actor=user:rena&action=decision.*&index=main&",
            lambda **at: (
                koschey.audit.page(
                    EventFilter(actor="user:rena", action="decision.*", index="main"), **at
                ).page
            ),
        ),
    }
    for name, (path, page) in lists.items():
        yield f"{name}, first page", path
        cursor = None
        for _ in range(_STEPS):
            found = page(at=cursor, limit=200)
            if found.older is None:
                break
            cursor = found.older
        if cursor is not None:
            yield f"{name}, thousandth page", f"{path}at={cursor}"


def _measured(app: Flask, koschey: Koschey, name: str, path: str, rounds: int) -> Iterator[Row]:
    secret = _token(koschey)
    credentials = base64.b64encode(f"__token__:{secret}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "Accept": "text/html"}
    asked: list[str] = []
    client = app.test_client()
    milliseconds = []

    def note(*given: Any) -> None:
        asked.append(given[2])

    client.get(path, headers=headers)  # what is made once
    event.listen(koschey.engine, "before_cursor_execute", note)
    for _ in range(max(20, 2 * rounds)):
        begin = time.perf_counter()
        answer = client.get(path, headers=headers)
        taken = time.perf_counter() - begin
        if answer.status_code != 200:
            raise BenchError(f"{path} answers {answer.status_code}")
        milliseconds.append(taken * 1000)
    event.remove(koschey.engine, "before_cursor_execute", note)
    queries = len(asked) / len(milliseconds)
    p95 = statistics.quantiles(milliseconds, n=20)[-1]
    yield Row(f"{name}, p95", "ms", None, p95, goal=Goal("limit", 100))
    yield Row(f"{name}", "queries", None, queries)


def _token(koschey: Koschey) -> str:
    with suppress(Conflict):  # it is there already
        koschey.accounts.create("bench", password=None, role=Role.ADMIN, actor="bench")
    return koschey.tokens.create("bench", scopes={Scope.ADMIN}, actor="bench").secret
