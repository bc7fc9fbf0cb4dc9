"""What the scripted upstream publishes: projects and files, and their pages in both forms (PEP 503, 691)."""

from __future__ import annotations

import copy
import hashlib
import html
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from packaging.utils import canonicalize_name

from tests import artifacts

#: Value of a key of ``UpstreamFile.listed`` that the page shall leave out.
ABSENT: Any = object()
DEFAULT_TIME = "2026-01-02T03:04:05.123456Z"


@dataclass
class UpstreamFile:
    """One published file. Change any attribute at run time; ``listed`` overrides keys of its page entry.

    ``content`` is what is served and ``listed`` what is claimed, so that a test can make them disagree.
    """

    project: str
    filename: str
    content: bytes
    origin: str
    path: str
    version: str | None = None
    metadata: bytes | None = None
    provenance: Any = None
    requires_python: str | None = None
    yanked: bool | str = False
    upload_time: str | None = DEFAULT_TIME
    listed: dict[str, Any] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def url(self) -> str:
        return self.origin + quote(self.path)

    @property
    def provenance_path(self) -> str:
        return f"/integrity/{self.project}/{self.version}/{self.filename}/provenance"

    def entry(self) -> dict[str, Any]:
        """The file as a JSON page lists it."""
        entry: dict[str, Any] = {
            "filename": self.filename,
            "url": self.url,
            "hashes": {"sha256": self.sha256},
            "size": len(self.content),
            "yanked": self.yanked,
        }
        if self.upload_time is not None:
            entry["upload-time"] = self.upload_time
        if self.requires_python is not None:
            entry["requires-python"] = self.requires_python
        if self.metadata is not None:
            entry["core-metadata"] = {"sha256": hashlib.sha256(self.metadata).hexdigest()}
        if self.provenance is not None:
            entry["provenance"] = self.origin + quote(self.provenance_path)
        return {key: value for key, value in (entry | self.listed).items() if value is not ABSENT}


@dataclass
class Project:
    """A project of the scripted upstream. Its methods bump ``serial``; assigning attributes does not."""

    name: str
    origin: str
    file_path: Callable[[str, str, bytes], str]
    next_serial: Callable[[], Any]
    serial: Any = None
    files: dict[str, UpstreamFile] = field(default_factory=dict)
    status: str | None = None
    status_reason: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    """Further top-level keys of the JSON page."""
    _frozen: dict[str, Any] | None = None

    def release(
        self,
        version: str,
        *,
        wheel: bool = True,
        sdist: bool = False,
        requires: Sequence[str] = (),
        extras: Mapping[str, Sequence[str]] | None = None,
        requires_python: str | None = None,
        payload: bytes = b"",
        sidecar: bool = True,
        fields: Sequence[str] = (),
        description: str = "",
        **attributes: Any,
    ) -> UpstreamFile:
        """Publish a release; returns the wheel, or the sdist where there is no wheel.

        ``sidecar`` says whether the wheel's metadata is offered (PEP 658); ``attributes`` are those of
        UpstreamFile, such as ``yanked`` and ``upload_time``.
        """
        release = artifacts.Release(
            self.name, version, requires, extras, requires_python, "", payload, fields, description
        )
        made = [artifacts.wheel(release)] if wheel else []
        made += [artifacts.sdist(release)] if sdist else []
        common = {"version": version, "requires_python": requires_python} | attributes
        files = [
            self.add(
                artifact.filename,
                artifact.content,
                metadata=artifact.metadata if sidecar and artifact.filename.endswith(".whl") else None,
                **common,
            )
            for artifact in made
        ]
        return files[0]

    def add(self, filename: str, content: bytes, **attributes: Any) -> UpstreamFile:
        """Publish any bytes under any name: eggs, legacy spellings, hostile ones."""
        path = self.file_path(self.name, filename, content)
        self.files[filename] = UpstreamFile(self.name, filename, content, self.origin, path, **attributes)
        self.touch()
        return self.files[filename]

    def touch(self) -> None:
        """Something changed: the next serial."""
        self.serial = self.next_serial()

    def vanish(self, filename: str) -> None:
        """The file disappears from the page; its URL answers 404."""
        del self.files[filename]
        self.touch()

    def set_yanked(self, version: str, yanked: bool | str) -> None:
        """PEP 592, both ways, for every file of a release."""
        for file in self.files.values():
            if file.version == version:
                file.yanked = yanked
        self.touch()

    def set_status(self, status: str, reason: str | None = None) -> None:
        """PEP 792; like the real thing, a quarantined project lists no files, and still has them."""
        self.status, self.status_reason = status, reason
        self.touch()

    def freeze(self) -> None:
        """Go on serving the page of this moment, as a cache in front of an upstream may."""
        self._frozen = copy.deepcopy(self.document())

    def thaw(self) -> None:
        self._frozen = None

    def document(self) -> dict[str, Any]:
        """The JSON page (PEP 691, 700, 792)."""
        if self._frozen is not None:
            return self._frozen
        meta: dict[str, Any] = {"api-version": "1.4"}
        if self.serial is not None:
            meta["_last-serial"] = self.serial
        files = [] if self.status == "quarantined" else list(self.files.values())
        page: dict[str, Any] = {"meta": meta, "name": canonicalize_name(self.name)}
        page["versions"] = sorted({f.version for f in files if f.version is not None})
        page["files"] = [f.entry() for f in files]
        if self.status is not None:
            page["project-status"] = {"status": self.status}
            if self.status_reason is not None:
                page["project-status"]["reason"] = self.status_reason
        return page | self.extra


def as_json(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()


def project_as_html(document: dict[str, Any]) -> bytes:
    """The PEP 503 form of a JSON project page."""
    head = ['<meta name="pypi:repository-version" content="1.4">']
    status = document.get("project-status", {})
    for key, meta in (("status", "project-status"), ("reason", "project-status-reason")):
        if key in status:
            head.append(f'<meta name="pypi:{meta}" content="{html.escape(status[key])}">')
    anchors = "<br>\n".join(_anchor(entry) for entry in document["files"])
    return f"<!DOCTYPE html><html><head>{''.join(head)}</head><body>\n{anchors}\n</body></html>".encode()


def root_as_html(document: dict[str, Any]) -> bytes:
    names = [project["name"] for project in document["projects"]]
    anchors = "".join(f'<a href="{canonicalize_name(n)}/">{html.escape(n)}</a>\n' for n in names)
    return f"<!DOCTYPE html><html><body>\n{anchors}</body></html>".encode()


def _anchor(entry: dict[str, Any]) -> str:
    digest = next((f"#{name}={value}" for name, value in entry.get("hashes", {}).items()), "")
    attributes = {"href": entry["url"] + digest}
    if "requires-python" in entry:
        attributes["data-requires-python"] = entry["requires-python"]
    if entry.get("yanked"):
        attributes["data-yanked"] = "" if entry["yanked"] is True else entry["yanked"]
    if sidecar := entry.get("core-metadata"):
        value = "true" if sidecar is True else f"sha256={sidecar['sha256']}"
        attributes["data-core-metadata"] = attributes["data-dist-info-metadata"] = value
    if "provenance" in entry:
        attributes["data-provenance"] = entry["provenance"]
    written = " ".join(f'{name}="{html.escape(value)}"' for name, value in attributes.items())
    return f"<a {written}>{html.escape(entry['filename'])}</a>"
