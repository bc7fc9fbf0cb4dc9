"""Processes killed, disks full, blobs gone: what is served is whole, or a clear error (HARDENING, faults)."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import sys
from pathlib import Path

import pytest
import requests

from koschey.stores.blobs import BlobStore
from koschey.stores.open import open_store
from tests import running
from tests.fake_upstream import FakeUpstream
from tests.protocol.asking import file_url, get, logged, whole
from tests.protocol.conftest import POSTGRES_S3, SQLITE, Settings
from tests.running import Running, eventually
from tests.upstream_pages import Project

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="workers are found by /proc")
on_both_stores = pytest.mark.backends(SQLITE, POSTGRES_S3)


def store_of(process: Running, folder: Path) -> BlobStore:
    """The store that a Koschey uses, opened behind its back."""
    default = (process.data_dir / "files").as_uri()
    return open_store(process.environment.get("KOSCHEY_STORAGE_URL", default), folder / "spool")


def assert_blobs_are_what_their_names_say(store: BlobStore) -> None:
    for blob in store.blobs():
        assert hashlib.sha256(b"".join(store.read(blob.sha256))).hexdigest() == blob.sha256


@on_both_stores
def test_a_blob_that_vanished_is_fetched_again_or_a_clear_error(backend: Settings, tmp_path: Path) -> None:
    with FakeUpstream() as upstream:
        wheel = upstream.project("vanishing").release("1.0", payload=b"v" * 100_000)
        metadata = hashlib.sha256(wheel.metadata or b"").hexdigest()
        # A link to storage is given without a look at it: Koschey misses only what it sends itself.
        settings = {"KOSCHEY_PRESIGNED_SECONDS": "0", "KOSCHEY_UPSTREAM_RETRIES": "0", **backend()}
        with running.koschey(tmp_path / "koschey", upstream.simple_url, settings) as process:
            store = store_of(process, tmp_path)
            url = file_url(process, wheel)
            assert (whole(url), whole(url + ".metadata")) == (wheel.content, wheel.metadata)
            for digest in (wheel.sha256, metadata):
                eventually(lambda digest=digest: store.size(digest))
                store.delete(digest)

            assert (whole(url), whole(url + ".metadata")) == (wheel.content, wheel.metadata)

            assert upstream.count(wheel.filename) == 2
            for digest in (wheel.sha256, metadata):
                eventually(lambda digest=digest: store.size(digest))
                store.delete(digest)
            upstream.stop()
            for lost in (url, url + ".metadata"):
                answer = get(lost)
                assert answer.status_code == 502
                assert "upstream" in answer.json()["detail"]
            upstream.start_again()
            eventually(lambda: whole(url) == wheel.content)


@on_linux
@on_both_stores
def test_a_worker_killed_during_a_download_leaves_nothing_half_written(
    backend: Settings, upstream: FakeUpstream, project: Project, tmp_path: Path
) -> None:
    wheel = project.release("1.0", payload=b"k" * 1_000_000)
    with running.koschey(tmp_path / "koschey", upstream.simple_url, backend(), workers=2) as process:
        url = file_url(process, wheel)
        upstream.fail(wheel.filename, bytes_per_second=400_000, times=1)
        with requests.get(url, stream=True, timeout=30) as answer:
            next(answer.iter_content(1000))
            os.kill(_downloading(process), signal.SIGKILL)
            with pytest.raises(requests.RequestException):
                b"".join(answer.iter_content(65536))

        assert whole(url) == wheel.content
        eventually(lambda: len(process.workers) == 2)
        assert_blobs_are_what_their_names_say(store_of(process, tmp_path))


def _downloading(process: Running) -> int:
    """The worker that has a spool file open."""

    def writer() -> int | None:
        for worker in process.workers:
            for descriptor in Path(f"/proc/{worker}/fd").iterdir():
                if "/file-" in str(descriptor.readlink()):
                    return worker
        return None

    found: int = eventually(writer)
    return found


@on_both_stores
@pytest.mark.parametrize("point", ["blob.before-publish", "blob.after-publish"])
def test_a_kill_around_a_publication_costs_a_download_at_the_most(
    backend: Settings, upstream: FakeUpstream, project: Project, tmp_path: Path, point: str
) -> None:
    wheel = project.release("1.0", payload=b"p" * 200_000)
    settings = {"KOSCHEY_FAIL": f"{point}:kill", **backend()}
    process = running.start_koschey(tmp_path / "koschey", upstream.simple_url, settings)
    try:
        url = file_url(process, wheel)
        assert whole(url) in (None, wheel.content)
        eventually(lambda: "SIGKILL" in process.log)
        process.stop()
        process.start_again(KOSCHEY_FAIL="")

        assert whole(url) == wheel.content
        assert_blobs_are_what_their_names_say(store_of(process, tmp_path))
    finally:
        process.stop()


@on_linux
@on_both_stores
def test_a_full_disk_breaks_the_transfer_and_nothing_else(
    backend: Settings, upstream: FakeUpstream, project: Project, tmp_path: Path
) -> None:
    wheel = project.release("1.0", payload=os.urandom(6 << 20))
    small = project.release("1.1")
    with running.koschey(tmp_path / "koschey", upstream.simple_url, backend()) as process:
        url = file_url(process, wheel)
        _limit_files(process, 4 << 20)

        assert whole(url) is None

        [failed] = eventually(lambda: logged(process, "file.download_failed", filename=wheel.filename))
        assert "spool" in failed["problem"]
        assert "koschey.server.bridge" not in process.log, "it is one line"
        assert whole(file_url(process, small)) == small.content
        _limit_files(process, resource.RLIM_INFINITY)
        assert whole(url) == wheel.content
        assert_blobs_are_what_their_names_say(store_of(process, tmp_path))


def _limit_files(process: Running, size: int) -> None:
    """Let no worker write a file beyond ``size`` bytes: as near to a full disk as one gets without root."""
    for worker in process.workers:
        _, hard = resource.prlimit(worker, resource.RLIMIT_FSIZE)
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (size, hard))
