"""Threads that work through what is waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from koschey.services.sync_crew import Crew
from tests.running import eventually


def crew[R](
    pool: ThreadPoolExecutor, work: Callable[[int], R], most: int = 1000, items: int = 100
) -> Crew[int, R]:
    return Crew(pool, 4, work, iter(range(items)), most)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def test_each_is_worked_on_once_and_handed_over(pool: ThreadPoolExecutor) -> None:
    working = crew(pool, lambda item: item * 2, most=5)
    found: list[int] = []
    while (results := working.landed()) is not None:
        found += results
    assert sorted(found) == [item * 2 for item in range(100)]


def test_an_error_of_the_work_is_raised_after_what_came_before_it(pool: ThreadPoolExecutor) -> None:
    def work(item: int) -> int:
        if item == 50:
            raise ValueError(item)
        return item

    working = crew(pool, work)
    found: list[int] = []
    with pytest.raises(ValueError, match="50"):
        while (results := working.landed()) is not None:
            found += results
    assert set(found) >= set(range(50))


def test_a_stop_waits_for_what_is_under_way_and_begins_nothing(pool: ThreadPoolExecutor) -> None:
    begun: list[int] = []
    gate = threading.Event()

    def work(item: int) -> int:
        begun.append(item)
        gate.wait(30)
        return item

    working = crew(pool, work)
    eventually(lambda: len(begun) == 4)
    threading.Timer(0.1, gate.set).start()
    assert sorted(working.stop()) == sorted(begun)
    assert len(begun) <= 8  # each may have taken one more before the stop was seen


def test_who_does_not_take_the_results_holds_the_work_up(pool: ThreadPoolExecutor) -> None:
    begun: list[int] = []
    working = crew(pool, begun.append, most=10, items=1000)
    eventually(lambda: len(begun) > 10)
    assert len(begun) <= 10 + 2 * 4
    working.stop()
