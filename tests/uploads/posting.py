"""Uploads as clients send them, and as no client should."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.parser import BytesParser
from typing import Any

from urllib3.filepost import encode_multipart_formdata

from tests.artifacts import Artifact

#: A value that takes a field out of the form.
ABSENT = None
Parts = Sequence[tuple[str, Any]]


def basic(token: str, user: str = "__token__") -> dict[str, str]:
    """The header by which a token signs in."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()}


def form_of(file: Artifact, **fields: str | None) -> list[tuple[str, Any]]:
    """The form that a client would send with a file; ``fields`` are put in place of its own.

    ``content`` comes last; ``action`` stands for ``:action``, ``filename`` for that of the file.
    """
    said = BytesParser().parsebytes(file.metadata)
    sdist = file.filename.endswith(".tar.gz")
    values: dict[str, str | None] = {
        ":action": "file_upload",
        "protocol_version": "1",
        "filetype": "sdist" if sdist else "bdist_wheel",
        "pyversion": "source" if sdist else "py3",
        "metadata_version": said["Metadata-Version"],
        "name": said["Name"],
        "version": said["Version"],
        "sha256_digest": file.sha256,
        "md5_digest": hashlib.md5(file.content).hexdigest(),
        "blake2_256_digest": hashlib.blake2b(file.content, digest_size=32).hexdigest(),
    }
    if said["Requires-Python"]:
        values["requires_python"] = said["Requires-Python"]
    filename = fields.pop("filename", file.filename)
    if "action" in fields:
        fields[":action"] = fields.pop("action")
    values |= fields
    parts: list[tuple[str, Any]] = [(name, value) for name, value in values.items() if value is not ABSENT]
    return [*parts, ("content", (filename, file.content))]


def encoded(parts: Parts) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a request with these parts."""
    body, content_type = encode_multipart_formdata(list(parts))
    return body, {"Content-Type": content_type}


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    reason: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
