"""Care of what is stored."""

from __future__ import annotations

import structlog

from koschey.stores.blobs import BlobStore

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def sweep_spool(store: BlobStore, longest_transfer: float) -> None:
    """Remove what killed processes left half-way; nothing that a transfer of so many seconds may still write.

    Raises:
        StoreUnavailable: the spool folder cannot be read.
    """
    removed = store.sweep_spool(2 * longest_transfer)
    if removed:
        log.info("spool.swept", files=removed)
