"""The root list of 700,000 projects on PostgreSQL: built, changed, and sent beside static nginx."""

from __future__ import annotations

import gzip
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from sqlalchemy import text

from bench import held, pages
from bench.ground import Ground, interleaved
from bench.koschey import Koschey, serving
from bench.load import Connection, wrk
from bench.nginx import Nginx
from bench.nginx import serving as nginx_serving
from bench.processes import BenchError, PeakMemory
from bench.report import Goal, Row, compared
from koschey.web.current import Koschey as Services

_PROJECTS = 700_000
_CHANGED = 1_000
_PATIENCE = 60.0


class _Root(msgspec.Struct):
    projects: list[dict[str, str | int]]


def root_list(ground: Ground) -> Iterator[Row]:
    """Build it, change 1,000 projects and one, send it in each form that has a goal."""
    from tests.services import Services as Servers

    ground.stop()
    server = Servers.begin()
    try:
        with server.database() as url:
            with held.services(url, ground.folder / "roots") as services:
                _fill(services)
                yield from _builds(services, ground.effort.rounds)
            yield from _served(ground, url)
    finally:
        server.stop()


def _fill(services: Services) -> None:
    index = services.configuration.index("main")
    source = next(source.id for source in index.sources if source.endpoint is not None)
    with services.database.transaction() as tx:
        tx.connection.execute(text(_PROJECTS_ROWS), {"source": source, "projects": _PROJECTS})
        tx.connection.execute(
            text("UPDATE counter SET value = :projects WHERE name = 'serial'"), {"projects": _PROJECTS}
        )
    held._analyze(services.database)


# Names of the usual lengths, not in the order in which they came.
_PROJECTS_ROWS = """
INSERT INTO project (source_id, name, state, status, serial, first_seen, looked_at, decided)
SELECT :source, substr(md5(n::text), 1, 3 + n % 12) || '-' || n, 'present', 'active', n, 1, 1, false
FROM generate_series(1, :projects) n
"""


def _builds(services: Services, rounds: int) -> Iterator[Row]:
    build = services.tasks["build_roots"]
    yield Row("root of 700,000, first build", "s", None, _seconds(build), goal=Goal("limit", 60))
    for changed in (1, _CHANGED):
        seconds = []
        for turn in range(rounds):
            _change(services, changed, turn)
            seconds.append(_seconds(build))
        figure = statistics.median(seconds)
        yield Row(
            f"root of 700,000, build after {changed:,} changed", "s", None, figure, goal=Goal("limit", 3)
        )
    idle = statistics.median(_seconds(build) * 1000 for _ in range(rounds))
    yield Row("root of 700,000, build with nothing changed", "ms", None, idle, goal=Goal("limit", 50))


def _change(services: Services, projects: int, turn: int) -> None:
    with services.database.transaction() as tx:
        step = _PROJECTS // projects
        tx.connection.execute(
            text("UPDATE project SET serial = :serial WHERE id % :step = :turn"),
            {"serial": tx.next_serial(), "step": step, "turn": turn + 1},
        )


def _served(ground: Ground, url: str) -> Iterator[Row]:
    peak = PeakMemory()
    with _running(ground, url, peak) as (koschey, tree, nginx), Connection(koschey.origin) as connection:
        yield _until_new(connection, url, ground)
        for form, encoding, suffix in (
            ("JSON", "identity", "v1_json"),
            ("JSON gzip", "gzip", "v1_json.gz"),
            ("HTML gzip", "gzip", "html.gz"),
        ):
            kind = pages.JSON if form.startswith("JSON") else pages.HTML
            headers = {"Accept": kind, "Accept-Encoding": encoding}
            answer = connection.get("/simple/", headers)
            _prove(answer.status, answer.body, encoding, kind)
            (tree / "simple" / f"index.{suffix}").write_bytes(answer.body)
            if encoding == "gzip":  # nginx looks for the plain one first
                (tree / "simple" / f"index.{suffix.removesuffix('.gz')}").write_bytes(
                    gzip.decompress(answer.body)
                )
            yield _rate(ground, f"root of 700,000, {form}", koschey, nginx, headers)
            if form == "JSON gzip":
                known = headers | {"If-None-Match": answer.headers["etag"]}
                rate = statistics.median(
                    wrk(f"{koschey.origin}/simple/", known).requests for _ in range(ground.effort.rounds)
                )
                yield Row("root of 700,000, 304", "req/s", None, rate)
    yield Row("root of 700,000, memory peak, RSS", "MiB", None, peak.peak.rss, goal=Goal("limit", 400))


@contextmanager
def _running(ground: Ground, url: str, peak: PeakMemory) -> Iterator[tuple[Koschey, Path, Nginx]]:
    """Koschey on the filled database, and nginx over a tree that is still empty."""
    tree = ground.folder / "root-tree"
    (tree / "simple").mkdir(parents=True)
    data = ground.folder / "roots"
    with (
        nginx_serving(ground.folder / "root-nginx", tree, data) as nginx,
        serving(
            ground.folder,
            data,
            nginx,
            peak,
            accel=False,
            first="/simple/",
            more={"KOSCHEY_DATABASE_URL": url},
        ) as koschey,
    ):
        yield koschey, tree, nginx


def _until_new(connection: Connection, url: str, ground: Ground) -> Row:
    """Seconds from a commit to the first answer that has it, by which the web processes build it."""
    import psycopg2  # type: ignore[import-untyped]

    seconds = []
    for turn in range(ground.effort.rounds):
        database = psycopg2.connect(url)
        with database, database.cursor() as cursor:
            cursor.execute("UPDATE counter SET value = value + 1 WHERE name = 'serial' RETURNING value")
            row = cursor.fetchone()
            assert row is not None
            cursor.execute("UPDATE project SET serial = %s WHERE id %% 700 = %s", (row[0], turn + 1))
        database.close()
        begin = time.monotonic()
        headers = {"Accept": pages.JSON, "Accept-Encoding": "gzip"}
        while int(connection.get("/simple/", headers).headers["x-pypi-last-serial"]) < row[0]:
            if time.monotonic() - begin > _PATIENCE:
                raise BenchError(f"the root list does not get to serial {row[0]}")
            time.sleep(0.1)
        seconds.append(time.monotonic() - begin)
    return Row("root of 700,000, 1,000 changed until served", "s", None, max(seconds), goal=Goal("limit", 5))


def _prove(status: int, body: bytes, encoding: str, kind: str) -> None:
    if encoding == "gzip":
        body = gzip.decompress(body)
    names = len(msgspec.json.decode(body, type=_Root).projects) if kind == pages.JSON else body.count(b"<a ")
    if status != 200 or names != _PROJECTS:
        raise BenchError(f"the root list has {names:,} names, status {status}")


def _rate(ground: Ground, measure: str, koschey: Koschey, nginx: Nginx, headers: dict[str, str]) -> Row:
    def rate(origin: str, path: str) -> float:
        return wrk(f"{origin}{path}", headers).requests

    theirs, ours = interleaved(
        ground.effort.rounds,
        lambda: rate(nginx.static, "/simple/"),
        lambda: rate(koschey.origin, "/simple/"),
    )
    return compared(measure, "req/s", theirs, ours, Goal("share", 0.5))


def _seconds(work: object) -> float:
    begin = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - begin
