"""``koschey fsck``: whether everything is as it must be."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from koschey.cli.running import actor, data_option, json_option, plain, services
from koschey.errors import KoscheyError

if TYPE_CHECKING:
    from koschey.services.fsck.findings import Context, Finding

#: Exit codes: all is well or was mended; something is left; it could not be looked at.
_WELL, _LEFT, _UNABLE = 0, 1, 2
_QUIET_SECONDS = 0.2


@click.command()
@click.option("--quick", is_flag=True, help="Leave out what reads every byte and every event.")
@click.option("--repair", is_flag=True, help="Mend what can be mended.")
@click.option("--check", "names", multiple=True, help="Only this check; may be said again.")
@json_option
@data_option
def fsck(quick: bool, repair: bool, names: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001 - click's
    """Look for what is not as it must be in database and files.

    Exits with 0 when all is well or was mended, with 1 when something is left, with 2 when it could not look.
    """
    from koschey.services.fsck.findings import Context
    from koschey.services.fsck.run import CHECKS

    unknown = sorted(set(names) - CHECKS.keys())
    if unknown:
        raise click.UsageError(f"no check {unknown[0]!r}; there is {', '.join(CHECKS)}")
    try:
        with services() as koschey:
            context = Context(
                database=koschey.database,
                configuration=koschey.configuration,
                store=koschey.store,
                locks=koschey.locks,
                holds=koschey.holds,
                roots=koschey.root_builder,
                actor=actor(),
                quick=quick,
                repair=repair,
            )
            status = _looked(context, names, as_json=as_json)
    except KoscheyError as error:
        click.echo(f"koschey: {error}", err=True)
        sys.exit(_UNABLE)
    sys.exit(status)


def _looked(context: Context, names: tuple[str, ...], *, as_json: bool) -> int:
    from koschey.services.fsck.run import run

    progress = _Progress(silent=as_json)
    findings = []
    for finding in run(context, progress, list(names)):
        findings.append(finding) if as_json else _say(finding, progress)
        progress.mended += finding.mended
        progress.left += not finding.mended
    if as_json:
        report = {
            "checks": progress.checks,
            "findings": [asdict(finding) for finding in findings],
            "left_out": progress.passed_over,
            "mended": progress.mended,
            "left": progress.left,
        }
        click.echo(json.dumps(report, indent=2))
    else:
        click.echo(progress.summary())
    return _LEFT if progress.left else _WELL


def _say(finding: Finding, progress: _Progress) -> None:
    progress.clear()
    end = "mended" if finding.mended else finding.advice
    click.echo(plain(f"{finding.check}: {finding.subject} {finding.problem}" + (f"; {end}" if end else "")))


class _Progress:
    """A line that counts on a terminal, and a line for each check elsewhere."""

    def __init__(self, *, silent: bool) -> None:
        self.checks: dict[str, dict[str, int]] = {}
        self.passed_over: list[dict[str, str]] = []
        self.mended = 0
        self.left = 0
        self._silent = silent
        self._live = sys.stderr.isatty() and not silent
        self._check = ""
        self._told = 0.0

    def begin(self, check: str) -> None:
        self._check = check
        self.checks[check] = {"looked_at": 0, "found": 0}

    def step(self, done: int) -> None:
        counts = self.checks[self._check]
        counts["looked_at"] += done
        if self._live and time.monotonic() - self._told > _QUIET_SECONDS:
            self._told = time.monotonic()
            click.echo(f"\r\x1b[K{self._check}: {counts['looked_at']:,}", err=True, nl=False)

    def left_out(self, what: str) -> None:
        self.passed_over.append({"check": self._check, "what": what})
        self.clear()
        if not self._silent:
            click.echo(plain(f"{self._check}: left out: {what}"), err=True)

    def end(self, found: int) -> None:
        counts = self.checks[self._check]
        counts["found"] = found
        self.clear()
        if not self._silent:
            click.echo(f"{self._check}: looked at {counts['looked_at']:,}, found {found:,}", err=True)

    def clear(self) -> None:
        if self._live:
            click.echo("\r\x1b[K", err=True, nl=False)

    def summary(self) -> str:
        if not self.mended and not self.left:
            return "all is well"
        return f"mended {self.mended:,}, left {self.left:,}"
