"""Content-addressed files: the protocol that every store obeys, and the layout they share.

A blob is named by the SHA-256 of its bytes and never changes. Bytes are first spooled in
``spool_dir`` (same file system as the store where there is one), verified by the caller, and then
published in one atomic step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

DIGEST = re.compile(r"[0-9a-f]{64}")


def pairs(sha256: str) -> tuple[str, str]:
    """The two levels of folders that keep a blob: a store's layout is ``ab/cd/<sha256>``.

    Raises:
        ValueError: not 64 lower-case hexadecimal digits; such text must not become a path or key.
    """
    if not DIGEST.fullmatch(sha256):
        raise ValueError(f"not a SHA-256 in lower-case hexadecimal: {sha256!r}")
    return sha256[:2], sha256[2:4]


class BlobInfo(NamedTuple):
    """A stored blob: its digest, its size in bytes, when it was published (seconds since 1970)."""

    sha256: str
    size: int
    modified: float


class Spooled(NamedTuple):
    """A verified file on its way into a store: where it lies, its digest, its size in bytes."""

    path: Path
    sha256: str
    size: int


class BlobStore(Protocol):
    """What Koschey asks of a store. Implementations are safe to use from many threads.

    Everything that takes a digest raises ``ValueError`` for text that is none.
    """

    @property
    def spool_dir(self) -> Path:
        """Local folder for files on their way in; made when the store is."""

    def publish(self, spooled: Path, sha256: str, size: int) -> None:
        """Take over the file ``spooled``, whose digest the caller has verified, as blob ``sha256``.

        Durable when it returns (fsync of file and folder, or the remote's acknowledgement with its
        size read back). Publishing a blob that is already there with that size is no error; the
        spooled file is gone afterwards in each case of success.

        Raises:
            StoreUnavailable: the store failed; nothing was published and the spooled file is still there.
        """

    def publish_all(self, blobs: Sequence[Spooled]) -> None:
        """``publish`` for many at once, which costs a store less than one by one. No digest twice.

        Raises:
            StoreUnavailable: the store failed; any of them may have been published, and none need be durable.
        """

    def size(self, sha256: str) -> int | None:
        """Size in bytes of a blob, or None when it is not there. Raises: StoreUnavailable."""

    def read(self, sha256: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The blob's bytes from ``start`` (at most ``length``), in chunks of at most 1 MiB.

        The first chunk is fetched when this is called, so that a missing blob shows at once.

        Raises:
            BlobMissing: there is no such blob. StoreUnavailable: the store failed.
        """

    def local_path(self, sha256: str) -> Path | None:
        """Where the blob lies on this machine's disk; None for a remote store. Not checked to exist."""

    def presigned_url(self, sha256: str, *, filename: str, content_type: str, seconds: int) -> str | None:
        """A link by which a client may GET the blob for so many seconds; None when the store has none."""

    def delete(self, sha256: str) -> None:
        """Remove a blob; no error when it is gone already. Raises: StoreUnavailable."""

    def blobs(self, after: str = "") -> Iterator[BlobInfo]:
        """All blobs with a digest above ``after``, in order of digest. Raises: StoreUnavailable."""

    def check(self) -> None:
        """Prove cheaply that the store can be used. Raises: StoreUnavailable."""

    def sweep_spool(self, older_than: float) -> int:
        """Remove what publications cut short left behind, untouched for ``older_than`` seconds.

        Returns how many leftovers were removed. Raises: StoreUnavailable.
        """
