"""What was measured, what it must reach, and the table of both."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Goal:
    """What a measure must reach, and what it aims at.

    ``share``: at least this part of nginx's rate. ``multiple``: at most this multiple of nginx's time.
    ``limit``: Koschey's own figure is at most this, in the row's unit.
    """

    kind: Literal["share", "multiple", "limit"]
    required: float
    aim: float | None = None


@dataclass(frozen=True)
class Row:
    """One line: medians of both, the median of the rounds' ratios, and where their middle half lies.

    Where the goal is a limit, the spread is that of Koschey's own figures.
    """

    measure: str
    unit: str
    nginx: float | None
    koschey: float
    ratio: float | None = None
    spread: tuple[float, float] | None = None
    goal: Goal | None = None

    @property
    def verdict(self) -> str:
        """``ok``, ``short``, or nothing where nothing is required."""
        if self.goal is None:
            return ""
        value = self.koschey if self.goal.kind == "limit" else self.ratio
        assert value is not None, "a share or a multiple has a ratio"
        reached = value >= self.goal.required if self.goal.kind == "share" else value <= self.goal.required
        return "ok" if reached else "short"


def compared(
    measure: str, unit: str, nginx: Sequence[float], koschey: Sequence[float], goal: Goal | None = None
) -> Row:
    """The row of interleaved rounds: the n-th figures of both were taken one after the other."""
    ratios = [ours / theirs for ours, theirs in zip(koschey, nginx, strict=True)]
    judged = koschey if goal and goal.kind == "limit" else ratios
    return Row(
        measure,
        unit,
        statistics.median(nginx),
        statistics.median(koschey),
        statistics.median(ratios),
        _middle_half(judged),
        goal,
    )


def table(rows: Sequence[Row]) -> str:
    """The rows as lines of plain text, a simple table of reStructuredText."""
    head = ("measure", "unit", "nginx", "Koschey", "ratio", "spread", "required", "aim", "")
    lines = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    widths[-1] = max(widths[-1], len("short"))
    rule = "  ".join("=" * width for width in widths)
    body = ["  ".join(map(_aligned, line, widths, range(len(head)))).rstrip() for line in lines]
    return "\n".join((rule, body[0], rule, *body[1:], rule))


def _cells(row: Row) -> tuple[str, ...]:
    required = aim = ""
    if row.goal:
        sign = "≥" if row.goal.kind == "share" else "≤"
        required = f"{sign} {_figure(row.goal.required)}"
        aim = f"{sign} {_figure(row.goal.aim)}" if row.goal.aim is not None else ""
    spread = "-".join(map(_figure, row.spread)) if row.spread else ""
    figures = (_figure(row.nginx), _figure(row.koschey), _figure(row.ratio))
    return (row.measure, row.unit, *figures, spread, required, aim, row.verdict)


def _aligned(cell: str, width: int, column: int) -> str:
    return cell.rjust(width) if 2 <= column <= 4 else cell.ljust(width)


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _middle_half(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high
