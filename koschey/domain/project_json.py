"""A project as the JSON API of the public index has it: what mirroring programs and older tools ask for.

The API is documented by the public index and has no PEP. ``/pypi/NAME/json`` describes the newest release
and lists all of them, ``/pypi/NAME/VERSION/json`` describes one. Files without a digest, a size or a time
are left out: every reader of this form takes those for granted. The Simple API has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from typing import Any
from urllib.parse import quote

import msgspec
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from koschey.domain.decisions import canonical
from koschey.domain.page import ListedFile, ProjectPage

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS = {".whl": "bdist_wheel", ".egg": "bdist_egg", ".exe": "bdist_wininst", ".rpm": "bdist_rpm"}
#: Core metadata with one value, as the API names it.
_SINGLE = (
    "summary", "description", "description-content-type", "keywords", "home-page", "download-url", "author",
    "author-email", "maintainer", "maintainer-email", "license", "license-expression",
)  # fmt: skip
_MANY = {"classifiers": "classifier", "requires_dist": "requires-dist", "provides_extra": "provides-extra"}


def newest(page: ProjectPage, version: str | None) -> list[ListedFile]:
    """The files of a version in any spelling, or of the newest one: a final one that is not yanked first."""
    listed = usable(page)
    if version is not None:
        return [file for file in listed if file.version and canonical(file.version) == canonical(version)]
    best = max(listed, key=_rank, default=None)
    return [] if best is None else [file for file in listed if file.version == best.version]


def usable(page: ProjectPage) -> list[ListedFile]:
    """The files that this form can list."""
    if page.status == "quarantined":  # PEP 792
        return []
    return [
        file for file in page.files if None not in (file.version, file.sha256, file.size, file.upload_time)
    ]


def render_project_json(
    page: ProjectPage,
    version: str | None,
    base_url: str,
    metadata: bytes | None,
) -> bytes:
    """The document of a project, or of one of its versions.

    Args:
        base_url: scheme, host, mount prefix and index of the public URLs, without a slash at its end.
        metadata: METADATA of one of the described files, if it is at hand.
    """
    described = newest(page, version)
    document: dict[str, Any] = {
        "info": _info(page, described, base_url, metadata),
        "last_serial": page.serial,
        "urls": [_file(file, base_url) for file in described],
        "vulnerabilities": [],
    }
    if version is None:
        releases: dict[str, list[dict[str, Any]]] = {}
        for file in sorted(usable(page), key=lambda file: (_order(file.version), file.filename)):
            releases.setdefault(file.version or "", []).append(_file(file, base_url))
        document["releases"] = releases
    return msgspec.json.encode(document)


def _info(
    page: ProjectPage, described: Sequence[ListedFile], base_url: str, metadata: bytes | None
) -> dict[str, Any]:
    name = canonicalize_name(page.name)
    first = described[0] if described else None
    said = _metadata(metadata)
    yanked = bool(described) and all(file.yanked for file in described)
    reasons = [file.yanked for file in described if isinstance(file.yanked, str)]
    return said | {
        "name": name,
        "version": "" if first is None else first.version,
        "requires_python": None if first is None else first.requires_python,
        "yanked": yanked,
        "yanked_reason": reasons[0] if yanked and reasons else None,
        "project_url": f"{base_url}/simple/{name}/",
        "package_url": f"{base_url}/simple/{name}/",
        "project_status": {"status": page.status, "reason": page.status_reason},
    }


def _metadata(metadata: bytes | None) -> dict[str, Any]:
    """What the core metadata say, by the API's names; nothing of it is checked."""
    message = message_from_bytes(metadata or b"", policy=policy.compat32)
    said: dict[str, Any] = {}
    for field in _SINGLE:
        said[field.replace("-", "_")] = _text(message.get(field))
    if not said["description"]:
        body = message.get_payload()
        said["description"] = body if isinstance(body, str) and body else None
    for key, field in _MANY.items():
        said[key] = [_text(value) for value in message.get_all(field, [])]
    urls: Mapping[str, str] = dict(
        (part.strip() for part in str(value).split(",", 1))  # type: ignore[misc]
        for value in message.get_all("project-url", [])
        if "," in str(value)
    )
    return said | {"project_urls": urls or None}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _file(file: ListedFile, base_url: str) -> dict[str, Any]:
    assert file.upload_time is not None
    uploaded = _EPOCH + timedelta(microseconds=file.upload_time)
    metadata = {"sha256": file.core_metadata} if isinstance(file.core_metadata, str) else file.core_metadata
    return {
        "comment_text": "",
        "core-metadata": metadata,
        "digests": {"sha256": file.sha256},
        "downloads": -1,
        "filename": file.filename,
        "has_sig": False,
        "packagetype": _KINDS.get(file.filename[-4:].lower(), "sdist"),
        "python_version": _python(file.filename),
        "requires_python": file.requires_python,
        "size": file.size,
        "upload_time": uploaded.strftime("%Y-%m-%dT%H:%M:%S"),
        "upload_time_iso_8601": uploaded.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "url": base_url + quote(file.path, safe="/+!"),
        "yanked": bool(file.yanked),
        "yanked_reason": file.yanked if isinstance(file.yanked, str) else None,
    }


def _python(filename: str) -> str:
    try:
        _, _, _, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return "source"
    return ".".join(sorted({tag.interpreter for tag in tags}))


def _order(version: str | None) -> tuple[bool, Version, str]:
    try:
        return True, Version(version or ""), version or ""
    except InvalidVersion:
        return False, Version("0"), version or ""


def _rank(file: ListedFile) -> tuple[bool, bool, tuple[bool, Version, str]]:
    order = _order(file.version)
    return not file.yanked, order[0] and not order[1].is_prerelease, order
