"""The first download of a file: who gets which bytes, and when (HARDENING invariant 15).

Two deployments over one data folder stand for two processes: they share locks, database and folders.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from koschey.errors import DigestMismatch, KoscheyError, UpstreamInvalid, UpstreamUnavailable
from koschey.services.files import ArrivingFile, StoredFile
from tests.fake_upstream import FakeUpstream
from tests.running import eventually
from tests.service_layer.conftest import Deploy, Deployment
from tests.upstream_pages import ABSENT, UpstreamFile

SIZE = 600_000
WITHHELD = 64 * 1024
"""Not the program's own constant: this is what it promises."""


@pytest.fixture
def wheel(upstream: FakeUpstream) -> UpstreamFile:
    return upstream.project("sample").release("1.0", payload=os.urandom(SIZE))


def flipped(content: bytes, at: int) -> bytes:
    """The content with one wrong byte."""
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def received(arriving: ArrivingFile) -> tuple[bytes, KoscheyError | None]:
    """What a client gets, and what breaks its transfer."""
    body = bytearray()
    try:
        for chunk in arriving.follower:
            body += chunk
    except KoscheyError as error:
        return bytes(body), error
    finally:
        arriving.follower.close()
    return bytes(body), None


def stored(here: Deployment, file: UpstreamFile) -> bytes | None:
    opened = here.koschey.files.open(here.find(file))
    if not isinstance(opened, StoredFile):
        opened.follower.close()
        return None
    return b"".join(here.koschey.files.chunks(opened, 0, opened.size))


