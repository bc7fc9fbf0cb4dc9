"""``python -m bench``: build the synthetic upstream, measure Koschey beside nginx, print the table."""

from __future__ import annotations

import argparse
import fnmatch
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType

import msgspec

from bench import (
    cold,
    installs,
    lifetime,
    load,
    mirror,
    nginx,
    panel,
    quarantine,
    roots,
    synthetic,
    uploads,
    warm,
)
from bench.ground import Effort, Ground
from bench.processes import BenchError
from bench.report import Row, table

WORK = Path(__file__).parent / ".work"

#: In this order: first pulls while nothing was asked for, memory last, when its peak is known.
MEASURES: dict[str, Callable[[Ground], Iterator[Row]]] = {
    "first-page": cold.first_pages,
    "first-file": cold.first_files,
    "small-page": warm.small_page,
    "token-page": warm.token_page,
    "huge-page": warm.huge_page,
    "small-file": warm.small_files,
    "large-file": warm.large_file,
    "uv": installs.uv_install,
    "uv-8": installs.uv_install_8,
    "pip": installs.pip_download,
    "large-file-accel": warm.large_file_accel,
    "first-huge-page": cold.first_huge_page,
    "verdicts": quarantine.verdicts,
    "queue": quarantine.queue,
    "panel": panel.panel,
    "root": roots.root_list,
    "uploads": uploads.small_uploads,
    "large-upload": uploads.large_upload,
    "mirror": mirror.whole_set,
    "mirror-pages": mirror.pages_only,
    "mirror-few": mirror.few_of_many,
    "start": lifetime.start_up,
    "memory": lifetime.memory_use,
}

_EPILOG = f"""\
measures: {", ".join(MEASURES)}

Needs nginx, wrk and uv, and about ten minutes. Everything stays on the loopback address; about
0.4 GB are kept in bench/.work, with the logs of the last run. Rates are taken from 16
connections in rounds of a second, nginx and Koschey in turns; the ratio is the median of the
rounds' ratios, the spread their middle half (where the goal is a limit: that of Koschey's own
figures). The peak of memory is that of the measures of the same run.

Exit code: 0 when everything worked, also when figures fall short; 1 when something did not
work (a wrong answer, a broken connection, no start); 2 for a wrong option; 130 when interrupted."""


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    options = _options()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        # Asked for before minutes are spent.
        nginx.binary()
        load.binary()
        WORK.mkdir(exist_ok=True)
        print("preparing the synthetic upstream", file=sys.stderr)
        rows, failures = _run(options)
    except BenchError as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(table(rows))
    _write_json(rows, failures, {WORK / "results.json", options.json})
    for name, problem in failures.items():
        print(f"bench: {name} did not work: {problem}", file=sys.stderr)
    return 1 if failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure Koschey (two worker processes) beside static nginx on this machine.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", metavar="PATTERN", action="append", help="measures whose names match (*, ?)"
    )
    parser.add_argument(
        "--rounds", type=_positive, metavar="N", help="rounds of load per measure (default 9)"
    )
    parser.add_argument("--quick", action="store_true", help="a third of the rounds: to see that it works")
    parser.add_argument(
        "--json", type=Path, default=WORK / "results.json", help="also write the results here"
    )
    options = parser.parse_args()
    options.names = [
        name for name in MEASURES if any(fnmatch.fnmatch(name, only) for only in options.only or ["*"])
    ]
    if not options.names:
        parser.error(f"no measure matches {options.only}; there are {', '.join(MEASURES)}")
    return options


def _positive(text: str) -> int:
    if not text.isdecimal() or (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number


def _run(options: argparse.Namespace) -> tuple[list[Row], dict[str, str]]:
    """The rows of what worked, and what did not by measure's name. Raises: BenchError when nothing starts."""
    effort = Effort(rounds=9, installs=5, pulls=100, starts=5)
    if options.quick:
        effort = Effort(rounds=3, installs=2, pulls=20, starts=2)
    if options.rounds:
        effort = Effort(options.rounds, min(options.rounds, effort.installs), effort.pulls, effort.starts)
    tree = synthetic.build(WORK)
    rows: list[Row] = []
    failures: dict[str, str] = {}
    with _folder() as folder, nginx.serving(folder / "nginx", tree, folder / "data") as served:
        ground = Ground(folder, folder / "data", served, effort, WORK)
        try:
            ground.koschey()
            for name in options.names:
                print(f"measuring {name}", file=sys.stderr)
                try:
                    rows.extend(MEASURES[name](ground))
                except BenchError as failure:
                    failures[name] = str(failure)
                    # It may be what is broken: the next measure gets a new one.
                    ground.stop()
        finally:
            ground.stop()
    return rows, failures


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for one run; its logs stay, as those of the last run, when it is over."""
    with tempfile.TemporaryDirectory(prefix="run-", dir=WORK) as folder:
        try:
            yield Path(folder)
        finally:
            for log in (Path(folder, "koschey.log"), Path(folder, "nginx", "error.log")):
                if log.exists():
                    log.replace(WORK / f"last-{log.name}")


def _write_json(rows: list[Row], failures: dict[str, str], paths: set[Path]) -> None:
    document = {
        "machine": {
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.release()}",
            "python": platform.python_version(),
        },
        "rows": [asdict(row) | {"verdict": row.verdict} for row in rows],
        "failures": failures,
    }
    for path in paths:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(document)) + b"\n")


def _interrupt(number: int, frame: FrameType | None) -> None:
    # Once: a second one must not keep what was started from being ended.
    for known in (signal.SIGINT, signal.SIGTERM):
        signal.signal(known, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
