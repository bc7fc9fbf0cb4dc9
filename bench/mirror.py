"""Syncs: a whole set beside bandersnatch, nothing new, and a few changes among 700,000 projects."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import mirror_tree, nginx
from bench.ground import Ground
from bench.processes import BenchError, PeakMemory, environment, free_port, running, wait_for_port
from bench.report import Goal, Row, compared
from bench.waiting_upstream import ideal_seconds

_REPOSITORY = Path(__file__).parents[1]
_KOSCHEY = [sys.executable, "-m", "koschey"]
_CONNECTIONS = 32
_MANY = 700_000
_CHANGED = 1_000


@dataclass
class _Upstream:
    origin: str
    log: Path

    def requests(self, since: int) -> list[str]:
        time.sleep(0.2)  # nginx writes the line after the answer
        return self.log.read_text(encoding="ascii").splitlines()[since:]


def whole_set(ground: Ground) -> Iterator[Row]:
    """2,000 projects with their files, by bandersnatch and by Koschey on PostgreSQL, in turns."""
    tree, files = mirror_tree.build(ground.folder.parent)
    theirs: list[float] = []
    ours: list[float] = []
    counted: dict[str, tuple[int, int]] = {}
    phases: list[dict[str, Any]] = []
    with _serving(ground.folder / "mirror", tree) as upstream:
        for turn in range(max(1, ground.effort.starts // 2)):
            folder = ground.folder / f"mirror-{turn}"
            folder.mkdir()
            seconds, first, second = _bandersnatch(folder, upstream)
            theirs.append(mirror_tree.PROJECTS / seconds)
            counted["bandersnatch"] = first, second
            with _database() as url, _koschey(folder, url, f"{upstream.origin}/simple/") as run:
                before = len(upstream.requests(0))
                run("upstream", "edit", "upstream", "--mode", "full", "--connections", str(_CONNECTIONS))
                begin = time.perf_counter()
                summary = json.loads(run("sync", "upstream", "--json"))
                ours.append(mirror_tree.PROJECTS / (time.perf_counter() - begin))
                first = len(upstream.requests(before))
                if summary["files"]["done"] != files or summary["outcome"] != "ok":
                    raise BenchError(f"the sync stored {summary['files']} of {files} files: {summary}")
                run("sync", "upstream", "--json")
                counted["Koschey"] = first, len(upstream.requests(before)) - first
                phases.append(summary)
    yield compared("first sync beside bandersnatch 8", "projects/s", theirs, ours, Goal("share", 2.0))
    per = files / mirror_tree.PROJECTS
    yield compared("the same, files", "files/s", [r * per for r in theirs], [r * per for r in ours])
    for number, what in enumerate(("first sync", "second sync, nothing new")):
        their, our = counted["bandersnatch"][number], counted["Koschey"][number]
        limit = files + mirror_tree.PROJECTS + 1 if number == 0 else 1
        yield Row(
            f"{what} beside bandersnatch 8", "requests", their, our, our / their, goal=Goal("limit", limit)
        )


def pages_only(ground: Ground) -> Iterator[Row]:
    """Pages parsed, compared and stored, from a local upstream."""
    tree, _ = mirror_tree.build(ground.folder.parent)
    folder = ground.folder / "pages"
    folder.mkdir()
    with (
        _serving(ground.folder / "pages-upstream", tree) as upstream,
        _database() as url,
        _koschey(folder, url, f"{upstream.origin}/simple/") as run,
    ):
        run("upstream", "edit", "upstream", "--mode", "index", "--connections", str(_CONNECTIONS))
        summary = json.loads(run("sync", "upstream", "--json"))
    rate = summary["projects"]["done"] / summary["seconds"]
    yield Row("pages of a first sync", "pages/s", None, rate, rate / 300, goal=Goal("share", 1.0))


def few_of_many(ground: Ground) -> Iterator[Row]:
    """1,000 changed projects of 700,000, from an upstream that takes 50 ms for each answer."""
    folder, port = ground.folder / "many", free_port()
    folder.mkdir()
    log = folder / "upstream.log"
    command = [sys.executable, "-m", "bench.waiting_upstream", str(port), str(_MANY), str(_CHANGED)]
    env = environment(folder, PYTHONPATH=str(_REPOSITORY))
    with (
        running(command, log, env) as process,
        _database() as url,
        _koschey(folder, url, f"http://127.0.0.1:{port}/simple/") as run,
    ):
        wait_for_port(process, port, log, seconds=60)
        run("upstream", "edit", "upstream", "--mode", "index", "--connections", str(_CONNECTIONS))
        _fill(url)
        summary = json.loads(run("sync", "upstream", "--json"))
        peak = run.peak.peak.rss
        details = json.loads(run("sync", "--status", "--json"))[0]
    if summary["projects"]["changed"] < _CHANGED or summary["outcome"] != "ok":
        raise BenchError(f"not all changes came: {summary}; {details}")
    what = f"{_CHANGED:,} changed of {_MANY:,}"
    yield Row(f"{what}, upstream", "requests", None, summary["requests"], goal=Goal("limit", _CHANGED + 25))
    yield Row(f"{what}, largest process", "MiB RSS", None, peak, goal=Goal("limit", 400))
    ideal = ideal_seconds(_CHANGED, _CONNECTIONS)
    seconds = summary["phases"]["pages"]
    yield Row(
        f"{what}, pages, of the ideal {ideal:.2g} s",
        "s",
        ideal,
        seconds,
        seconds / ideal,
        goal=Goal("multiple", 1.3),
    )
    yield Row(f"{what}, root list and all", "s", None, summary["seconds"])


def _fill(url: str) -> None:
    """The projects as a sync has left them, made by the database itself."""
    import psycopg2  # type: ignore[import-untyped]

    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT id FROM source WHERE kind = 'upstream'")
        (source,) = cursor.fetchone()
        cursor.execute(
            "INSERT INTO project (source_id, name, state, status, upstream_serial, serial, first_seen, "
            "looked_at, decided) SELECT %s, 'many-' || n, 'present', 'active', n, 0, 1, "
            "(extract(epoch from now()) * 1000000)::bigint, false FROM generate_series(0, %s) n",
            (source, _MANY - 1),
        )
    with connection, connection.cursor() as cursor:
        cursor.execute("ANALYZE project")
    connection.close()


def _bandersnatch(folder: Path, upstream: _Upstream) -> tuple[float, int, int]:
    """Seconds of the first run, and the requests of two."""
    config = folder / "bandersnatch.conf"
    config.write_text(
        f"[mirror]\ndirectory = {folder / 'theirs'}\nmaster = {upstream.origin}\nallow-non-https = true\n"
        "json = false\nhash-index = false\nworkers = 10\ntimeout = 20\nstop-on-error = false\n"
        "cleanup = false\n",
        encoding="utf-8",
    )
    counts, seconds = [], []
    for _ in range(2):
        before = len(upstream.requests(0))
        begin = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "bandersnatch.main", "-c", str(config), "mirror"],
            env=environment(folder),
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        seconds.append(time.perf_counter() - begin)
        counts.append(len(upstream.requests(before)))
        if done.returncode:
            raise BenchError(f"bandersnatch ended with {done.returncode}: {done.stderr[-2000:]}")
    stored = sum(1 for path in (folder / "theirs" / "web" / "packages").rglob("*") if path.is_file())
    if stored < mirror_tree.PROJECTS:
        raise BenchError(f"bandersnatch stored {stored} files only")
    return seconds[0], counts[0], counts[1]


@contextmanager
def _serving(folder: Path, tree: Path) -> Iterator[_Upstream]:
    folder.mkdir()
    port = free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    config = mirror_tree.CONFIG.format(folder=folder, user=user, port=port, root=tree)
    (folder / "nginx.conf").write_text(config, encoding="utf-8")
    log = folder / "error.log"
    command = [nginx.binary(), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(log)]
    with running([*command, "-g", "daemon off;"], log, environment(folder)) as process:
        wait_for_port(process, port, log)
        yield _Upstream(f"http://127.0.0.1:{port}", folder / "access.log")


@contextmanager
def _database() -> Iterator[str]:
    """A new database of a PostgreSQL that was started for it."""
    from tests.services import Services

    services = Services.begin()
    try:
        with services.database() as url:
            yield url
    finally:
        services.stop()


class _Commands:
    """Runs commands of Koschey, and watches the memory of each process."""

    def __init__(self, env: dict[str, str]) -> None:
        self._env = env
        self.peak = PeakMemory(single=True)

    def __call__(self, *arguments: str) -> str:
        with (
            subprocess.Popen(
                [*_KOSCHEY, *arguments],
                env=self._env,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            ) as process,
            self.peak.watching(process.pid),
        ):
            out, err = process.communicate(timeout=900)
        if process.returncode not in (0, 2):
            raise BenchError(f"koschey {' '.join(arguments)} ended with {process.returncode}: {err[-2000:]}")
        return out


@contextmanager
def _koschey(folder: Path, database_url: str, upstream_url: str) -> Iterator[_Commands]:
    env = environment(
        folder,
        PYTHONPATH=str(_REPOSITORY),
        KOSCHEY_DATA_DIR=str(folder / "ours"),
        KOSCHEY_DATABASE_URL=database_url,
        KOSCHEY_UPSTREAM_URL=upstream_url,
    )
    yield _Commands(env)
