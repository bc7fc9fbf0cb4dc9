"""``koschey fsck`` and ``koschey doctor``."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from tests.cli.conftest import CommandLine
from tests.fake_upstream import FakeUpstream


def _lines(koschey: CommandLine, *arguments: str) -> dict[str, dict[str, str]]:
    said = koschey("doctor", "--json", *arguments)
    return {line["subject"]: line for line in json.loads(said.output)}


def test_fsck_says_that_all_is_well_or_what_is_not_and_exits_by_it(koschey: CommandLine) -> None:
    koschey.does("db", "upgrade")
    said = koschey("fsck")
    assert (said.status, said.output) == (0, "all is well\n")
    assert "blobs: looked at 0, found 0" in said.problem

    with closing(sqlite3.connect(koschey.folder / "koschey.sqlite")) as database, database:
        database.execute("UPDATE event SET serial = 4711")
    said = koschey("fsck", "--quick")
    assert said.status == 1
    assert "serials: event has serial 4711" in said.output and "left 1" in said.output
    report = json.loads(koschey("fsck", "--json", "--check", "serials").output)
    assert list(report["checks"]) == ["serials"] and report["left"] == 1
    said = koschey("fsck", "--repair")
    assert (said.status, "mended" in said.output) == (0, True)
    assert koschey("fsck").output == "all is well\n"
    assert koschey("fsck", "--check", "nonsense").status == 2


def test_fsck_that_cannot_look_exits_with_2(koschey: CommandLine) -> None:
    koschey.environment["KOSCHEY_DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/none"
    said = koschey("fsck")
    assert said.status == 2 and "koschey: database" in said.problem


def test_doctor_finds_an_installation_sound(
    koschey: CommandLine, new_upstream: Callable[[], FakeUpstream]
) -> None:
    koschey.environment["KOSCHEY_UPSTREAM_URL"] = new_upstream().simple_url
    koschey.does("db", "upgrade")
    lines = _lines(koschey)
    assert {line["level"] for line in lines.values()} <= {"ok", "warn"}
    assert lines["upstream upstream"]["level"] == "ok"
    assert lines["address"]["level"] == "warn" and "KOSCHEY_PUBLIC_URL" in lines["address"]["says"]
    for subject in ("data folder", "schema", "settings", "database", "files", "room", "jobs", "sweeps"):
        assert subject in lines, subject


def test_doctor_changes_nothing_and_says_what_to_do(
    koschey: CommandLine, new_upstream: Callable[[], FakeUpstream]
) -> None:
    (koschey.folder / "koschey.sqlite").unlink(missing_ok=True)  # the fixture prepares one
    assert koschey("doctor").status == 0 or "schema" in koschey("doctor").output
    assert not (koschey.folder / "koschey.sqlite").exists()

    upstream = new_upstream()
    koschey.environment["KOSCHEY_UPSTREAM_URL"] = upstream.simple_url
    koschey.environment["KOSCHEY_UPSTREAM_RETRIES"] = "0"
    koschey.does("db", "upgrade")
    upstream.stop()
    said = koschey("doctor")
    assert said.status == 1
    assert "fail  upstream upstream: " in said.output and "koschey upstream test upstream" in said.output
    assert koschey("doctor", "--offline").status == 0

    with closing(sqlite3.connect(koschey.folder / "koschey.sqlite")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '0001'")
    lines = _lines(koschey)
    assert lines["schema"]["level"] == "fail" and "koschey db upgrade" in lines["schema"]["advice"]
    assert koschey.stored("SELECT version_num FROM alembic_version") == [("0001",)]


def test_doctor_tells_what_fsck_left_until_it_is_mended(koschey: CommandLine) -> None:
    koschey.does("db", "upgrade")
    assert "fsck" not in _lines(koschey, "--offline")
    with closing(sqlite3.connect(koschey.folder / "koschey.sqlite")) as database, database:
        database.execute("UPDATE event SET serial = 4711")
    koschey("fsck")

    line = _lines(koschey, "--offline")["fsck"]

    assert line["level"] == "fail" and koschey("doctor", "--offline").status == 1
    assert "event has serial 4711" in line["says"] and "koschey fsck --check serials" in line["advice"]
    assert koschey("fsck", "--repair", "--check", "serials").status == 0
    assert "fsck" not in _lines(koschey, "--offline")


def test_doctor_compares_the_clock_with_an_upstream(
    koschey: CommandLine, new_upstream: Callable[[], FakeUpstream]
) -> None:
    upstream = new_upstream()
    koschey.environment["KOSCHEY_UPSTREAM_URL"] = upstream.simple_url
    koschey.does("db", "upgrade")
    levels = {}
    for minutes in (0, 5, -90):
        date = format_datetime(datetime.now(UTC) + timedelta(minutes=minutes), usegmt=True)
        upstream.fail("pip", headers={"Date": date})
        levels[minutes] = _lines(koschey)["clock"]
    assert [line["level"] for line in levels.values()] == ["ok", "warn", "fail"]
    assert "behind that of upstream upstream" in levels[5]["says"]
    assert "ahead of that of upstream upstream" in levels[-90]["says"]
    upstream.fail("pip", headers={"Date": "yesterday"})
    assert "clock" not in _lines(koschey)


def test_doctor_warns_of_an_alarm_of_a_sync(
    koschey: CommandLine, new_upstream: Callable[[], FakeUpstream]
) -> None:
    upstream = new_upstream()
    koschey.environment["KOSCHEY_UPSTREAM_URL"] = upstream.simple_url
    project = upstream.project("sample")
    koschey.does("upstream", "edit", "upstream", "--mode", "index")
    koschey.does("sync", "upstream")
    assert "sync of upstream" not in _lines(koschey, "--offline")
    project.serial = 5
    assert koschey("sync", "upstream").status == 2

    line = _lines(koschey, "--offline")["sync of upstream"]

    assert line["level"] == "warn" and "koschey sync upstream --status" in line["advice"]


def test_doctor_warns_of_addresses_and_proxies_that_do_not_go_together(koschey: CommandLine) -> None:
    koschey.does("db", "upgrade")
    koschey.environment["KOSCHEY_PUBLIC_URL"] = "https://index.example"
    assert "KOSCHEY_TRUSTED_PROXIES" in _lines(koschey)["proxy"]["advice"]
    koschey.environment["KOSCHEY_PUBLIC_URL"] = "http://index.example"
    assert "plain http" in _lines(koschey)["address"]["says"]
    koschey.environment["KOSCHEY_REDIS_URL"] = "redis://127.0.0.1:1/0"
    lines = _lines(koschey)
    assert lines["jobs"]["level"] == "fail" and "KOSCHEY_REDIS_URL" in lines["jobs"]["advice"]
