"""The quarantine: verdicts of one large project, and the queue of a million held files on PostgreSQL."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import event

from bench import held
from bench.ground import Ground
from bench.processes import BenchError
from bench.report import Goal, Row
from koschey.domain.checks import Outcome, summary
from koschey.domain.decisions import NONE, Decision, Decisions, Kind
from koschey.domain.page import Microseconds
from koschey.domain.policy import DAY, Policy
from koschey.domain.quarantine import State, decide
from koschey.stores.lookup import PageRow
from koschey.web.current import Koschey

_FILES = 6_000
_OF_A_VERSION = 20
_SEEN: Microseconds = 20_000 * DAY
_CHECKS = ("archive", "integrity", "metadata", "native", "record", "size", "startup")
_POLICY = Policy(hold=7 * DAY, required=frozenset(_CHECKS))
_MILLION = 1_000_000
_ENDED = 10_000
#: Files that failed a check and wait for a person, among the others.
_FAILED = 5_000


def verdicts(ground: Ground) -> Iterator[Row]:
    """CPU time for the verdicts on every file of a project of 6,000: what a page costs that is made anew."""
    rows = [_row(number) for number in range(_FILES)]
    held_at, ended_at = _SEEN + DAY, _SEEN + 8 * DAY
    for what, decisions, at, expected in (
        ("held for time", NONE, held_at, State.HELD),
        ("visible", NONE, ended_at, State.VISIBLE),
        ("100 decisions", _decisions(), held_at, None),
    ):
        found = {decide(row, _POLICY, row.checks, decisions, at).state for row in rows}
        if expected is not None and found != {expected}:
            raise BenchError(f"the verdicts on files that should be {expected} are {found}")
        milliseconds = [_judged(rows, decisions, at) * 1000 for _ in range(10 * ground.effort.rounds)]
        for figure, value in (("median", statistics.median(milliseconds)), ("fastest", min(milliseconds))):
            name = f"verdicts on 6,000 files, {what}, {figure}"
            yield Row(name, "ms CPU", None, value, goal=Goal("limit", 10))


def _judged(rows: list[PageRow], decisions: Decisions, at: Microseconds) -> float:
    begin = time.process_time()
    for row in rows:
        decide(row, _POLICY, row.checks, decisions, at)
    return time.process_time() - begin


def _row(number: int) -> PageRow:
    version = f"1.{number // _OF_A_VERSION}.0"
    values: dict[str, Any] = dict.fromkeys(PageRow._fields)
    values |= {
        "filename": f"huge_history-{version}-cp312-cp312-linux_{number}.whl",
        "version": version,
        "sha256": f"{number:064x}",
        "upload_time": _SEEN - DAY // 24,
        "first_seen": _SEEN,
        "checks": summary(dict.fromkeys(_CHECKS, Outcome.PASS)),
    }
    return PageRow(**values)


def _decisions() -> Decisions:
    """Approved files, rejected versions, and two words about the whole project that are long over."""
    said: list[dict[str, Any]] = []
    for number in range(0, _FILES, _FILES // 70):
        row = _row(number)
        said.append({"kind": Kind.APPROVE, "filename": row.filename, "sha256": row.sha256})
    said += [{"kind": Kind.REJECT, "version": f"1.{number}"} for number in range(98 - len(said))]
    said += [{"kind": Kind.BASELINE}, {"kind": Kind.HOLD, "until": _SEEN}]
    return Decisions(
        Decision(id=number, at=_SEEN - 1, actor="rena", reason="read it", **values)
        for number, values in enumerate(said, 1)
    )


def queue(ground: Ground) -> Iterator[Row]:
    """With a million held files: the sweep that records 10,000 ended holds, an idle one, the first page."""
    with _million(ground.folder / "held") as koschey:
        sweep = koschey.tasks["release_due"]
        seconds = _seconds(sweep)
        left = koschey.metrics.numbers().indexes[0].hidden
        if left != _MILLION - _ENDED:
            raise BenchError(f"after the sweep {left:,} files are hidden")
        yield Row("sweep of 10,000 ended holds", "s", None, seconds, goal=Goal("limit", 30))
        yield from _idle(koschey, sweep, ground.effort.rounds)
        page = koschey.waiting.page
        for what, first in (
            ("newest", page),
            ("oldest", partial(page, oldest_first=True)),
            ("for review", partial(page, review=True)),
        ):
            files = first().files
            if not files or (what == "for review" and not all(file.review for file in files)):
                raise BenchError(f"the first page of the queue, {what}, has other files, or none")
            milliseconds = [_seconds(first) * 1000 for _ in range(ground.effort.rounds)]
            median = statistics.median(milliseconds)
            yield Row(f"first page of the queue, {what}", "ms", None, median, goal=Goal("limit", 50))
        milliseconds = [_seconds(koschey.metrics.numbers) * 1000 for _ in range(ground.effort.rounds)]
        yield Row("numbers for /metrics", "ms", None, statistics.median(milliseconds))


def _idle(koschey: Koschey, sweep: Callable[[], object], rounds: int) -> Iterator[Row]:
    asked: list[str] = []
    event.listen(koschey.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    milliseconds = [_seconds(sweep) * 1000 for _ in range(rounds)]
    changing = [statement for statement in asked if not statement.lstrip().startswith("SELECT")]
    if changing:
        raise BenchError(f"a sweep with nothing to do changes something: {changing[0]}")
    yield Row("sweep with nothing to do", "ms", None, statistics.median(milliseconds), goal=Goal("limit", 50))
    yield Row("sweep with nothing to do", "queries", None, len(asked) / rounds)


@contextmanager
def _million(folder: Path) -> Iterator[Koschey]:
    # The tests' own PostgreSQL: an installed package, started without root and for this run only.
    from tests.services import Services

    server = Services.begin()
    try:
        with server.database() as url, held.services(url, folder) as koschey:
            each = held.EACH
            held.fill(koschey, projects=_MILLION // each, ended=_ENDED // each, failed=_FAILED // each)
            yield koschey
    finally:
        server.stop()


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
