"""The METADATA of a wheel, read by a process that can be killed; nothing of the package is ever run.

Run as ``python -m koschey.checks.wheel_metadata``, it answers one request a line: in goes the path of a
wheel, its file name and the path to write to, out comes ``{"problem": null}`` or what is wrong with it.
It needs the standard library only, so that it starts quickly and stays small.
"""

from __future__ import annotations

import json
import os
import re
import resource
import select
import sys
import zipfile
from typing import IO

MAX_METADATA_BYTES = 16 * 2**20
_MAX_ENTRIES = 100_000
_MAX_ADDRESS_SPACE = 2**30
_IDLE_SECONDS = 20.0


class WheelInvalid(ValueError):
    """The archive is no wheel whose METADATA could be believed; the text says why."""


def read_metadata(path: str, filename: str) -> bytes:
    """The METADATA of the wheel at ``path``, which is published as ``filename``.

    Raises:
        WheelInvalid: no zip archive, no METADATA or more than one, over the limits.
    """
    name, _, version = "-".join(filename.split("-")[:2]).partition("-")
    try:
        with zipfile.ZipFile(path) as archive:
            if len(archive.infolist()) > _MAX_ENTRIES:
                raise WheelInvalid(f"it has more than {_MAX_ENTRIES} entries")
            entry = _metadata_entry(archive, name, version)
            if entry.file_size > MAX_METADATA_BYTES:
                raise WheelInvalid(f"its METADATA is over {MAX_METADATA_BYTES} bytes")
            with archive.open(entry) as metadata:
                body = metadata.read(MAX_METADATA_BYTES + 1)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, MemoryError) as error:
        raise WheelInvalid(f"it cannot be read: {error or type(error).__name__}") from error
    if len(body) > MAX_METADATA_BYTES:
        raise WheelInvalid(f"its METADATA is over {MAX_METADATA_BYTES} bytes")
    return body


def _metadata_entry(archive: zipfile.ZipFile, name: str, version: str) -> zipfile.ZipInfo:
    """The one ``<name>-<version>.dist-info/METADATA`` at the top, of this project."""
    found = [e for e in archive.infolist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", e.filename)]
    if len(found) != 1:
        raise WheelInvalid(f"it has {len(found)} dist-info folders with METADATA, not one")
    folder = found[0].filename.partition("/")[0].removesuffix(".dist-info")
    if _normalized(folder.partition("-")[0]) != _normalized(name):
        raise WheelInvalid(f"its dist-info folder is {folder}'s, the file is {name}-{version}'s")
    return found[0]


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _answer(request: dict[str, str]) -> str | None:
    """Do one request; returns the problem, if there is one."""
    try:
        body = read_metadata(request["path"], request["filename"])
    except WheelInvalid as error:
        return str(error)
    with open(request["out"], "wb") as out:  # noqa: PTH123 - pathlib is half of this process's start
        out.write(body)
    return None


def serve(requests: IO[str], answers: IO[str]) -> None:
    """Answer requests until there are no more, or none came for a while."""
    while select.select([requests], [], [], _IDLE_SECONDS)[0]:
        line = requests.readline()
        if not line:
            return
        answers.write(json.dumps({"problem": _answer(json.loads(line))}) + "\n")
        answers.flush()


if __name__ == "__main__":
    os.nice(10)  # whoever waits for a file goes first
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_ADDRESS_SPACE, _MAX_ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    serve(sys.stdin, sys.stdout)
