"""Calls under a time limit, and what of them is left behind."""

import threading

import pytest

from koschey.time_limit import TimeLimit


def test_a_call_returns_or_raises_what_its_function_does() -> None:
    limit = TimeLimit()
    assert limit.call(5, int, "7") == 7
    with pytest.raises(ValueError, match="invalid literal"):
        limit.call(5, int, "seven")


def test_calls_that_hang_leave_the_others_a_thread_once_they_end() -> None:
    release = threading.Event()
    limit = TimeLimit(threads=1)
    with pytest.raises(TimeoutError):
        limit.call(0.05, release.wait)
    with pytest.raises(TimeoutError, match="hang already"):
        limit.call(0.05, int)
    release.set()
    assert limit.call(5, int) == 0


def test_a_thread_that_could_not_be_started_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    limit = TimeLimit(threads=1)
    with monkeypatch.context() as without_threads:
        without_threads.setattr(threading.Thread, "start", refuse)
        with pytest.raises(TimeoutError, match="no thread"):
            limit.call(5, int)
    assert limit.call(5, int) == 0
