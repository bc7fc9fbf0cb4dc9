"""The transfer of one file: spooled, hashed, resumed, verified, and only then in the store.

Readers follow the spool file; the last block is withheld from them until the digest is right (HARDENING
invariant 15).
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from koschey.errors import (
    DigestMismatch,
    StoreUnavailable,
    UpstreamInvalid,
    UpstreamUnavailable,
    WrongSize,
)
from koschey.services.configuration import SourceConfig
from koschey.services.following import WITHHELD, Download
from koschey.stores.lookup import FileLook
from koschey.upstream.client import UpstreamClient

if TYPE_CHECKING:
    from koschey.upstream.answer import Answer

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_CHUNK = 256 * 1024
#: Seconds that the first byte may wait for an upstream that asks to be left alone: a client is better told.
_REST = 5.0

type Publish = Callable[[FileLook, Path, str, int], None]
"""Takes a verified file, its spool file, sha256 and size into the store, and records it."""


@dataclass(frozen=True)
class DownloadLimits:
    """Seconds for a whole file, its largest size in bytes, and how often a broken transfer is resumed."""

    deadline: float
    max_bytes: int
    retries: int


class Fetch:
    """One download, by the process that holds the lock of the file; ``ends``: when, by ``time.monotonic``."""

    def __init__(
        self,
        client: UpstreamClient,
        limits: DownloadLimits,
        publish: Publish,
        *,
        download: Download,
        source: SourceConfig,
        spool: Path,
        ends: float,
    ) -> None:
        self._client = client
        self._limits = limits
        self._publish = publish
        self._download = download
        self._file = download.file
        self._source = source
        self._spool = spool
        self._ends = ends
        self._sha256 = hashlib.sha256()
        algorithm, _, self._other_expected = (self._file.digest or "").partition(":")
        self._other = hashlib.new(algorithm) if algorithm else None
        self._written = 0
        self._total = self._file.size
        self._validator: str | None = None

    def run(self) -> None:
        """Download, and store what came; that it could not be stored now is logged and no failure of it.

        Raises:
            UpstreamError: it did not come. DigestMismatch: other bytes came.
        """
        spool = self._spool
        spool.unlink(missing_ok=True)  # what a killed process left
        made = 0
        try:
            with spool.open("w+b", buffering=0) as out:
                made = os.fstat(out.fileno()).st_ino
                self._download.opened(os.dup(out.fileno()))
                self._fetch(out.fileno())
            digest = self._verified()
            # What readers would miss in the listing afterwards goes into it before they have the file.
            news = self._file.sha256 is None or self._file.size is None
            if not news:
                self._download.verified(self._written)
            try:
                if not _is(spool, made):
                    # Our lock was lost with the database's connection, and somebody else began.
                    raise StoreUnavailable(
                        "files", f"another process downloads {self._file.filename} as well"
                    )
                self._publish(self._file, spool, digest, self._written)
            except StoreUnavailable as error:
                # The clients have their file; the next one makes us fetch it once more.
                log.error("file.not_stored", filename=self._file.filename, problem=str(error))
            self._download.verified(self._written)
        finally:
            if _is(spool, made):
                spool.unlink(missing_ok=True)

    def _fetch(self, fd: int) -> None:
        for attempt in range(self._limits.retries + 1):
            try:
                self._transfer(fd)
            except UpstreamUnavailable as error:
                if attempt == self._limits.retries or not self._written:
                    raise  # without a byte the session has tried often enough already
                log.warning(
                    "file.resumed", filename=self._file.filename, at=self._written, problem=str(error)
                )
                time.sleep(min(0.2 * 2**attempt, max(0.0, self._ends - time.monotonic())))
            else:
                return

    def _small(self, fd: int) -> bool:
        """A small file by one plain exchange; False: it takes the session, which knows the rest of HTTP.

        Nobody could read of it before its end, so it need not come in pieces.
        """
        file, source = self._file, self._source
        if self._written or file.size is None or file.size > WITHHELD:
            return False
        assert source.endpoint is not None and file.url is not None
        body = self._client.small_file(
            source.endpoint,
            file.url,
            name=file.name,
            size=file.size,
            deadline=max(self._ends - time.monotonic(), 0.001),
            rest=_REST,
            tally=self._download.tally,
        )
        if isinstance(body, int):
            raise UpstreamInvalid(source.name, f"answered {body} for {file.filename}")
        if body is not None:
            self._take(fd, body)
        return body is not None

    def _transfer(self, fd: int) -> None:
        if self._small(fd):
            return
        assert self._source.endpoint is not None and self._file.url is not None
        remaining = self._ends - time.monotonic()
        with self._client.file(
            self._source.endpoint,
            self._file.url,
            name=self._file.name,
            start=self._written,
            validator=self._validator,
            deadline=max(remaining, 0.001),
            rest=None if self._written else _REST,
            tally=self._download.tally,
        ) as answer:
            skip = self._accepted(answer)
            for chunk in answer.chunks(_CHUNK):
                if skip:
                    dropped = min(skip, len(chunk))
                    skip -= dropped
                    chunk = chunk[dropped:]
                self._take(fd, chunk)
        if self._total is not None and self._written < self._total:
            raise UpstreamUnavailable(
                self._source.name, f"{self._file.filename} ended after {self._written} of {self._total} bytes"
            )

    def _accepted(self, answer: Answer) -> int:
        """Check the head of an answer; returns how many bytes of its body we have already."""
        name = self._source.name
        if answer.status not in (200, 206) or (answer.status == 206 and not self._written):
            problem = f"answered {answer.status} for {self._file.filename}"
            raise (UpstreamInvalid if answer.status in (404, 410) else UpstreamUnavailable)(name, problem)
        declared = _length(answer)
        if answer.status == 206:
            begins = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
            if begins != str(self._written):
                raise UpstreamInvalid(
                    name, f"sent another range of {self._file.filename} than it was asked for"
                )
            declared = None if declared is None else declared + self._written
        etag = answer.headers.get("ETag", "")
        self._validator = etag if etag.startswith('"') else None
        if declared is not None:
            if self._total is not None and declared != self._total:
                raise WrongSize(name, self._file.filename, promised=self._total, size=declared)
            self._total = declared
        if self._total is not None:
            self._check_limit(self._total)
        return self._written if answer.status == 200 else 0

    def _check_limit(self, size: int) -> None:
        if size > self._limits.max_bytes:
            problem = f"{self._file.filename} is over the limit of {self._limits.max_bytes} bytes"
            raise UpstreamInvalid(self._source.name, problem)

    def _take(self, fd: int, chunk: bytes) -> None:
        self._written += len(chunk)
        if self._total is not None and self._written > self._total:
            raise UpstreamInvalid(self._source.name, f"{self._file.filename} is longer than was declared")
        self._check_limit(self._written)
        view = memoryview(chunk)
        while view:
            view = view[os.write(fd, view) :]
        self._sha256.update(chunk)
        if self._other is not None:
            self._other.update(chunk)
        self._download.advance(self._written, self._total)

    def _verified(self) -> str:
        actual = self._sha256.hexdigest()
        if self._file.sha256 is not None and actual != self._file.sha256:
            raise DigestMismatch(self._file.filename, f"sha256 {self._file.sha256}", actual)
        if self._file.sha256 is None and self._other is not None:
            found = self._other.hexdigest()
            if found != self._other_expected:
                raise DigestMismatch(self._file.filename, self._file.digest or "", found)
        return actual


def _is(path: Path, inode: int) -> bool:
    try:
        return path.stat().st_ino == inode
    except FileNotFoundError:
        return False


def _length(answer: Answer) -> int | None:
    text = answer.headers.get("Content-Length", "")
    return (
        int(text)
        if text.isascii() and text.isdigit() and not answer.headers.get("Content-Encoding")
        else None
    )
