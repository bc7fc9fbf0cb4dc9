"""First pulls: what nobody asked Koschey for before, over an upstream without latency."""

from __future__ import annotations

from collections.abc import Iterator

from bench import proof
from bench.ground import Ground
from bench.load import Connection
from bench.processes import BenchError
from bench.report import Goal, Row, compared
from bench.synthetic import HUGE


def first_pages(ground: Ground) -> Iterator[Row]:
    """Pages of small projects, one after the other on one connection."""
    theirs, ours = [], []
    names = ground.untouched()
    static, origin = ground.nginx.static, ground.koschey().origin
    with Connection(static) as nginx, Connection(origin) as koschey, ground.nginx.counting() as counts:
        for name in names:
            their, expected = proof.page(nginx, name, proof.JSON_GZIP)
            our, actual = proof.page(koschey, name, proof.JSON_GZIP)
            proof.same_files(expected, actual, name)
            theirs.append(their.seconds * 1e3)
            ours.append(our.seconds * 1e3)
    yield from _pulls("small page", theirs, ours, counts.total(), Goal("limit", 5.0, 2.0))


def first_files(ground: Ground) -> Iterator[Row]:
    """Small wheels whose pages Koschey has just pulled."""
    names = ground.untouched()
    static, origin = ground.nginx.static, ground.koschey().origin
    theirs, ours = [], []
    with Connection(static) as nginx, Connection(origin) as koschey:
        links = [(proof.wheel(nginx, static, name), proof.wheel(koschey, origin, name)) for name in names]
        with ground.nginx.counting() as counts:
            for their_link, our_link in links:
                theirs.append(proof.file(nginx, their_link).seconds * 1e3)
                ours.append(proof.file(koschey, our_link).seconds * 1e3)
    yield from _pulls("small file", theirs, ours, counts.total(), Goal("limit", 4.0, 2.0))


def first_huge_page(ground: Ground) -> Iterator[Row]:
    """The page of 6,000 files, each time by a Koschey that knows nothing but its first page."""
    theirs, ours, requests = [], [], 0
    for _ in range(ground.effort.starts):
        with (
            ground.fresh() as started,
            Connection(ground.nginx.static) as nginx,
            Connection(started.origin) as koschey,
            ground.nginx.counting() as counts,
        ):
            their, expected = proof.page(nginx, HUGE, proof.JSON_GZIP)
            our, actual = proof.page(koschey, HUGE, proof.JSON_GZIP)
            proof.same_files(expected, actual, HUGE)
        theirs.append(their.seconds)
        ours.append(our.seconds)
        requests += counts.total()
    yield compared("first pull of the 6,000-file page", "s", theirs, ours, Goal("limit", 0.4, 0.15))
    yield _upstream_requests("the 6,000-file page", requests, len(ours))


def _pulls(what: str, theirs: list[float], ours: list[float], requests: int, goal: Goal) -> Iterator[Row]:
    yield compared(f"first pull of a {what}, median", "ms", theirs, ours, goal)
    fastest = min(theirs), min(ours)
    yield Row(f"first pull of a {what}, fastest", "ms", *fastest, fastest[1] / fastest[0], goal=goal)
    yield _upstream_requests(f"a {what}", requests, len(ours))


def _upstream_requests(what: str, requests: int, pulls: int) -> Row:
    if requests < pulls:
        raise BenchError(
            f"first pull of {what}: {requests} upstream requests for {pulls} pulls: not a first pull"
        )
    return Row(
        f"first pull of {what}, upstream", "requests", None, requests / pulls, goal=Goal("limit", 1, 1)
    )
