"""``koschey sync``: bring upstreams in step, with a bar on a terminal and plain lines elsewhere."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from koschey.cli.running import actor, data_option, json_option, services

if TYPE_CHECKING:
    from koschey.services.sync_phases import Options
    from koschey.web.current import Koschey

#: Between two lines where there is no terminal.
_LINE_SECONDS = 10.0


@click.command()
@click.argument("upstream", required=False)
@click.option("--dry-run", is_flag=True, help="Say what would be kept; store nothing.")
@click.option("--status", is_flag=True, help="Say how upstreams stand; ask nothing.")
@click.option("--full", "afresh", is_flag=True, help="Look at every page, whatever serials say.")
@click.option("--reset", is_flag=True, help="First do what `koschey upstream reset` does.")
@click.option("--processes", type=click.IntRange(1, 16), help="Processes that share the work.")
@json_option
@data_option
def sync(
    *,
    upstream: str | None,
    dry_run: bool,
    status: bool,
    afresh: bool,
    reset: bool,
    processes: int | None,
    as_json: bool,
) -> None:
    """Bring UPSTREAM (all that are kept in step by default) up to date.

    Exit code: 0 in step; 1 it did not work; 2 something is left for the next time.
    """
    from koschey.services.sync_phases import Options

    if sum((dry_run, status, reset)) > 1:
        raise click.UsageError("--dry-run, --status and --reset exclude each other")
    if reset and upstream is None:
        raise click.UsageError("--reset needs the name of the upstream")
    with services() as koschey:
        if reset and upstream is not None:
            koschey.sync.reset(upstream, actor=actor())
        if status:
            _print_status(koschey.sync.status(upstream), as_json=as_json)
            return
        if dry_run:
            _warn_of_none(koschey, upstream)
            _print_preview([koschey.sync_preview.of(n) for n in _names(koschey, upstream)], as_json=as_json)
            return
        _warn_of_none(koschey, upstream)
        options = Options(afresh=afresh)
        if upstream is None:
            summaries = _each(koschey, options, processes, quiet=as_json)
        else:
            summaries = [_one(koschey, upstream, options, processes, quiet=as_json)]
        if as_json:
            click.echo(json.dumps(summaries[0] if upstream else summaries, indent=2))
    sys.exit(max((_code(summary) for summary in summaries), default=0))


def _names(koschey: Koschey, upstream: str | None) -> list[str]:
    if upstream is not None:
        return [koschey.sync.source(upstream).name]
    return [source.name for source in koschey.configuration.upstreams() if source.mode != "proxy"]


def _warn_of_none(koschey: Koschey, upstream: str | None) -> None:
    """Say it when there is nothing to do, and why."""
    if upstream is None and not _names(koschey, None):
        upstreams = [source.name for source in koschey.configuration.upstreams()]
        if upstreams:
            told = f"the mode of {', '.join(upstreams)} is proxy, which keeps nothing in step"
            advice = f"koschey upstream edit {upstreams[0]} --mode known|index|full"
        else:
            told, advice = "there is no upstream", "koschey upstream add NAME URL"
        click.echo(f"koschey: nothing to do: {told}; {advice}", err=True)


def _code(summary: dict[str, Any]) -> int:
    return {"ok": 0, "partial": 2, "continues": 2, "paused": 2, "skipped": 2}.get(summary["outcome"], 1)


def _one(
    koschey: Koschey, name: str, options: Options, processes: int | None, *, quiet: bool
) -> dict[str, Any]:
    from koschey.cli.sync_processes import several
    from koschey.errors import UpstreamError

    with _stopping(koschey), _shown(koschey, name, quiet=quiet) as watch:
        try:
            summary = koschey.sync.run(name, replace(options, many=several(koschey, processes, watch)))
        except UpstreamError as error:
            click.echo(f"koschey: {error}", err=True)
            [summary] = koschey.sync.status(name)
    if not quiet:
        click.echo(_sentence(summary))
        for left in summary["left"]:
            click.echo(f"  left: {left['filename'] or left['project']}: {left['problem']}", err=True)
        if summary["alarm"]:
            click.echo(f"  alarm: {summary['alarm']}", err=True)
    return summary


def _each(koschey: Koschey, options: Options, processes: int | None, *, quiet: bool) -> list[dict[str, Any]]:
    """All upstreams that are kept in step; one that cannot be synced now holds up no other."""
    import structlog

    from koschey.errors import Conflict, KoscheyError

    summaries = []
    for name in _names(koschey, None):
        problem, outcome = "", "failed"
        try:
            summaries.append(_one(koschey, name, options, processes, quiet=quiet))
            continue
        except Conflict as error:
            problem, outcome = str(error), "skipped"
        except KoscheyError as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001 - it is told, and costs this upstream alone
            structlog.get_logger(__name__).exception("sync.crashed", upstream=name)
            problem = f"the sync of {name} crashed: {type(error).__name__}; the log says where"
        click.echo(f"koschey: {problem}", err=True)
        [summary] = koschey.sync.status(name)
        summaries.append(summary | {"outcome": outcome, "problem": problem})
    return summaries


@contextmanager
def _stopping(koschey: Koschey) -> Iterator[None]:
    """SIGINT and SIGTERM end the sync after what it is about; a second one at once."""

    def stop(number: int, _frame: object) -> None:
        koschey.sync.stop(f"signal {signal.Signals(number).name}")
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _shown(koschey: Koschey, name: str, *, quiet: bool) -> Iterator[Callable[[], None]]:
    """A function that shows progress: a bar on a terminal, else a line now and then."""
    if quiet:
        yield lambda: None
    elif sys.stderr.isatty():
        with _bar(koschey, name) as update:
            yield update
    else:
        yield _lines(koschey, name)


def _lines(koschey: Koschey, name: str) -> Callable[[], None]:
    last = time.monotonic()

    def watch() -> None:
        nonlocal last
        if time.monotonic() - last < _LINE_SECONDS:
            return
        last = time.monotonic()
        [at] = koschey.sync.status(name)
        projects, files = at["projects"], at["files"]
        click.echo(
            f"{name}: {at['phase'] or 'begins'}: {projects['done']}/{projects['due']} projects, "
            f"{files['done']}/{files['due']} files, {projects['failed'] + files['failed']} failed",
            err=True,
        )

    return watch


@contextmanager
def _bar(koschey: Koschey, name: str) -> Iterator[Callable[[], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f}/s"),
        TimeRemainingColumn(),
    )
    # No thread that refreshes it: processes are forked meanwhile.
    progress = Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)
    tasks = {
        kind: progress.add_task(f"{name}: {kind}", total=None, rate=0.0) for kind in ("projects", "files")
    }

    def update() -> None:
        [at] = koschey.sync.status(name)
        for kind, task in tasks.items():
            speed = progress.tasks[task].speed or 0.0
            progress.update(task, completed=at[kind]["done"], total=at[kind]["due"] or None, rate=speed)
        progress.refresh()

    with progress:
        yield update


def _sentence(summary: dict[str, Any]) -> str:
    projects, files = summary["projects"], summary["files"]
    words = (
        f"{summary['upstream']}: {summary['outcome']}; {projects['done']} projects looked at, "
        f"{projects['changed']} changed, {projects['failed']} failed; {files['done']} files stored, "
        f"{files['failed']} failed; {summary['requests']} requests, {summary['bytes']:,} bytes, "
        f"{summary['seconds']} s"
    )
    return words + (f"; {summary['problem']}" if summary["problem"] else "")


def _print_status(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(
            f"{row['upstream']} ({row['mode']}): " + ("runs: " + row["phase"] if row["running"] else "")
        )
        if row["begun_at"] is not None:
            click.echo("  " + _sentence(row))
        lag = "never in step" if row["lag_seconds"] is None else f"in step {row['lag_seconds']} s ago"
        click.echo(f"  {lag}, {row['lag_serials']} serials behind")
        total = row["total"]
        share = total["unchanged"] / total["requests"] if total["requests"] else 0.0
        click.echo(
            f"  in all: {total['requests']} requests, {share:.0%} of them 304, {total['bytes']:,} bytes, "
            f"{total['failures']} failures"
        )
        if row["alarm"]:
            click.echo(f"  alarm: {row['alarm']}")


def _print_preview(previews: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(previews, indent=2))
        return
    for each in previews:
        click.echo(f"{each['upstream']} ({each['mode']}): {each['says']}")
