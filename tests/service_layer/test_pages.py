"""Ready-made pages: within their bound, and made once."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from koschey.services.pages import PageCache, ReadyPage, ready

CLIENTS = 8


def page(text: str) -> ReadyPage:
    return ready(text.encode(), content_type="text/html", encoding="identity", serial=1)


def test_pages_that_were_used_least_lately_go_first() -> None:
    cache = PageCache(5000)
    for key in ("a", "b"):
        cache.get_or_make(key, lambda: page("x" * 1500))
    assert cache.get("a") is not None

    cache.get_or_make("c", lambda: page("x" * 1500))

    assert [key for key in "abc" if cache.get(key) is not None] == ["a", "c"]


def test_the_bound_holds_however_many_pages_come() -> None:
    cache = PageCache(20_000)

    for number in range(500):
        cache.get_or_make(number, lambda: page("x" * 1000))

    kept = [cached for number in range(500) if (cached := cache.get(number)) is not None]
    assert len(kept) > 5
    assert sum(len(cached.body) for cached in kept) <= 20_000


def test_a_page_over_the_bound_is_served_and_not_kept() -> None:
    cache = PageCache(1000)

    assert len(cache.get_or_make("huge", lambda: page("x" * 5000)).body) == 5000
    assert cache.get("huge") is None


def test_one_page_is_made_once_for_all_who_ask_at_the_same_time() -> None:
    cache = PageCache(10_000)
    made: list[int] = []
    start = threading.Barrier(CLIENTS)

    def make() -> ReadyPage:
        time.sleep(0.05)
        made.append(1)
        return page("made")

    def ask(_: int) -> ReadyPage:
        start.wait()
        return cache.get_or_make("key", make)

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(ask, range(CLIENTS)))

    assert len(made) == 1
    assert len({id(answer) for answer in answers}) == 1


def test_a_page_that_could_not_be_made_is_made_for_the_next_one() -> None:
    cache = PageCache(10_000)

    def fail() -> ReadyPage:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        cache.get_or_make("key", fail)

    assert cache.get_or_make("key", lambda: page("made")).body == b"made"


@pytest.mark.parametrize(
    "other", [("text/plain", "identity", 1), ("text/html", "gzip", 1), ("text/html", "identity", 2)]
)
def test_the_etag_differs_by_form_encoding_and_serial(other: tuple[str, str, int]) -> None:
    content_type, encoding, serial = other

    different = ready(b"same", content_type=content_type, encoding=encoding, serial=serial)

    assert different.etag != page("same").etag
