"""The plots of the overview: rows of numbers by the hour or day, with the words that say what they are."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from koschey.services import hourly
from koschey.services.hourly import HOUR, Hourly
from koschey.services.pages import PAGE_MADE, PAGE_READY
from koschey.stores.database import now

_HOURS, _DAYS = 48, 30


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a plot."""

    label: str
    values: list[int]


class Plot(msgspec.Struct, frozen=True, kw_only=True):
    """Bars beside each other in time, those of one time on top of each other."""

    key: str
    title: str
    description: str
    """One sentence that says what the bars come to."""
    times: list[str]
    """Of each bar, for people, in UTC."""
    series: list[Series]
    size: bool = False
    """Whether the values are bytes."""

    @property
    def highest(self) -> int:
        """The tallest bar's value, 1 at the least."""
        tallest = 1
        for at in range(len(self.times)):
            tallest = max(tallest, sum(row.values[at] for row in self.series))
        return tallest

    @property
    def total(self) -> int:
        """All bars together."""
        return sum(sum(row.values) for row in self.series)


class Plots:
    """Makes them from what was counted."""

    def __init__(self, counted: Hourly) -> None:
        self._counted = counted

    def plots(self) -> list[Plot]:
        """All of them, of the last two days by the hour, or of the last 30 days by the day."""
        hour = now() // HOUR
        by_hour = range(hour - _HOURS + 1, hour + 1)
        first_day = hour // 24 - _DAYS + 1
        by_day = range(first_day, hour // 24 + 1)
        found = self._counted.series(_NAMES, min(by_hour.start, first_day * 24))
        plots = [self._added(key, title, rows, by_hour, found) for key, title, rows in _BY_HOUR]
        plots += [self._by_day(key, title, rows, by_day, found) for key, title, rows in _BY_DAY]
        plots.append(self._fetched(by_hour, found))
        plots.append(self._storage(by_day, found))
        plots.append(self._queue(found))
        return plots

    @staticmethod
    def _added(
        key: str,
        title: str,
        rows: Sequence[tuple[str, str]],
        hours: range,
        found: dict[str, dict[int, int]],
    ) -> Plot:
        series = [
            Series(label=label, values=[found[name].get(hour, 0) for hour in hours]) for name, label in rows
        ]
        return _plot(key, title, [_hour(hour) for hour in hours], series, "in the last 48 hours")

    @staticmethod
    def _by_day(
        key: str,
        title: str,
        rows: Sequence[tuple[str, str]],
        days: range,
        found: dict[str, dict[int, int]],
    ) -> Plot:
        series = []
        for name, label in rows:
            sums = dict.fromkeys(days, 0)
            for hour, count in found[name].items():
                if hour // 24 in sums:
                    sums[hour // 24] += count
            series.append(Series(label=label, values=list(sums.values())))
        return _plot(key, title, [_day(day) for day in days], series, "in the last 30 days")

    @staticmethod
    def _fetched(hours: range, found: dict[str, dict[int, int]]) -> Plot:
        series = [
            Series(label=label, values=[found[name].get(hour, 0) for hour in hours])
            for name, label in ((hourly.UPSTREAM_BYTES, "on demand"), (hourly.SYNC_BYTES, "by syncs"))
        ]
        words = ", ".join(f"{sum(row.values) / 1e9:,.1f} GB {row.label}" for row in series)
        return Plot(
            key="fetched",
            title="Fetched from upstreams",
            description=f"{words}: pages and files of the last 48 hours.",
            times=[_hour(hour) for hour in hours],
            series=series,
            size=True,
        )

    @staticmethod
    def _storage(days: range, found: dict[str, dict[int, int]]) -> Plot:
        last, values = 0, []
        counted = found[hourly.STORED_BYTES]
        for day in days:
            hours = [hour for hour in counted if hour // 24 == day]
            last = counted[max(hours)] if hours else last
            values.append(last)
        grown = values[-1] - next((value for value in values if value), 0)
        return Plot(
            key="storage",
            title="Stored",
            description="What was stored at the end of each day; "
            f"it {'shrank' if grown < 0 else 'grew'} by {abs(grown) / 1e9:,.1f} GB.",
            times=[_day(day) for day in days],
            series=[Series(label="stored", values=values)],
            size=True,
        )

    @staticmethod
    def _queue(found: dict[str, dict[int, int]]) -> Plot:
        latest = max((hour for name in hourly.QUEUE for hour in found[name]), default=0)
        values = [found[name].get(latest, 0) for name in hourly.QUEUE]
        return Plot(
            key="ages",
            title="Held, by age",
            description=f"{sum(values):,} files are held, as last counted; {values[-1]:,} for over 30 days.",
            times=["up to a day", "up to a week", "up to 30 days", "longer"],
            series=[Series(label="held files", values=values)],
        )


_BY_HOUR = (
    ("pages", "Pages", ((PAGE_READY, "ready in the cache"), (PAGE_MADE, "made anew"))),
    ("files", "Files", ((hourly.DOWNLOAD, "served"), (hourly.FETCHED, "fetched from upstreams"))),
    (
        "upstream",
        "Requests to upstreams",
        (
            (hourly.ASKED, "answered"),
            (hourly.UNCHANGED, "unchanged (304)"),
            (hourly.FAILED, "failed"),
            (hourly.SYNC_REQUESTS, "by syncs"),
        ),
    ),
)
_BY_DAY = (("decisions", "Decisions", ((hourly.DECIDED, "by hand"), (hourly.RELEASED, "released by time"))),)
_NAMES = (
    *(name for _, _, rows in (*_BY_HOUR, *_BY_DAY) for name, _ in rows),
    hourly.STORED_BYTES,
    hourly.UPSTREAM_BYTES,
    hourly.SYNC_BYTES,
    *hourly.QUEUE,
)


def _plot(key: str, title: str, times: list[str], series: list[Series], span: str) -> Plot:
    words = ", ".join(f"{sum(row.values):,} {row.label}" for row in series)
    return Plot(key=key, title=title, description=f"{words} {span}.", times=times, series=series)


def _hour(hour: int) -> str:
    return f"{_day(hour // 24)} {hour % 24:02}:00"


def _day(day: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()
