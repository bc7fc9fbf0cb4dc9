"""What ``KOSCHEY_FAIL`` does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from koschey.errors import SettingsInvalid
from koschey.failpoints import VARIABLE, FailpointReached, armed


def test_raise_raises_at_its_point_only() -> None:
    reach = armed("blob.before-publish:raise,other:raise")
    reach("elsewhere")
    with pytest.raises(FailpointReached, match=r"blob\.before-publish"):
        reach("blob.before-publish")
    with pytest.raises(FailpointReached, match="other"):
        reach("other")


def test_sleep_sleeps_so_many_seconds() -> None:
    begin = time.monotonic()
    armed("here:sleep:0.05")("here")
    assert time.monotonic() - begin >= 0.05


@pytest.mark.parametrize(
    "text", ["here", "here:", "here:explode", "here:kill:2", "here:sleep:long", "here:sleep:-1"]
)
def test_a_specification_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(SettingsInvalid, match="point:kill"):
        armed(text)


CODE = "from koschey.failpoints import failpoint; failpoint('here'); print('passed', failpoint.__name__)"


def test_kill_leaves_no_time_for_anything() -> None:
    killed = subprocess.run(
        [sys.executable, "-c", CODE], env=os.environ | {VARIABLE: "here:kill"}, timeout=30
    )
    assert killed.returncode == -signal.SIGKILL


def test_without_the_variable_a_failpoint_is_the_empty_function() -> None:
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    passed = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, timeout=30
    )
    assert passed.stdout == "passed _nothing\n"
