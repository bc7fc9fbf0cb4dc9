"""Small real archives, the same bytes each time: wheels that install, and sdists."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import random
import tarfile
import zipfile

#: The oldest time that a ZIP archive can express; any fixed time keeps the bytes the same.
_EPOCH = (1980, 1, 1, 0, 0, 0)

REQUIRES_PYTHON = ">=3.9"


def metadata(name: str, version: str, requires: tuple[str, ...] = ()) -> bytes:
    """METADATA (2.1) of a distribution that needs ``requires`` (PEP 508 strings)."""
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += ["Summary: A package of the benchmark", f"Requires-Python: {REQUIRES_PYTHON}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    return ("\n".join(lines) + "\n").encode()


def wheel(name: str, version: str, core: bytes, *, payload: int, tag: str = "py3-none-any") -> bytes:
    """A wheel with METADATA ``core`` and ``payload`` incompressible bytes, its RECORD right."""
    stem = name.replace("-", "_")
    info = f"{stem}-{version}.dist-info"
    tags = f"Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: {tag}\n"
    members = {
        f"{stem}/__init__.py": f'__version__ = "{version}"\n'.encode(),
        f"{stem}/payload.bin": random.Random(f"{name} {version} {tag}").randbytes(payload),
        f"{info}/METADATA": core,
        f"{info}/WHEEL": tags.encode(),
    }
    record = "".join(f"{path},sha256={_urlsafe(body)},{len(body)}\n" for path, body in members.items())
    members[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, body in members.items():
            archive.writestr(zipfile.ZipInfo(path, _EPOCH), body)
    return out.getvalue()


def sdist(name: str, version: str, core: bytes) -> bytes:
    """A ``.tar.gz`` that holds PKG-INFO ``core`` and a pyproject.toml."""
    top = f"{name.replace('-', '_')}-{version}"
    project = f'[project]\nname = "{name}"\nversion = "{version}"\n'
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, body in ((f"{top}/PKG-INFO", core), (f"{top}/pyproject.toml", project.encode())):
            member = tarfile.TarInfo(path)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    return gzip.compress(out.getvalue(), compresslevel=6, mtime=0)


def _urlsafe(body: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()
