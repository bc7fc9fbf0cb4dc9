"""Requests in a second are counted for all processes that share a folder."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from koschey.upstream.pace import Pace

RATE = 50


def take(pace: Pace, upstream: str = "upstream") -> float:
    """The moment of a request, and the next one is a fiftieth of a second later."""
    with pace.turn(upstream) as turn:
        start = max(time.monotonic(), turn.at)
        turn.at = start + 1 / RATE
    return start


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_forked_processes_and_others_share_it(tmp_path: Path) -> None:
    pace = Pace(tmp_path / "locks")
    first = take(pace)
    children = []
    for own in (pace, Pace(tmp_path / "locks")):
        child = os.fork()
        if child == 0:
            for _ in range(10):
                take(own)
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    assert take(pace) >= first + 21 / RATE - 0.001


def test_upstreams_have_one_each_and_without_a_folder_it_is_a_processs_own(tmp_path: Path) -> None:
    shared, alone = Pace(tmp_path), Pace()
    ahead = time.monotonic() + 1000
    for pace in (shared, alone):
        with pace.turn("upstream") as turn:
            turn.at = ahead

    assert take(Pace(tmp_path)) == take(alone) == ahead
    assert take(shared, "another") < ahead
    assert take(Pace()) < ahead


def test_what_was_written_before_the_machine_was_started_counts_no_more(tmp_path: Path) -> None:
    pace = Pace(tmp_path)
    with pace.turn("upstream") as turn:
        turn.at = time.monotonic() + 1000
    [file] = tmp_path.iterdir()
    file.write_bytes(b"another start of it".ljust(36) + file.read_bytes()[36:])

    assert take(pace) < time.monotonic() + 1


def test_a_folder_that_cannot_be_used_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    pace = Pace(tmp_path / "file" / "locks")

    first = take(pace)

    assert take(pace) >= first + 1 / RATE
