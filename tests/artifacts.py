"""Small real wheels and sdists, built in memory: every installer can install them."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from packaging.utils import canonicalize_name
from packaging.version import Version

#: A build backend without dependencies that travels inside the sdist (PEP 517, ``backend-path``).
_BACKEND = """\
import base64, hashlib, pathlib, zipfile

WHEEL = "Wheel-Version: 1.0\\nGenerator: in-tree\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"


def _fields():
    lines = pathlib.Path("PKG-INFO").read_text().split("\\n\\n")[0].splitlines()
    return dict(line.split(": ", 1) for line in lines)


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    fields = _fields()
    stem = fields["Name"].replace("-", "_") + "-" + fields["Version"]
    module = fields["Name"].replace("-", "_") + ".py"
    contents = {
        module: pathlib.Path(module).read_text(),
        stem + ".dist-info/METADATA": pathlib.Path("PKG-INFO").read_text(),
        stem + ".dist-info/WHEEL": WHEEL,
    }
    record = ""
    with zipfile.ZipFile(pathlib.Path(wheel_directory, stem + "-py3-none-any.whl"), "w") as archive:
        for name, text in contents.items():
            archive.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(text.encode())}\\n"
        archive.writestr(stem + ".dist-info/RECORD", record + stem + ".dist-info/RECORD,,\\n")
    return stem + "-py3-none-any.whl"
"""


@dataclass(frozen=True)
class Artifact:
    """A distribution file: its name, its bytes, and its METADATA or PKG-INFO."""

    filename: str
    content: bytes
    metadata: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Release:
    """What the metadata of one release says.

    ``requires`` are PEP 508 strings; ``extras`` maps an extra's name to its own; ``payload`` is a data
    file for weight.
    """

    name: str
    version: str
    requires: Sequence[str] = ()
    extras: Mapping[str, Sequence[str]] | None = None
    requires_python: str | None = None
    summary: str = ""
    payload: bytes = b""
    fields: Sequence[str] = ()
    """Further header lines of the metadata, as they are."""
    description: str = ""
    """Its body."""

    @property
    def stem(self) -> str:
        """Name and version as the binary distribution format escapes them."""
        return f"{self.module}-{Version(self.version)}"

    @property
    def module(self) -> str:
        return canonicalize_name(self.name).replace("-", "_")

    @property
    def metadata(self) -> bytes:
        """Core metadata 2.2: nothing in it is dynamic, so nobody needs to build the sdist to read it."""
        lines = ["Metadata-Version: 2.2", f"Name: {self.name}", f"Version: {self.version}"]
        lines += [f"Summary: {self.summary}"] if self.summary else []
        lines += [f"Requires-Python: {self.requires_python}"] if self.requires_python else []
        lines += [f"Requires-Dist: {r}" for r in self.requires]
        for extra, requires in (self.extras or {}).items():
            lines.append(f"Provides-Extra: {extra}")
            lines += [f"Requires-Dist: {r}; extra == '{extra}'" for r in requires]
        lines += self.fields
        lines += ["", self.description] if self.description else []
        return ("\n".join(lines) + "\n").encode()

    @property
    def source(self) -> bytes:
        return f"VERSION = {self.version!r}\n".encode()


def wheel(release: Release, *, tag: str = "py3-none-any") -> Artifact:
    """A wheel with METADATA, WHEEL and a true RECORD; the same release gives the same bytes."""
    info = f"{release.stem}.dist-info"
    contents = {
        f"{release.module}.py": release.source,
        f"{info}/METADATA": release.metadata,
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    if release.payload:
        contents[f"{release.module}.bin"] = release.payload
    record = "".join(f"{name},sha256={_urlsafe(data)},{len(data)}\n" for name, data in contents.items())
    contents[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in contents.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data)
    return Artifact(f"{release.stem}-{tag}.whl", buffer.getvalue(), release.metadata)


def sdist(release: Release) -> Artifact:
    """A ``.tar.gz`` (PEP 625) that builds offline with the backend it carries."""
    pyproject = '[build-system]\nrequires = []\nbuild-backend = "in_tree_backend"\nbackend-path = ["."]\n'
    contents = {
        "PKG-INFO": release.metadata,
        "pyproject.toml": pyproject.encode(),
        "in_tree_backend.py": _BACKEND.encode(),
        f"{release.module}.py": release.source,
    }
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, data in contents.items():
            member = tarfile.TarInfo(f"{release.stem}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return Artifact(f"{release.stem}.tar.gz", buffer.getvalue(), release.metadata)


def _urlsafe(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
