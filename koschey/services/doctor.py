"""What is right and wrong with an installation, each as a line that says what to do."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from sqlalchemy import text

from koschey.domain.explanation import iso
from koschey.domain.policy import DAY
from koschey.errors import KoscheyError, UpstreamError
from koschey.services.configuration import MAIN, Configuration
from koschey.services.fsck.last import last
from koschey.services.metrics import Metrics
from koschey.services.probe import Probe
from koschey.settings import Settings
from koschey.stores.blobs import BlobStore
from koschey.stores.database import Database, now

Level = Literal["ok", "warn", "fail"]

#: Seconds by which clocks may differ without and with a word.
_SKEW_WARN, _SKEW_FAIL = 2.0, 60.0
#: The same beside an upstream's Date header, which has whole seconds, and may be wrong itself.
_BESIDE_WARN, _BESIDE_FAIL = 5.0, 3600.0
#: Seconds that holds may be over, or files due, without being taken up.
_LATE = 300.0
#: Free bytes and share of a disk.
_ROOM_WARN, _ROOM_FAIL, _SHARE_WARN = 2 * 10**9, 200 * 10**6, 0.05
_SLOW_DATABASE = 0.05
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Line:
    """One thing that was looked at."""

    level: Level
    subject: str
    says: str
    advice: str = ""


class Checked(Protocol):
    """A part that can prove that it works."""

    def check(self) -> None:
        """Raises: StoreUnavailable."""


class Doctor:
    """Looks at each part. A part that cannot be looked at is a line as well."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        configuration: Configuration,
        store: BlobStore,
        queue: Checked,
        probe: Probe,
        metrics: Metrics,
        *,
        swept_at: Callable[[str], float | None] | None,
    ) -> None:
        """``swept_at``: when a worker process last did a task (seconds since 1970); None: there are none."""
        self._settings = settings
        self._database = database
        self._configuration = configuration
        self._store = store
        self._queue = queue
        self._probe = probe
        self._metrics = metrics
        self._swept_at = swept_at

    def lines(self, *, ask_upstreams: bool = True) -> Iterator[Line]:
        """One after the other, as they are found."""
        looks = [
            self._address,
            self._kind,
            self._answers,
            self._clock,
            self._damage,
            self._files,
            self._room,
            self._jobs,
            self._lag,
            self._syncs,
            self._indexes,
        ]
        if ask_upstreams:
            looks.append(self._upstreams)
        for look in looks:
            subject = look.__name__.strip("_")
            try:
                yield from look()
            except KoscheyError as error:
                yield Line("fail", subject, str(error), _ADVICE.get(subject, ""))

    def _address(self) -> Iterator[Line]:
        settings = self._settings
        if not settings.public_url:
            yield Line(
                "warn",
                "address",
                "KOSCHEY_PUBLIC_URL is not set: pages are made for each address that a request names",
                "set it to what clients use, such as https://index.example",
            )
        else:
            parts = urlsplit(settings.public_url)
            if parts.query or parts.fragment or parts.username:
                yield Line("fail", "address", "KOSCHEY_PUBLIC_URL has a query, fragment or password")
            elif parts.scheme == "http" and parts.hostname not in _LOOPBACK:
                yield Line(
                    "warn",
                    "address",
                    "clients use plain http: pip ignores such an index unless it is a trusted host",
                    "put a proxy with TLS in front",
                )
            else:
                yield Line("ok", "address", f"clients use {settings.public_url}")
        if settings.public_url.startswith("https://") and not settings.trusted_proxies:
            yield Line(
                "warn",
                "proxy",
                "clients use https, and no proxy is trusted: all downloads are on record as the proxy's",
                "set KOSCHEY_TRUSTED_PROXIES to the number of proxies in front",
            )
        if settings.accel_redirect and not settings.resolved_storage_url.startswith("file:"):
            yield Line(
                "warn", "proxy", "KOSCHEY_ACCEL_REDIRECT does nothing for files in S3", "leave it empty"
            )

    def _kind(self) -> Iterator[Line]:
        settings = self._settings
        if settings.embedded and settings.redis_url:
            yield Line(
                "warn",
                "settings",
                "SQLite with Redis: worker processes must be on this machine",
                "use PostgreSQL for more than one machine",
            )
        elif not settings.embedded and settings.resolved_storage_url.startswith("file:"):
            yield Line("ok", "settings", "PostgreSQL and a folder: every machine must see the same folder")
        else:
            kind = "SQLite" if settings.embedded else "PostgreSQL"
            where = "a folder" if settings.resolved_storage_url.startswith("file:") else "S3"
            yield Line("ok", "settings", f"{kind}, files in {where}")

    def _answers(self) -> Iterator[Line]:
        begin = time.perf_counter()
        self._database.check()
        seconds = time.perf_counter() - begin
        says = f"answers within {seconds * 1000:.1f} ms"
        if seconds > _SLOW_DATABASE:
            yield Line("warn", "database", says, "every request waits that long: bring it nearer")
        else:
            yield Line("ok", "database", says)

    def _damage(self) -> Iterator[Line]:
        for check, found in last(self._database).items():
            if found.left:
                yield Line(
                    "fail",
                    "fsck",
                    f"on {iso(found.at)} its check of {check} left {found.left:,}, such as: {found.example}",
                    f"`koschey fsck --check {check}` looks again, with --repair it mends what it can",
                )

    def _clock(self) -> Iterator[Line]:
        if self._settings.embedded:
            return
        with self._database.reading() as session:
            seconds = session.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one()
        skew = abs(float(seconds) - time.time())
        advice = "run a time service on both: holds end by these clocks"
        says = f"this machine's clock and the database's differ by {skew:.1f} s"
        level: Level = "ok" if skew < _SKEW_WARN else "warn" if skew < _SKEW_FAIL else "fail"
        yield Line(level, "clock", says, "" if level == "ok" else advice)

    def _files(self) -> Iterator[Line]:
        self._store.check()
        yield Line("ok", "files", "the store can be used")

    def _room(self) -> Iterator[Line]:
        folders = {"data folder": self._settings.data_dir.absolute(), "spool": self._store.spool_dir}
        seen: set[int] = set()
        for name, folder in folders.items():
            device = folder.stat().st_dev
            if device in seen:
                continue
            seen.add(device)
            usage = shutil.disk_usage(folder)
            says = f"{usage.free / 1e9:.1f} GB free for the {name}"
            if usage.free < _ROOM_FAIL:
                yield Line("fail", "room", says, "downloads and uploads will fail: make room")
            elif usage.free < _ROOM_WARN or usage.free < _SHARE_WARN * usage.total:
                yield Line("warn", "room", says, "make room, or see `koschey storage evict --dry-run`")
            else:
                yield Line("ok", "room", says)

    def _jobs(self) -> Iterator[Line]:
        self._queue.check()
        if self._swept_at is None:
            yield Line("ok", "jobs", "threads of the web processes do them")
            return
        at = self._swept_at("release_due")
        seconds = None if at is None else time.time() - at
        if seconds is None or seconds > _LATE:
            since = "yet" if seconds is None else f"for {seconds:.0f} s"
            yield Line(
                "fail", "jobs", f"Redis answers, and no worker swept {since}", "start `koschey worker`"
            )
        else:
            yield Line("ok", "jobs", f"a worker swept {seconds:.0f} s ago")

    def _lag(self) -> Iterator[Line]:
        numbers = self._metrics.numbers()
        late = max((index.sweep_lag for index in numbers.indexes), default=0.0)
        advice = "see that `koschey serve` or `koschey worker` runs, and its log"
        if late > _LATE:
            yield Line("warn", "sweeps", f"a hold is over for {late:.0f} s and not recorded", advice)
        elif numbers.checks_lag > _LATE:
            says = (
                f"{numbers.checks_due:,} files are to be checked, the oldest for {numbers.checks_lag:.0f} s"
            )
            yield Line("warn", "sweeps", says, advice)
        else:
            yield Line("ok", "sweeps", "nothing is overdue")

    def _syncs(self) -> Iterator[Line]:
        for sync in self._metrics.numbers().syncs:
            if sync.alarm:
                advice = f"`koschey sync {sync.name} --status` says which, and what to do"
                yield Line("warn", f"sync of {sync.name}", "its last sync raised an alarm", advice)

    def _indexes(self) -> Iterator[Line]:
        indexes = {index.name: index for index in self._configuration.indexes()}
        if MAIN not in indexes:
            yield Line("fail", "indexes", "there is no index main", "run `koschey db upgrade`")
        for index in indexes.values():
            if not index.sources:
                yield Line(
                    "warn",
                    "indexes",
                    f"index {index.name} has no source and shows nothing",
                    f"`koschey index edit {index.name} --source NAME`",
                )
        yield Line("ok", "indexes", ", ".join(sorted(indexes)))

    def _upstreams(self) -> Iterator[Line]:
        for source in self._configuration.upstreams():
            subject = f"upstream {source.name}"
            advice = f"`koschey upstream test {source.name}` says more; `koschey upstream edit` changes it"
            try:
                found = self._probe.try_out(source.name, "pip")
            except UpstreamError as error:
                yield Line("fail", subject, str(error), advice)
                continue
            yield from self._clock_beside(source.name, found)
            if found["ok"]:
                yield Line("ok", subject, f"answered within {found['seconds']:g} s: {found['answer']}")
            else:
                yield Line("fail", subject, str(found["answer"]), advice)

    def _clock_beside(self, upstream: str, found: dict[str, Any]) -> Iterator[Line]:
        """The clock beside one that does not hang on the machines here, as far as a Date header tells."""
        ahead = found.get("clock_ahead")
        if ahead is None:
            return
        apart = max(0.0, abs(ahead) - found["seconds"])
        direction = "ahead of" if ahead > 0 else "behind"
        level: Level = "ok" if apart < _BESIDE_WARN else "warn" if apart < _BESIDE_FAIL else "fail"
        if level == "ok":
            yield Line("ok", "clock", f"agrees with that of upstream {upstream}")
            return
        says = f"this machine's clock is {apart:.0f} s {direction} that of upstream {upstream}"
        advice = "find out which is right, and run a time service: holds end by the clock"
        yield Line(level, "clock", says, advice)


_ADVICE = {
    "answers": "see KOSCHEY_DATABASE_URL, and that the database runs",
    "clock": "see KOSCHEY_DATABASE_URL, and that the database runs",
    "files": "see KOSCHEY_STORAGE_URL, its credentials, and the folder's owner",
    "jobs": "see KOSCHEY_REDIS_URL, and that Redis runs",
}


def schema_line(version: str | None, head: str) -> Line:
    """Whether the database has the schema that this version needs."""
    if version == head:
        return Line("ok", "schema", f"is at {head}")
    return Line(
        "fail",
        "schema",
        f"is at {version or 'nothing'}, and this Koschey needs {head}",
        "run `koschey db upgrade`",
    )


def folder_line(folder: Path) -> Line:
    """Whether the data folder is there and can be written."""
    problem = ""
    if not folder.is_dir():
        problem = "is not there; it is made at the first start"
    else:
        probe = folder / f".doctor-{now() % DAY}"
        try:
            probe.touch()
            probe.unlink()
        except OSError as error:
            problem = f"cannot be written: {error.strerror}"
    level: Level = "fail" if "cannot" in problem else "warn" if problem else "ok"
    return Line(level, "data folder", f"{folder.absolute()} {problem or 'can be written'}")
