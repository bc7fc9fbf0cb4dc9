"""Blobs in an S3-compatible store: ``<prefix>/ab/cd/<sha256>`` in one bucket.

boto3 takes tens of megabytes of memory; it is imported when the first ``S3Store`` is made.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from werkzeug.http import dump_options_header

from koschey.errors import BlobMissing, StoreUnavailable
from koschey.failpoints import failpoint
from koschey.stores import spool
from koschey.stores.blobs import DIGEST, BlobInfo, Spooled, pairs

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

CHUNK = 2**20
PART = 8 * 2**20
#: So many at once where there are many.
_AT_ONCE = 16

_SENTENCES = {
    "NoSuchBucket": "the bucket does not exist",
    "AccessDenied": "access denied; the credentials may not do this",
    "403": "access denied; the credentials may not do this",
    "InvalidAccessKeyId": "the access key is not known there",
    "SignatureDoesNotMatch": "the signature was refused; check the secret key and this machine's clock",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
    "NoCredentialsError": "no credentials were found",
    "PartialCredentialsError": "the credentials are incomplete",
    "NoRegionError": "no region is set",
    "EndpointConnectionError": "no connection to the endpoint",
    "ConnectTimeoutError": "connecting to the endpoint took too long",
    "ReadTimeoutError": "the endpoint did not answer in time",
    "SSLError": "the endpoint's certificate was refused",
    "ConnectionClosedError": "the endpoint closed the connection",
    "IncompleteReadError": "the answer broke off",
    "ResponseStreamingError": "the answer broke off",
}


class S3Store:
    """Obeys ``BlobStore``.

    Args:
        bucket: name of an existing bucket.
        prefix: put before each key, without slashes at its ends; may be empty.
        spool_dir: local folder for files on their way in; made when it is not there.
        endpoint_url: of the store; None: Amazon's for the region.
        public_endpoint: what presigned links name instead, when clients reach the store by another host.
        region, access_key, secret_key: None: where boto3 looks for them.
        path_style: write the bucket into the path and not into the host's name.
        attempts: how often a request is tried in all.
        timeouts: seconds to wait for a connection, and for the next bytes.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str,
        *,
        spool_dir: Path,
        endpoint_url: str | None = None,
        public_endpoint: str | None = None,
        region: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        path_style: bool = False,
        attempts: int = 4,
        timeouts: tuple[float, float] = (5.0, 30.0),
    ) -> None:
        import boto3
        from boto3.s3.transfer import TransferConfig
        from botocore.config import Config

        with spool.reported(f"cannot make the spool folder {spool_dir}"):
            spool_dir.mkdir(parents=True, exist_ok=True)
        self._bucket, self._spool = bucket, spool_dir
        self._prefix = f"{prefix}/" if prefix else ""
        self._transfer = TransferConfig(
            multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=4, io_chunksize=CHUNK
        )
        config = Config(
            signature_version="s3v4",
            max_pool_connections=32,
            connect_timeout=timeouts[0],
            read_timeout=timeouts[1],
            retries={"mode": "standard", "total_max_attempts": attempts},
            # Other makers' stores refuse the checksums that newer clients add unasked.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path" if path_style else "auto"},
        )
        with self._reported("configure the client"):
            session = boto3.Session(access_key, secret_key, region_name=region)
            self._client: S3Client = session.client("s3", endpoint_url=endpoint_url, config=config)
            self._signer: S3Client = (
                session.client("s3", endpoint_url=public_endpoint, config=config)
                if public_endpoint
                else self._client
            )

    @property
    def spool_dir(self) -> Path:
        """Local folder for files on their way in."""
        return self._spool

    def publish(self, spooled: Path, sha256: str, size: int) -> None:
        """See ``BlobStore``. Above 8 MiB in parts; a failed upload in parts is aborted."""
        with spool.reported("cannot read the spooled file"):
            found = spooled.stat().st_size
        if found != size:
            raise StoreUnavailable(spool.STORE, f"the spooled file has {found} bytes instead of {size}")
        failpoint("blob.before-publish")
        if self.size(sha256) != size:
            with self._reported("store a blob"):
                self._client.upload_file(str(spooled), self._bucket, self._key(sha256), Config=self._transfer)
            if (stored := self.size(sha256)) != size:
                raise StoreUnavailable(
                    spool.STORE, f"blob {sha256} reads back with {stored} bytes instead of {size}"
                )
        failpoint("blob.after-publish")
        with spool.reported("cannot remove the spooled file"):
            spooled.unlink(missing_ok=True)

    def publish_all(self, blobs: Sequence[Spooled]) -> None:
        """See ``BlobStore``. Many at once: a store's answer takes longer than anything here."""
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="publish") as pool:
            for done in [pool.submit(self.publish, *blob) for blob in blobs]:
                done.result()

    def size(self, sha256: str) -> int | None:
        """See ``BlobStore``."""
        try:
            with self._reported("look up a blob", sha256):
                return self._client.head_object(Bucket=self._bucket, Key=self._key(sha256))["ContentLength"]
        except BlobMissing:
            return None

    def read(self, sha256: str, start: int = 0, length: int | None = None) -> Generator[bytes]:
        """See ``BlobStore``. A transfer that breaks off is not repeated: the caller has sent what came."""
        chunks = self._chunks(sha256, start, length)
        next(chunks)
        return chunks

    def _chunks(self, sha256: str, start: int, length: int | None) -> Generator[bytes]:
        """First an empty chunk, which ``read`` takes away and has thereby fetched the first real one."""
        with self._reported("read a blob", sha256):
            answer = self._get(sha256, start, length)
            if answer is None:
                yield b""
                return
            with closing(answer["Body"]) as body:
                left = answer["ContentLength"]
                chunk = body.read(CHUNK)
                yield b""
                while left > 0 and chunk:
                    left -= len(chunk)
                    yield chunk
                    chunk = body.read(CHUNK) if left else b""
                if left:
                    raise StoreUnavailable(spool.STORE, f"blob {sha256} ended {left} bytes early")

    def _get(self, sha256: str, start: int, length: int | None) -> GetObjectOutputTypeDef | None:
        """The store's answer, or None when the blob is there and has no byte in this range."""
        from botocore.exceptions import ClientError

        key = self._key(sha256)
        if length is not None and length <= 0:
            self._client.head_object(Bucket=self._bucket, Key=key)
            return None
        if start == 0 and length is None:
            return self._client.get_object(Bucket=self._bucket, Key=key)
        last = "" if length is None else start + length - 1
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=key, Range=f"bytes={start}-{last}")
        except ClientError as error:
            if error.response["Error"]["Code"] in ("InvalidRange", "416"):
                return None
            raise
        if not answer.get("ContentRange", "").startswith(f"bytes {start}-"):
            answer["Body"].close()
            raise StoreUnavailable(spool.STORE, "the store does not answer ranges")
        return answer

    def local_path(self, sha256: str) -> None:
        """None: the blobs are elsewhere."""

    def presigned_url(self, sha256: str, *, filename: str, content_type: str, seconds: int) -> str:
        """See ``BlobStore``. Made without asking the store, so also for a blob that is not there."""
        with self._reported("sign a link"):
            return self._signer.generate_presigned_url(
                "get_object",
                Params={
                    "Bucket": self._bucket,
                    "Key": self._key(sha256),
                    "ResponseContentDisposition": dump_options_header("attachment", {"filename": filename}),
                    "ResponseContentType": content_type,
                },
                ExpiresIn=seconds,
            )

    def delete(self, sha256: str) -> None:
        """See ``BlobStore``."""
        with self._reported("delete a blob"):
            self._client.delete_object(Bucket=self._bucket, Key=self._key(sha256))

    def blobs(self, after: str = "") -> Iterator[BlobInfo]:
        """See ``BlobStore``. Asks for a thousand keys at a time."""
        # A key's order is its digest's; a start that is no digest cannot be written as a key.
        begin: dict[str, Any] = {"StartAfter": self._key(after)} if DIGEST.fullmatch(after) else {}
        with self._reported("list the blobs"):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix, **begin):
                for item in page.get("Contents", ()):
                    sha256 = item["Key"].rpartition("/")[2]
                    if DIGEST.fullmatch(sha256) and item["Key"] == self._key(sha256) and sha256 > after:
                        yield BlobInfo(sha256, item["Size"], item["LastModified"].timestamp())

    def check(self) -> None:
        """List one key. Raises: StoreUnavailable."""
        with self._reported("use the bucket"):
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)

    def sweep_spool(self, older_than: float) -> int:
        """See ``BlobStore``. Also aborts uploads in parts that a dead process left in the bucket."""
        removed = spool.sweep(self._spool, older_than)
        oldest = datetime.now(UTC) - timedelta(seconds=older_than)
        with self._reported("abort a forgotten upload"):
            pages = self._client.get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for upload in page.get("Uploads", ()):
                    if upload["Initiated"] < oldest:
                        self._client.abort_multipart_upload(
                            Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                        )
                        removed += 1
        return removed

    def _key(self, sha256: str) -> str:
        first, second = pairs(sha256)
        return f"{self._prefix}{first}/{second}/{sha256}"

    @contextmanager
    def _reported(self, doing: str, sha256: str | None = None) -> Iterator[None]:
        """Turn boto's errors into ours; a 404 about ``sha256`` into ``BlobMissing``.

        Their own texts are not passed on: they quote addresses and requests.
        """
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (ClientError, BotoCoreError, Boto3Error, OSError) as raised:
            # boto3's transfer raises an error of its own while it handles the telling one.
            error = raised.__context__ if isinstance(raised, Boto3Error) and raised.__context__ else raised
            if isinstance(error, ClientError):
                code = error.response["Error"]["Code"]
                if sha256 is not None and code in ("NoSuchKey", "404"):
                    raise BlobMissing(sha256) from raised
                status = error.response["ResponseMetadata"].get("HTTPStatusCode")
                problem = _SENTENCES.get(code, f"the store answered {code} (status {status})")
            else:
                name = type(error).__name__
                problem = _SENTENCES.get(name, f"the request failed ({name})")
            raise StoreUnavailable(
                spool.STORE, f"cannot {doing} in bucket {self._bucket}: {problem}"
            ) from raised
