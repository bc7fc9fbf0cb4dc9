"""A store whose blobs are swept: whoever publishes says so before, and nobody deletes what they rely on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from koschey.stores.blobs import BlobInfo, BlobStore, Spooled


class GuardedStore:
    """Obeys ``BlobStore``; asks for a blob to be spared before it is published.

    A blob that is there already is not written again: between that look and the commit of the row that
    refers to it, a sweep must not delete it. Args: ``spare`` takes blobs' digests, and returns when no
    sweep will touch them for the time of grace.
    """

    def __init__(self, store: BlobStore, spare: Callable[[Sequence[str]], None]) -> None:
        self._store = store
        self._spare = spare

    @property
    def spool_dir(self) -> Path:
        """See ``BlobStore``."""
        return self._store.spool_dir

    def publish(self, spooled: Path, sha256: str, size: int) -> None:
        """See ``BlobStore``. Raises also: Busy, when a sweep deletes that blob and takes its time."""
        self._spare([sha256])
        self._store.publish(spooled, sha256, size)

    def publish_all(self, blobs: Sequence[Spooled]) -> None:
        """See ``BlobStore``. Raises also: as ``publish``."""
        self._spare([blob.sha256 for blob in blobs])
        self._store.publish_all(blobs)

    def size(self, sha256: str) -> int | None:
        """See ``BlobStore``."""
        return self._store.size(sha256)

    def read(self, sha256: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """See ``BlobStore``."""
        return self._store.read(sha256, start, length)

    def local_path(self, sha256: str) -> Path | None:
        """See ``BlobStore``."""
        return self._store.local_path(sha256)

    def presigned_url(self, sha256: str, *, filename: str, content_type: str, seconds: int) -> str | None:
        """See ``BlobStore``."""
        return self._store.presigned_url(
            sha256, filename=filename, content_type=content_type, seconds=seconds
        )

    def delete(self, sha256: str) -> None:
        """See ``BlobStore``."""
        self._store.delete(sha256)

    def blobs(self, after: str = "") -> Iterator[BlobInfo]:
        """See ``BlobStore``."""
        return self._store.blobs(after)

    def check(self) -> None:
        """See ``BlobStore``."""
        self._store.check()

    def sweep_spool(self, older_than: float) -> int:
        """See ``BlobStore``."""
        return self._store.sweep_spool(older_than)
