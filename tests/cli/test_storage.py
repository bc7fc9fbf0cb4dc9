"""``koschey storage``."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing

import click
import pytest
import requests

from koschey.cli.sizes import BYTES, readable
from tests import running
from tests.cli.conftest import CommandLine
from tests.fake_upstream import FakeUpstream


def test_what_is_stored_is_told_and_given_up_after_a_look_ahead(
    koschey: CommandLine, new_upstream: Callable[[], FakeUpstream]
) -> None:
    upstream = new_upstream()
    upstream.project("sample").release("1.0")
    with running.koschey(koschey.folder.parent, upstream.simple_url, {}, workers=1) as served:
        accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
        page = requests.get(served.simple + "sample/", headers=accept, timeout=30)
        [file] = page.json()["files"]
        assert requests.get(file["url"], timeout=30).status_code == 200
        running.eventually(
            lambda: koschey.stored("SELECT 1 FROM file WHERE stored_at IS NOT NULL AND due_at IS NULL"), 60
        )
        running.eventually(lambda: koschey.stored("SELECT 1 FROM download"), 60)
        with closing(sqlite3.connect(koschey.folder / "koschey.sqlite", timeout=30)) as database, database:
            database.execute("UPDATE file SET stored_at = stored_at - 90 * 86400 * 1000000")
            database.execute("DELETE FROM download")
        report = koschey.listed("storage")
        [tally] = report["tallies"]
        assert (tally["source"], tally["kind"], tally["state"], tally["files"]) == (
            "upstream",
            "wheel",
            "stored",
            1,
        )
        ahead = koschey.does("storage", "evict", "--unused-days", "30", "--dry-run")
        assert "would give up 1 files" in ahead and file["filename"] in ahead
        done = json.loads(koschey.does("storage", "evict", "--unused-days", "30", "--json"))
        assert done["files"] == 1
        assert koschey.stored("SELECT 1 FROM file WHERE stored_at IS NOT NULL") == []
        assert "file.evicted" in koschey.does("audit", "--json")
        told = koschey.does("storage")
        assert "listed" in told and "given up so far: 1 files" in told
        assert koschey.does("storage", "sweep").startswith("looked at ")


def test_without_a_rule_there_is_nothing_to_evict(koschey: CommandLine) -> None:
    said = koschey("storage", "evict")
    assert said.status == 2
    assert "--unused-days" in said.problem and "storage_unused_days" in said.problem


@pytest.mark.parametrize(
    ("text", "size"),
    [("500GB", 500 * 10**9), ("1.5TiB", 1_649_267_441_664), ("12", 12), ("3 kB", 3000), ("2m", 2_000_000)],
)
def test_a_size_is_read_with_its_unit(text: str, size: int) -> None:
    assert BYTES.convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "many", "-1", "1XB", "1.2.3GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a size"):
        BYTES.convert(text, None, None)


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (10**15, "1.0 PB")])
def test_a_size_is_written_in_the_unit_that_suits_it(size: int, text: str) -> None:
    assert readable(size) == text
