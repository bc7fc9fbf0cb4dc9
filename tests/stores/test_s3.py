"""The S3 store: the contract against a real HTTP server, and what a remote store can do wrong."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from koschey.errors import StoreUnavailable
from koschey.failpoints import VARIABLE
from koschey.stores.open import open_store
from koschey.stores.s3 import PART, S3Store
from tests.services import S3Server
from tests.stores.contract import MIB, BlobStoreContract, put, spooled
from tests.stores.faulty_proxy import Fault, FaultyProxy, faulty_proxy
from tests.stores.test_folder import run


@pytest.fixture
def store(s3_url: str, tmp_path: Path) -> S3Store:
    opened = open_store(s3_url, tmp_path / "spool")
    assert isinstance(opened, S3Store)
    return opened


class TestS3Store(BlobStoreContract):
    pass


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3.endpoint) as running:
        yield running


@pytest.fixture
def behind(s3: S3Server, proxy: FaultyProxy, tmp_path: Path) -> S3Store:
    """A store in a new bucket behind the proxy, which tries a request twice."""
    return S3Store(
        s3.make_bucket(),
        "files",
        spool_dir=tmp_path / "spool",
        endpoint_url=proxy.endpoint,
        region="us-east-1",
        access_key="test",
        secret_key="canary-of-the-secret-key",
        path_style=True,
        attempts=2,
        timeouts=(2.0, 10.0),
    )


PUBLISH = """
import sys
from pathlib import Path
from koschey.stores.open import open_store
url, path, digest, size = sys.argv[1:]
open_store(url, Path(path).parent).publish(Path(path), digest, int(size))
"""


@pytest.mark.parametrize(
    ("point", "there"),
    [("blob.before-publish", False), ("blob.after-publish", True)],
    ids=["before", "after"],
)
def test_a_kill_leaves_a_whole_blob_or_none(store: S3Store, s3_url: str, point: str, there: bool) -> None:
    path, digest, size = spooled(store, b"wheel" * 1000)
    killed = run(PUBLISH, s3_url, path, digest, size, **{VARIABLE: f"{point}:kill"})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert store.size(digest) == (size if there else None)
    assert path.exists()
    store.publish(path, digest, size)
    assert store.size(digest) == size


def test_a_busy_store_is_tried_again(behind: S3Store, proxy: FaultyProxy) -> None:
    proxy.faults.append(Fault("PUT", status=503))
    digest = put(behind, b"wheel")
    assert b"".join(behind.read(digest)) == b"wheel"
    assert proxy.count("PUT") == 2


def test_a_store_that_stays_busy_is_an_error_and_keeps_the_file(behind: S3Store, proxy: FaultyProxy) -> None:
    path, digest, size = spooled(behind, b"wheel")
    proxy.faults.append(Fault("PUT", times=99, status=503))
    with pytest.raises(StoreUnavailable, match=r"cannot store a blob in bucket .*status 503") as raised:
        behind.publish(path, digest, size)
    assert "canary" not in str(raised.value)
    assert path.read_bytes() == b"wheel"
    proxy.faults.clear()
    assert behind.size(digest) is None
    behind.publish(path, digest, size)
    assert behind.size(digest) == size


def test_a_lost_reply_does_not_lose_the_blob(behind: S3Store, proxy: FaultyProxy) -> None:
    proxy.faults.append(Fault("PUT", lose_reply=True))
    digest = put(behind, b"wheel")
    assert b"".join(behind.read(digest)) == b"wheel"


def test_a_large_file_goes_in_parts_and_one_may_be_repeated(behind: S3Store, proxy: FaultyProxy) -> None:
    content = os.urandom(2 * PART + 5)
    proxy.faults.append(Fault("PUT", containing="partNumber=2", status=503))
    digest = put(behind, content)
    assert b"".join(behind.read(digest)) == content
    assert proxy.count("PUT") == 4  # three parts, one of them twice


def test_a_failed_upload_in_parts_is_aborted(behind: S3Store, proxy: FaultyProxy) -> None:
    path, digest, size = spooled(behind, os.urandom(2 * PART))
    proxy.faults.append(Fault("PUT", times=99, containing="partNumber=2", status=503))
    with pytest.raises(StoreUnavailable, match="status 503"):
        behind.publish(path, digest, size)
    assert path.exists()
    assert behind.size(digest) is None
    assert [line for line in proxy.seen if line.startswith("DELETE") and "uploadId=" in line]
    assert behind.sweep_spool(-60) == 1  # the spooled file; no upload is left


def test_a_forgotten_upload_is_swept_when_it_is_old(store: S3Store, s3_url: str, s3: S3Server) -> None:
    bucket = urlsplit(s3_url).netloc
    with s3.client() as client:
        client.create_multipart_upload(Bucket=bucket, Key="files/aa/aa/" + "a" * 64)
        other = client.create_multipart_upload(Bucket=bucket, Key="other/aa")
        # moto dates every upload 2010; that is less than a hundred years ago and more than an hour.
        assert store.sweep_spool(100 * 365 * 86400) == 0
        assert store.sweep_spool(3600) == 1
        left = client.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert [upload["UploadId"] for upload in left] == [other["UploadId"]]


@pytest.mark.parametrize("sent", [0, 10, MIB, 2 * MIB + 5])
def test_a_short_answer_is_an_error_and_not_asked_again(
    behind: S3Store, proxy: FaultyProxy, sent: int
) -> None:
    digest = put(behind, os.urandom(3 * MIB))
    proxy.faults.append(Fault("GET", cut=sent))
    with pytest.raises(StoreUnavailable, match="broke off"):
        list(behind.read(digest))
    assert proxy.count("GET") == 1


def test_a_blob_of_the_wrong_size_is_replaced(store: S3Store, s3_url: str, s3: S3Server) -> None:
    digest = put(store, b"wheel")
    key = f"files/{digest[:2]}/{digest[2:4]}/{digest}"
    with s3.client() as client:
        client.put_object(Bucket=urlsplit(s3_url).netloc, Key=key, Body=b"whe")
    assert store.size(digest) == 3
    put(store, b"wheel")
    assert b"".join(store.read(digest)) == b"wheel"


def test_a_blob_that_is_there_is_not_sent_again(behind: S3Store, proxy: FaultyProxy) -> None:
    put(behind, b"wheel")
    put(behind, b"wheel")
    assert proxy.count("PUT") == 1


@pytest.mark.parametrize("method", ["HEAD", "GET", "DELETE"])
def test_a_failing_store_is_never_taken_for_a_missing_blob(
    behind: S3Store, proxy: FaultyProxy, method: str
) -> None:
    digest = put(behind, b"wheel")
    proxy.faults.append(Fault(method, times=99, status=500))
    with pytest.raises(StoreUnavailable):
        {"HEAD": behind.size, "GET": behind.read, "DELETE": behind.delete}[method](digest)


def test_a_missing_bucket_is_named_by_check_and_is_no_missing_blob(s3: S3Server, tmp_path: Path) -> None:
    store = open_store(s3.storage_url("no-such-bucket"), tmp_path)
    for act in (store.check, lambda: list(store.blobs()), lambda: store.read("a" * 64)):
        with pytest.raises(StoreUnavailable, match="bucket no-such-bucket: the bucket does not exist"):
            act()


def test_a_store_that_is_down_is_named_by_check(s3: S3Server, tmp_path: Path) -> None:
    # Port 1 is reserved and nobody listens there.
    store = S3Store(
        "bucket",
        "",
        spool_dir=tmp_path,
        endpoint_url="http://127.0.0.1:1",
        region="us-east-1",
        access_key="test",
        secret_key="test",
        attempts=1,
    )
    with pytest.raises(StoreUnavailable, match=r"cannot use the bucket .*no connection to the endpoint"):
        store.check()


def test_a_presigned_link_gives_the_bytes_under_the_files_name(store: S3Store) -> None:
    digest = put(store, b"wheel")
    link = store.presigned_url(digest, filename="a-1.0+x.whl", content_type="binary/x-wheel", seconds=77)
    answer = requests.get(link, timeout=60)
    assert answer.content == b"wheel"
    assert answer.headers["Content-Type"] == "binary/x-wheel"
    assert answer.headers["Content-Disposition"] in (
        "attachment; filename=a-1.0+x.whl",
        'attachment; filename="a-1.0+x.whl"',
    )
    assert parse_qs(urlsplit(link).query)["X-Amz-Expires"] == ["77"]


def test_a_presigned_link_names_the_public_endpoint(s3: S3Server, tmp_path: Path) -> None:
    url = s3.storage_url(s3.make_bucket(), options="&public_endpoint=https://files.example:8443")
    store = open_store(url, tmp_path)
    digest = put(store, b"wheel")
    link = store.presigned_url(digest, filename="a.whl", content_type="a/b", seconds=60)
    assert link is not None
    assert link.startswith("https://files.example:8443/bucket-")
    assert s3.endpoint not in link
    assert store.size(digest) == 5


def test_prefixes_in_one_bucket_do_not_meet(s3: S3Server, tmp_path: Path) -> None:
    bucket = s3.make_bucket()
    one, other, bare = (
        open_store(s3.storage_url(bucket, p), tmp_path / p) for p in ("one", "other/deep", "")
    )
    digest = put(one, b"wheel")
    assert other.size(digest) is None
    assert list(other.blobs()) == []
    assert list(bare.blobs()) == []
    assert [blob.sha256 for blob in one.blobs()] == [digest]
