"""Rates of what Koschey has ready: pages, metadata and files, from 16 connections."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from bench import proof
from bench.ground import Ground, interleaved
from bench.load import Connection, wrk
from bench.processes import BenchError
from bench.proof import PageForm
from bench.report import Goal, Row, compared
from bench.synthetic import HUGE, LARGE, SMALL

_SMALL_PAGE = Goal("share", 0.15, 0.5)
_NOT_MODIFIED = Goal("share", 0.15, 0.5)
_SMALL_FILE = Goal("share", 0.05, 0.2)
_LARGE_DIRECT = Goal("share", 0.3, 0.8)
_LARGE_ACCEL = Goal("share", 0.9, 1.0)


@dataclass(frozen=True)
class _Request:
    url: str
    headers: dict[str, str]


def small_page(ground: Ground) -> Iterator[Row]:
    """A page of three files in each form, and asked for again with its ETag."""
    for label, form in (
        ("JSON", proof.JSON),
        ("JSON gzip", proof.JSON_GZIP),
        ("HTML", proof.HTML),
        ("HTML gzip", proof.HTML_GZIP),
    ):
        yield _page_rate(ground, f"warm small page, {label}", SMALL[0], form, _SMALL_PAGE)
    yield _page_rate(ground, "warm small page, JSON gzip, 304", SMALL[0], proof.JSON_GZIP, None, known=True)


def token_page(ground: Ground) -> Iterator[Row]:
    """A page asked for with a token, beside the same without one: what the check of a token costs."""
    token = ground.token()
    origin = ground.koschey().origin
    with Connection(origin) as connection:
        answer, _ = proof.page(connection, SMALL[0], proof.JSON_GZIP)
    basic = "Basic " + base64.b64encode(f"__token__:{token}".encode()).decode()
    open_to_all = _Request(answer.url, dict(proof.JSON_GZIP.headers))
    signed_in = _Request(answer.url, proof.JSON_GZIP.headers | {"Authorization": basic})
    measure = "warm small page, JSON gzip, with a token; beside without one"
    yield _rate(ground, measure, open_to_all, signed_in, Goal("share", 0.9, 1.0))


def huge_page(ground: Ground) -> Iterator[Row]:
    """A page of 6,000 files; the form that clients ask for has the goal."""
    yield _page_rate(
        ground, "warm page of 6,000 files, JSON gzip", HUGE, proof.JSON_GZIP, Goal("share", 0.10, 0.3)
    )
    yield _page_rate(ground, "warm page of 6,000 files, JSON", HUGE, proof.JSON, None)
    yield _page_rate(ground, "warm page of 6,000 files, HTML gzip", HUGE, proof.HTML_GZIP, None)
    yield _page_rate(
        ground, "warm page of 6,000 files, 304", HUGE, proof.JSON_GZIP, _NOT_MODIFIED, known=True
    )


def small_files(ground: Ground) -> Iterator[Row]:
    """A wheel's metadata and a small wheel, once stored."""
    requests: dict[str, list[_Request]] = {"warm .metadata": [], "warm small wheel": []}
    for origin in (ground.nginx.static, ground.koschey().origin):
        with Connection(origin) as connection:
            link = proof.wheel(connection, origin, SMALL[0])
            body = proof.file(connection, link).body
            sidecar = connection.get(f"{link.url}.metadata")
        # A wheel's members are stored, not deflated: its METADATA stands in it as it is.
        if sidecar.status != 200 or not sidecar.body or sidecar.body not in body:
            raise BenchError(f"{sidecar.url}: status {sidecar.status}, or not the wheel's METADATA")
        requests["warm .metadata"].append(_Request(sidecar.url, {}))
        requests["warm small wheel"].append(_Request(link.url, {}))
    for measure, (theirs, ours) in requests.items():
        yield _rate(ground, measure, theirs, ours, _SMALL_FILE)


def large_file(ground: Ground) -> Iterator[Row]:
    """The 100 MB wheel from Koschey itself."""
    yield from _large(ground, ground.koschey().origin, "direct", _LARGE_DIRECT)


def large_file_accel(ground: Ground) -> Iterator[Row]:
    """The 100 MB wheel from nginx, which Koschey tells where it lies."""
    origin = ground.koschey(accel=True).origin
    with Connection(origin) as connection:
        link = proof.wheel(connection, origin, LARGE)
        # Fetched through nginx first: a file that is not stored yet is streamed by Koschey itself.
        with Connection(ground.nginx.front) as front:
            proof.file(front, link)
        if "x-accel-redirect" not in connection.get(link.url).headers:
            raise BenchError(f"{link.url}: no X-Accel-Redirect although KOSCHEY_ACCEL_REDIRECT is set")
    yield from _large(ground, ground.nginx.front, "X-Accel-Redirect", _LARGE_ACCEL)


def _page_rate(
    ground: Ground, measure: str, project: str, form: PageForm, goal: Goal | None, *, known: bool = False
) -> Row:
    requests, listed = [], []
    for origin in (ground.nginx.static, ground.koschey().origin):
        with Connection(origin) as connection:
            answer, links = proof.page(connection, project, form)
            headers = proof.not_modified(connection, answer, form) if known else form.headers
        requests.append(_Request(answer.url, headers))
        listed.append(links)
    proof.same_files(listed[0], listed[1], project)
    return _rate(ground, measure, requests[0], requests[1], goal)


def _rate(ground: Ground, measure: str, nginx: _Request, koschey: _Request, goal: Goal | None) -> Row:
    theirs, ours = interleaved(
        ground.effort.rounds,
        lambda: wrk(nginx.url, nginx.headers).requests,
        lambda: wrk(koschey.url, koschey.headers).requests,
    )
    return compared(measure, "req/s", theirs, ours, goal)


def _large(ground: Ground, origin: str, way: str, goal: Goal) -> Iterator[Row]:
    with ExitStack() as stack:
        connections, links = [], []
        for server in (ground.nginx.static, origin):
            connection = stack.enter_context(Connection(server))
            link = proof.wheel(connection, server, LARGE)
            proof.file(connection, link)
            connections.append(connection)
            links.append(link)

        def megabytes_per_second(which: int) -> float:
            received, seconds = connections[which].drain(links[which].url)
            return received / 1e6 / seconds

        theirs, ours = interleaved(
            ground.effort.rounds, lambda: megabytes_per_second(0), lambda: megabytes_per_second(1)
        )
    yield compared(f"100 MB wheel, {way}, one client", "MB/s", theirs, ours, goal)
    # At such sizes a second is not enough for whole answers: bytes are counted.
    theirs, ours = interleaved(
        ground.effort.rounds,
        lambda: wrk(links[0].url, {}).bytes / 1e6,
        lambda: wrk(links[1].url, {}).bytes / 1e6,
    )
    yield compared(f"100 MB wheel, {way}, 16 connections", "MB/s", theirs, ours, goal)
