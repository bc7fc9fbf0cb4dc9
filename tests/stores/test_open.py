"""Which store a URL opens, and what is said about a URL that opens none."""

from __future__ import annotations

from pathlib import Path

import pytest

from koschey.errors import SettingsInvalid
from koschey.stores.folder import FolderStore
from koschey.stores.open import open_store
from koschey.stores.s3 import S3Store
from tests.stores.test_folder import run


def test_a_file_url_opens_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my files"
    store = open_store(folder.as_uri(), tmp_path / "unused")
    assert isinstance(store, FolderStore)
    assert store.spool_dir == folder / "spool"
    assert not (tmp_path / "unused").exists()


def test_an_s3_url_opens_s3_and_makes_the_spool_folder(tmp_path: Path) -> None:
    # Secret keys contain + and /, and people paste them as they are.
    store = open_store(
        "s3://bucket/a/b?endpoint=http%3A%2F%2Fs3.example&region=eu-west-1&access_key=me&secret_key=a+b/c=",
        tmp_path / "spool",
    )
    assert isinstance(store, S3Store)
    assert store.spool_dir.is_dir()
    credentials = store._client._request_signer._credentials  # nothing public tells them
    assert (credentials.access_key, credentials.secret_key) == ("me", "a+b/c=")
    assert "s3.example/bucket/a/b/aa/aa/" in store.presigned_url(
        "a" * 64, filename="x", content_type="y/z", seconds=60
    ) or "bucket.s3.example/a/b/aa/aa/" in store.presigned_url(
        "a" * 64, filename="x", content_type="y/z", seconds=60
    )


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "neither file:/// nor s3://"),
        ("files", "neither file:/// nor s3://"),
        ("/var/files", "neither file:/// nor s3://"),
        ("gs://bucket", "neither file:/// nor s3://"),
        ("file://var/files", "three slashes"),
        ("file:files", "no absolute folder"),
        ("file:///files?x=1", "has options"),
        ("file:///fi%00les", "no absolute folder"),
        ("s3:///prefix", "names no bucket"),
        ("s3://key:canary@bucket", "credentials and endpoint are options"),
        ("s3://s3.example:9000/bucket", "credentials and endpoint are options"),
        ("s3://bucket/a/../b", "in the prefix"),
        ("s3://bucket/a//b", "in the prefix"),
        ("s3://bucket?color=canary", "unknown option"),
        ("s3://bucket?region=a&region=b", "the option region twice"),
        ("s3://bucket?region=", "no value for the option region"),
        ("s3://bucket?access_key=canary", "without the other"),
        ("s3://bucket?secret_key=canary", "without the other"),
        ("s3://bucket?path_style=yes", "neither 0 nor 1"),
        ("s3://bucket?endpoint=s3.example", "endpoint that is not http"),
        ("s3://bucket?endpoint=http://", "endpoint that is not http"),
        ("s3://bucket?endpoint=http://a:99999", "endpoint that is not http"),
        ("s3://bucket?public_endpoint=ftp://a", "public_endpoint that is not http"),
        ("s3://bucket?endpoint=http://me:canary@a", "more than scheme, host and path"),
        ("s3://bucket?access_key=a&secret_key=can#ary", "fragment"),
        ("s3://[bucket", "not a URL"),
    ],
)
def test_a_bad_url_is_refused_in_one_sentence_without_its_values(
    url: str, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsInvalid) as raised:
        open_store(url, tmp_path / "spool")
    assert problem in str(raised.value)
    assert "canary" not in str(raised.value)
    assert not (tmp_path / "spool").exists()


def test_a_folder_costs_no_boto3(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from koschey.stores.open import open_store\n"
        "open_store(sys.argv[1], Path('unused')); print('boto3' in sys.modules, 'botocore' in sys.modules)"
    )
    assert run(code, (tmp_path / "files").as_uri()).stdout == "False False\n"
