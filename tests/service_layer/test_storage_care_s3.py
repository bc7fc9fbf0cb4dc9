"""The care for what is stored in S3: only what nobody refers to goes, also when a sweep is killed."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from koschey.errors import StoreUnavailable
from koschey.failpoints import VARIABLE
from koschey.services.eviction import Rules
from koschey.stores.s3 import S3Store
from tests.fake_upstream import FakeUpstream
from tests.running import CHECKOUT, clean_environment
from tests.service_layer.conftest import Deploy, on_both
from tests.service_layer.test_storage_care import Care
from tests.services import S3Server
from tests.stores.faulty_proxy import Fault, FaultyProxy, faulty_proxy

SWEEP = """
import sys
from pathlib import Path
from koschey import settings
from koschey.application import create_app
from koschey.services.orphans import Orphans
data, database, storage, upstream = sys.argv[1:]
given = dict(data_dir=Path(data), database_url=database, storage_url=storage, upstream_url=upstream)
k = create_app(settings.load({}, **given), periodic_jobs=False).extensions["koschey"]
print(Orphans(k.database, k.lookup, k.locks, k.store._store, grace=0.0).sweep().deleted)
k.close()
"""


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3.endpoint) as running:
        yield running


@pytest.fixture
def storage_url(s3: S3Server, proxy: FaultyProxy) -> str:
    return s3.storage_url(s3.make_bucket(), "files", endpoint=proxy.endpoint)


@pytest.fixture
def care(deploy: Deploy, storage_url: str) -> Care:
    made = Care(deploy(quarantine_days=0, storage_url=storage_url))
    assert isinstance(made.raw, S3Store)
    return made


def keys(s3: S3Server, storage_url: str) -> set[str]:
    """What is in the bucket, past Koschey: the last part of every key."""
    with s3.client() as client:
        found = client.list_objects_v2(Bucket=urlsplit(storage_url).netloc).get("Contents", [])
    return {item["Key"].rpartition("/")[2] for item in found}


def sweep_elsewhere(data: Path, care: Care, storage_url: str, database_url: str, fail: str) -> int:
    """A sweep in a process of its own, which meets a failpoint; returns how it ended."""
    url = care.here.koschey.configuration.upstreams()[0].endpoint
    assert url is not None
    return subprocess.run(
        [sys.executable, "-c", SWEEP, str(data), database_url, storage_url, url.url],
        env=clean_environment() | {VARIABLE: fail},
        cwd=CHECKOUT,
        capture_output=True,
        timeout=120,
        check=False,
    ).returncode


@on_both
def test_a_sweep_killed_before_it_deletes_loses_nothing_and_is_done_again(
    care: Care, s3: S3Server, storage_url: str, database_url: str, upstream: FakeUpstream, tmp_path: Path
) -> None:
    file = care.stored(upstream, "sample")
    orphan, wanted = care.publish(b"nobody's"), care.publish(b"wanted again")
    assert care.orphans.sweep().marked == 2
    kept = {file.sha256, orphan, wanted}

    killed = sweep_elsewhere(tmp_path / "data", care, storage_url, database_url, "orphan.before-delete:kill")

    assert killed == -signal.SIGKILL
    assert keys(s3, storage_url) == kept
    assert {row["sha256"] for row in care.here.rows("SELECT sha256 FROM orphan")} == {orphan, wanted}

    # Whoever publishes it meanwhile keeps it: the dead one's lock holds up nobody.
    care.publish(b"wanted again")
    swept = care.orphans.sweep()

    assert (swept.deleted, swept.bytes) == (1, len(b"nobody's"))
    assert keys(s3, storage_url) == {file.sha256, wanted}
    assert care.here.koschey.store.size(file.sha256) == len(file.content)


def test_what_is_given_up_leaves_the_bucket_and_comes_back(
    care: Care, s3: S3Server, storage_url: str, upstream: FakeUpstream
) -> None:
    file, other = care.stored(upstream, "sample"), care.stored(upstream, "other", days=1)
    assert care.eviction.evict(Rules(unused_days=30)).files == 1
    assert keys(s3, storage_url) == {file.sha256, other.sha256}

    assert care.orphans.sweep().deleted == 1

    assert keys(s3, storage_url) == {other.sha256}
    care.fetch(file)
    assert keys(s3, storage_url) == {file.sha256, other.sha256}
    assert care.orphans.sweep().deleted == 0


@pytest.mark.parametrize("method", ["DELETE", "HEAD"])
def test_a_bucket_that_refuses_keeps_the_mark_for_the_next_sweep(
    care: Care, s3: S3Server, storage_url: str, proxy: FaultyProxy, method: str
) -> None:
    orphan = care.publish(b"nobody's")
    care.orphans.sweep()
    proxy.faults.append(Fault(method, times=99, status=500))
    with pytest.raises(StoreUnavailable):
        care.orphans.sweep()
    assert [row["sha256"] for row in care.here.rows("SELECT sha256 FROM orphan")] == [orphan]
    proxy.faults.clear()
    assert care.orphans.sweep().deleted == 1
    assert keys(s3, storage_url) == set()


def test_a_lost_reply_to_a_deletion_is_no_harm(care: Care, proxy: FaultyProxy) -> None:
    care.publish(b"nobody's")
    care.orphans.sweep()
    proxy.faults.append(Fault("DELETE", lose_reply=True))
    assert care.orphans.sweep().deleted == 1
    assert care.here.rows("SELECT 1 FROM orphan") == []


def test_a_round_goes_on_behind_the_blob_where_the_last_sweep_stopped(care: Care) -> None:
    contents = [f"blob {number}".encode() for number in range(6)]
    digests = sorted(hashlib.sha256(content).hexdigest() for content in contents)
    for content in contents:
        care.publish(content)
    care.here.execute(
        "INSERT INTO counter (name, value) VALUES ('sweep_blobs', :at), ('blobs:round', 3), "
        "('blobs:round:bytes', 18)",
        at=int(digests[2][:15], 16),
    )

    assert care.orphans.sweep().looked_at == 3

    counters = {row["name"]: row["value"] for row in care.here.rows("SELECT name, value FROM counter")}
    assert (counters["sweep_blobs"], counters["blobs"], counters["blobs:bytes"]) == (0, 6, 36)
    marked = {row["sha256"] for row in care.here.rows("SELECT sha256 FROM orphan")}
    assert marked == set(digests[3:])
