"""What is repeated, how often, and how long the session waits."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from koschey.errors import UpstreamUnavailable
from tests.upstream.conftest import endpoint, get
from tests.upstream.scripted import answer


def failing(times, failure, then=b"well"):
    """Play ``failure`` so many times, then a good answer."""
    left = iter(range(times))
    return lambda request: answer(then) if next(left, None) is None else failure(request)


@pytest.mark.parametrize("status", ["429 Slow", "500 Oops", "502 Bad", "503 Busy", "504 Late"])
def test_a_passing_failure_is_repeated(serve, make_session, status):
    server = serve(failing(2, lambda request: answer(b"oops", status)))
    assert get(make_session(retries=2), endpoint(server)) == b"well"
    assert len(server.requests) == 3
    assert server.connections == 1


def test_a_connection_that_breaks_before_an_answer_is_repeated(serve, make_session):
    server = serve(failing(2, lambda request: iter([])))
    assert get(make_session(retries=2), endpoint(server)) == b"well"
    assert len(server.requests) == 3


@pytest.mark.parametrize(("settings", "tries"), [({"retries": 2}, 3), ({"retries": 0}, 1)])
def test_after_all_repetitions_the_upstream_is_unavailable(serve, make_session, settings, tries):
    server = serve(lambda request: answer(status="503 Busy"))
    with pytest.raises(UpstreamUnavailable, match="answered 503"):
        get(make_session(**settings), endpoint(server))
    assert len(server.requests) == tries


def test_a_caller_can_do_without_repetition(serve, make_session):
    server = serve(lambda request: answer(status="503 Busy"))
    with pytest.raises(UpstreamUnavailable):
        get(make_session(retries=3), endpoint(server), retry=False)
    assert len(server.requests) == 1


def test_retry_after_is_waited_for(serve, make_session):
    server = serve(failing(1, lambda request: answer(status="503 Busy", retry_after="1")))
    started = time.monotonic()
    assert get(make_session(retries=1), endpoint(server)) == b"well"
    assert 1 <= time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        ("120", 120),
        ("in two minutes", 120),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("9" * 400, 999_999_999),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_retry_after_is_handed_on(serve, session, said, understood):
    if said == "in two minutes":
        said = format_datetime(datetime.now(UTC) + timedelta(minutes=2), usegmt=True)
    server = serve(lambda request: answer(status="429 Slow", retry_after=said))
    with pytest.raises(UpstreamUnavailable) as refused:
        get(session, endpoint(server))
    if understood is None:
        assert refused.value.retry_after is None
    else:
        assert refused.value.retry_after == pytest.approx(understood, abs=15)


def test_a_wait_that_would_pass_the_deadline_fails_at_once(serve, make_session):
    server = serve(lambda request: answer(status="503 Busy", retry_after="60"))
    started = time.monotonic()
    with pytest.raises(UpstreamUnavailable) as refused:
        get(make_session(retries=5), endpoint(server), deadline=2)
    assert time.monotonic() - started < 1
    assert refused.value.retry_after == 60


def peaceless(*paths):
    """Ask for peace for those paths, and answer well for all others."""
    busy = answer(status="503 Busy", retry_after="900")
    return lambda request: busy if request.target.rpartition("/")[2] in paths else answer(b"well")


def asked(session, upstream, path, **settings):
    """What came of asking for a path: the body, or what was raised."""
    try:
        return get(session, upstream, upstream.url + path, **settings)
    except UpstreamUnavailable as error:
        return error


def test_one_page_that_asks_for_peace_is_left_alone_by_itself(serve, session):
    server = serve(peaceless("bad"))
    upstream = endpoint(server)
    errors = [asked(session, upstream, "bad") for _ in range(3)]
    assert [error.whole for error in errors] == [False] * 3
    assert "bad asked to be left alone" in errors[1].problem
    assert asked(session, upstream, "good") == b"well"
    assert len(server.requests) == 2


def test_a_root_list_that_asks_for_peace_is_the_whole_upstream(serve, session):
    server = serve(peaceless(""))
    upstream = endpoint(server)
    assert asked(session, upstream, "").whole
    assert asked(session, upstream, "good").whole
    assert len(server.requests) == 1


def test_many_pages_that_ask_for_peace_are_the_whole_upstream(serve, session):
    server = serve(peaceless("a", "b", "c"))
    upstream = endpoint(server)
    assert [asked(session, upstream, path).whole for path in "abc"] == [False, False, True]
    assert asked(session, upstream, "good").whole
    assert len(server.requests) == 3


def test_few_of_many_pages_are_not_the_whole_upstream(serve, session):
    server = serve(peaceless("a", "b", "c"))
    upstream = endpoint(server)
    for number in range(20):
        asked(session, upstream, f"good-{number}")
    assert not any(asked(session, upstream, path).whole for path in "abc")
    assert asked(session, upstream, "good") == b"well"


def test_pages_that_failed_before_say_nothing_of_the_upstream(serve, session):
    server = serve(peaceless(*"abcdefgh"))
    upstream = endpoint(server)
    assert not any(asked(session, upstream, path, apart=True).whole for path in "abcdefgh")
    assert asked(session, upstream, "good") == b"well"


def test_a_kept_alive_connection_that_the_server_closed_costs_no_repetition(serve, make_session):
    def play(request):
        if len(server.requests) == 2:  # the second request on a connection: closed at the wrong moment
            return iter([])
        return answer(b"x")

    server = serve(play)
    session = make_session(retries=0)
    assert [get(session, endpoint(server)) for _ in range(2)] == [b"x", b"x"]
    assert [request.connection for request in server.requests] == [1, 1, 2]


def test_idle_connections_that_were_dropped_are_noticed(serve, session):
    server = serve(lambda request: answer(b"x"))
    get(session, endpoint(server))
    server.drop_connections()
    assert get(session, endpoint(server)) == b"x"


def test_no_error_shows_a_secret(serve, session):
    server = serve(lambda request: answer(status="503 Busy"))
    upstream = endpoint(server, username="canary", password="canary", proxy=None)
    for url in (f"{server.url}x?sig=canary", f"http://canary:canary@{server.host}:{server.port}/x"):
        with pytest.raises(UpstreamUnavailable) as refused:
            get(session, upstream, url)
        error = refused.value
        while error is not None:
            assert "canary" not in str(error)
            error = error.__cause__ or error.__context__


def test_twenty_threads_share_a_session(serve, make_session):
    together = threading.Barrier(20)
    server = serve(lambda request: answer(request.target.encode() * 1000))
    other = serve(lambda request: answer(b"file"), host="127.0.0.2")
    session = make_session()
    upstream = endpoint(server, internal=True)

    def work(number):
        together.wait(10)
        for turn in range(10):
            path = f"t{number}-{turn}"
            assert get(session, upstream, server.url + path) == f"/{path}".encode() * 1000
            assert get(session, upstream, other.url) == b"file"

    with ThreadPoolExecutor(20) as threads:
        list(threads.map(work, range(20)))
    assert len(server.requests) == len(other.requests) == 200
    assert server.connections <= 25  # kept alive, not opened anew