@pytest.mark.parametrize("at", [0, SIZE // 2, -1], ids=["first", "middle", "last"])
def test_nobody_gets_the_last_block_of_a_wrong_file(
    here: Deployment, upstream: FakeUpstream, wheel: UpstreamFile, at: int
) -> None:
    wrong = flipped(wheel.content, at % len(wheel.content))
    upstream.fail(wheel.filename, body=wrong, bytes_per_second=1_000_000)  # so that clients get some of it

    body, error = received(here.fetch(wheel))

    assert isinstance(error, DigestMismatch)
    assert 0 < len(body) <= len(wheel.content) - WITHHELD
    assert here.file(wheel.filename)["stored_at"] is None
    assert list(here.koschey.store.blobs()) == []


@pytest.mark.parametrize("wrong", [b"longer", b""], ids=["too long", "too short"])
def test_a_body_of_another_length_than_the_page_says_is_refused(
    here: Deployment, upstream: FakeUpstream, wheel: UpstreamFile, wrong: bytes
) -> None:
    upstream.fail(wheel.filename, body=wheel.content + wrong if wrong else wheel.content[:-1])

    with pytest.raises(UpstreamInvalid):
        here.fetch(wheel)

    assert here.file(wheel.filename)["stored_at"] is None


@pytest.mark.parametrize("listed", [{}, {"size": ABSENT}], ids=["by the page", "by the answer"])
def test_a_file_that_says_to_be_over_the_limit_is_refused(
    deploy: Deploy, wheel: UpstreamFile, listed: dict[str, Any]
) -> None:
    here = deploy(max_file_bytes=SIZE // 2)
    wheel.listed = listed
    with pytest.raises(UpstreamInvalid, match=f"over the limit of {SIZE // 2} bytes"):
        here.fetch(wheel)
    assert here.file(wheel.filename)["stored_at"] is None


@pytest.mark.parametrize(
    ("listed", "problem"),
    [({}, "longer than was declared"), ({"size": ABSENT}, f"over the limit of {2 * SIZE} bytes")],
    ids=["its size", "the limit"],
)
def test_a_body_without_an_end_is_given_up_where_it_is_longer_than_it_can_be(
    deploy: Deploy, upstream: FakeUpstream, wheel: UpstreamFile, listed: dict[str, Any], problem: str
) -> None:
    here = deploy(max_file_bytes=2 * SIZE)
    wheel.listed = listed
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 100 * SIZE:
            sent += 64 * 1024
            yield bytes(64 * 1024)

    upstream.fail(wheel.filename, stream=endless)
    with pytest.raises(UpstreamInvalid, match=problem):
        raise received(here.fetch(wheel))[1] or AssertionError("it came whole")
    assert sent < 50 * SIZE
    assert here.file(wheel.filename)["stored_at"] is None


@pytest.mark.parametrize(
    ("fault", "error"),
    [({"status": 404}, UpstreamInvalid), ({"down": True}, UpstreamUnavailable)],
    ids=["not there", "cut off"],
)
def test_what_fails_before_the_first_byte_is_a_clean_error(
    here: Deployment,
    upstream: FakeUpstream,
    wheel: UpstreamFile,
    fault: dict[str, Any],
    error: type[KoscheyError],
) -> None:
    upstream.fail(wheel.filename, **fault)
    with pytest.raises(error):
        here.fetch(wheel)

    upstream.heal()
    assert received(here.fetch(wheel)) == (wheel.content, None)


def test_a_small_wrong_file_is_a_clean_error(here: Deployment, upstream: FakeUpstream) -> None:
    small = upstream.project("small").release("1.0")
    upstream.fail(small.filename, body=flipped(small.content, 0))

    with pytest.raises(DigestMismatch):
        here.fetch(small)


def test_a_cut_transfer_is_resumed_where_it_was_cut(
    deploy: Deploy, upstream: FakeUpstream, wheel: UpstreamFile
) -> None:
    here = deploy(upstream_retries=1)
    upstream.fail(wheel.filename, cut=100_000, times=1)

    assert received(here.fetch(wheel)) == (wheel.content, None)

    ranges = [seen.headers.get("range") for seen in upstream.seen(wheel.filename)]
    assert ranges == [None, f"bytes={len(wheel.content) - 100_000}-"]
    assert eventually(lambda: stored(here, wheel)) == wheel.content


def test_an_upstream_that_answers_a_range_with_the_whole_is_skipped_to_the_cut(
    deploy: Deploy, upstream: FakeUpstream, wheel: UpstreamFile
) -> None:
    here = deploy(upstream_retries=1)
    upstream.fail(wheel.filename, cut=100_000, bytes_per_second=1_000_000, times=1)
    arriving = here.fetch(wheel)
    upstream.fail(wheel.filename, body=wheel.content)  # for the second request: 200, from the first byte on

    assert received(arriving) == (wheel.content, None)
    assert upstream.count(wheel.filename) == 2


def test_the_halves_of_two_different_files_are_not_glued_together(
    deploy: Deploy, upstream: FakeUpstream, wheel: UpstreamFile
) -> None:
    here = deploy(upstream_retries=1)
    upstream.fail(wheel.filename, cut=100_000, bytes_per_second=1_000_000, times=1)
    arriving = here.fetch(wheel)
    upstream.fail(wheel.filename, body=bytes(len(wheel.content)))

    body, error = received(arriving)

    assert isinstance(error, DigestMismatch)
    assert len(body) <= len(wheel.content) - WITHHELD


def test_another_process_follows_the_download_that_runs(
    deploy: Deploy, upstream: FakeUpstream, wheel: UpstreamFile
) -> None:
    one, other = deploy(), deploy()
    upstream.fail(wheel.filename, bytes_per_second=600_000)
    leader = one.fetch(wheel)
    follower = other.fetch(wheel)

    assert received(follower) == (wheel.content, None)
    assert received(leader) == (wheel.content, None)
    assert upstream.count(wheel.filename) == 1


def test_who_followed_a_wrong_file_does_not_get_the_end_of_the_right_one(
    deploy: Deploy, upstream: FakeUpstream, wheel: UpstreamFile
) -> None:
    """The download of the other process fails, and ours begins again: our client has its bytes already."""
    one, other = deploy(), deploy()
    upstream.fail(wheel.filename, body=flipped(wheel.content, 10), bytes_per_second=600_000, times=1)
    leader = one.fetch(wheel)
    follower = other.fetch(wheel)

    body, error = received(follower)

    assert isinstance(error, UpstreamInvalid)
    assert len(body) < len(wheel.content)
    assert isinstance(received(leader)[1], DigestMismatch)
    assert eventually(lambda: stored(other, wheel)) == wheel.content


def test_who_followed_the_right_file_gets_the_rest_of_it_from_the_next_download(
    deploy: Deploy, upstream: FakeUpstream, wheel: UpstreamFile
) -> None:
    one, other = deploy(), deploy()
    wrong_end = flipped(wheel.content, len(wheel.content) - 1)  # withheld, so that nobody has it
    upstream.fail(wheel.filename, body=wrong_end, bytes_per_second=600_000, times=1)
    leader = one.fetch(wheel)
    follower = other.fetch(wheel)

    assert received(follower) == (wheel.content, None)
    assert isinstance(received(leader)[1], DigestMismatch)


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted by /proc")
def test_a_client_that_never_reads_holds_nobody_up_and_no_descriptor_for_longer_than_itself(
    here: Deployment, wheel: UpstreamFile
) -> None:
    def open_spools() -> int:
        links = [entry.resolve() for entry in Path("/proc/self/fd").iterdir()]
        return sum(link.is_relative_to(here.koschey.store.spool_dir.parent) for link in links)

    idle = here.fetch(wheel)
    eventually(lambda: stored(here, wheel) == wheel.content)
    assert open_spools() == 1

    idle.follower.close()

    eventually(lambda: open_spools() == 0)


def test_a_download_does_not_rewrite_the_digest_that_the_page_has_given_meanwhile(
    here: Deployment, upstream: FakeUpstream, wheel: UpstreamFile
) -> None:
    wheel.listed = {"hashes": {}}
    upstream.fail(wheel.filename, bytes_per_second=600_000)
    arriving = here.fetch(wheel)
    wheel.listed = {"hashes": {"sha256": "0" * 64}}
    upstream.project("sample").touch()
    here.look("sample")

    body, error = received(arriving)

    assert error is not None
    assert len(body) <= len(wheel.content) - WITHHELD
    row = here.file(wheel.filename)
    assert (row["sha256"], row["stored_at"]) == ("0" * 64, None)


def test_what_the_upstream_left_out_is_in_the_page_before_a_client_has_the_whole_file(
    here: Deployment, wheel: UpstreamFile
) -> None:
    wheel.listed = {"hashes": {}, "size": ABSENT}

    assert received(here.fetch(wheel)) == (wheel.content, None)

    [entry] = here.page("sample")["files"]
    assert (entry["hashes"], entry["size"]) == ({"sha256": wheel.sha256}, len(wheel.content))


@pytest.mark.parametrize("size", [1000, SIZE], ids=["small", "large"])
def test_nobody_waits_for_a_first_byte_while_the_upstream_wants_to_be_left_alone(
    here: Deployment, upstream: FakeUpstream, size: int
) -> None:
    file = upstream.project("resting").release("1.0", payload=os.urandom(size))
    upstream.fail(file.filename, status=503, headers={"Retry-After": "60"})
    began = time.monotonic()
    for _ in range(2):  # the second one is not even sent
        with pytest.raises(UpstreamUnavailable) as refused:
            here.fetch(file)
        assert refused.value.retry_after == pytest.approx(60, abs=30)
    assert time.monotonic() - began < 30
    assert upstream.count(file.filename) <= 1
