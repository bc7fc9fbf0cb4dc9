"""Moments and spans at the command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

from koschey.domain.page import Microseconds
from koschey.stores.database import now

_DAY: Microseconds = 86_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAYS = re.compile(r"([0-9]+(?:\.[0-9]+)?)d(?:ays?)?")
#: A million days from now lie beyond the end of dates; what is longer is a mistake.
_MOST_DAYS = 1_000_000.0


class Days(click.FloatRange):
    """A span in days, fractions allowed."""

    name = "days"

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True, max=_MOST_DAYS)


class Moment(click.ParamType[Microseconds]):
    """A date (midnight, UTC) or a date and time (ISO 8601; UTC without an offset)."""

    name = "date"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Microseconds:
        if isinstance(value, int):
            return value
        try:
            said = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no date such as 2026-12-31 or 2026-12-31T18:00Z", param, ctx)
        said = said if said.tzinfo is not None else said.replace(tzinfo=UTC)
        return (said - _EPOCH) // timedelta(microseconds=1)


class Since(Moment):
    """The same, or days back from now: ``7d``."""

    name = "date|days"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Microseconds:
        days = _DAYS.fullmatch(str(value))
        return super().convert(value, param, ctx) if days is None else ahead(-float(days[1]))


def ahead(days: float) -> Microseconds:
    """The moment so many days from now."""
    return now() + round(days * _DAY)
