"""A file of an upstream's page as columns of its row: those that never change, and those that may."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any
from urllib.parse import unquote

from koschey.domain.page import UpstreamFile

#: ``/packages/<2>/<2>/<60 hex>/<filename>``: a path that is ours as well when an upstream has it.
_CANONICAL_FOLDER = re.compile(r"/packages/[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60}/")
_BEFORE_NAME = len("/packages/") + len("xx/xx/") + 60 + len("/")


def public_path(file: UpstreamFile, source_id: int) -> str:
    """The path that a file keeps for ever: the upstream's own where it has our form, else from a digest."""
    url, _, _ = file.url.partition("?")
    if "%" in url:
        url = unquote(url)
    tail = url[-_BEFORE_NAME - len(file.filename) :]
    if tail.endswith(file.filename) and _CANONICAL_FOLDER.fullmatch(tail, 0, _BEFORE_NAME):
        return tail
    digest = file.sha256 or sha256(f"{source_id} {file.url}".encode()).hexdigest()
    return f"/packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{file.filename}"


def fixed(file: UpstreamFile, source_id: int) -> dict[str, Any]:
    """Columns that a row keeps for ever."""
    return {
        "filename": file.filename,
        "path": public_path(file, source_id),
        "version": file.version,
        "sha256": file.sha256,
    }


def mutable(file: UpstreamFile) -> dict[str, Any]:
    """Columns that follow what the upstream says."""
    return {
        "url": file.url,
        "digest": file.digest,
        "size": file.size,
        "upload_time": file.upload_time,
        "requires_python": file.requires_python,
        "yanked": file.yanked is not False,
        "yanked_reason": file.yanked if isinstance(file.yanked, str) else None,
        "metadata_advertised": file.core_metadata is not False,
        "metadata_sha256": file.core_metadata if isinstance(file.core_metadata, str) else None,
        "provenance_url": file.provenance,
    }


def other_bytes(row: dict[str, Any], file: UpstreamFile) -> bool:
    """Whether the upstream now promises other bytes than the row has (HARDENING invariant 3)."""
    if row["sha256"] is not None and file.sha256 is not None:
        return bool(row["sha256"] != file.sha256)
    if row["digest"] is not None and file.digest is not None:
        same_algorithm = row["digest"].partition(":")[0] == file.digest.partition(":")[0]
        return same_algorithm and bool(row["digest"] != file.digest)
    return False
