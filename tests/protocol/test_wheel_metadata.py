"""What stands in the wheel counts, and looking into a hostile one harms nothing (PEP 658, 714, 740)."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Callable, Mapping

import pytest

from tests.fake_upstream import FakeUpstream
from tests.protocol.asking import (
    PROVENANCE,
    download,
    entry,
    file_url,
    filenames,
    get,
    logged,
)
from tests.running import Running, eventually
from tests.upstream_pages import Project

ZEROS = bytes(64 << 20)
METADATA = b"Metadata-Version: 2.1\nName: x\nVersion: 1.0\n"


def test_a_sidecar_that_differs_from_the_wheel_hides_it_and_only_the_wheels_own_is_ever_served_again(
    eager: Running, project: Project
) -> None:
    wheel = project.release("1.0", requires=["needed"])
    own, lie = wheel.metadata, METADATA + b"Requires-Dist: something-else\n"
    wheel.metadata = lie
    url = file_url(eager, wheel)
    assert download(url + ".metadata").content == lie, "nothing better is known before the wheel is here"

    assert download(url).content == wheel.content

    digest = hashlib.sha256(own or b"").hexdigest()
    eventually(lambda: filenames(eager, project.name) == [])
    assert download(url).status_code == download(url + ".metadata").status_code == 403
    eager.cli(
        "quarantine", "approve", f"{project.name}==1.0", "--reason", "it is the wheel that counts", "--yes"
    )
    assert entry(eager, wheel)["core-metadata"] == {"sha256": digest}
    assert download(url + ".metadata").content == own
    [alarm] = logged(eager, "file.metadata_differs", filename=wheel.filename)
    assert (alarm["promised"], alarm["wheel"]) == (hashlib.sha256(lie).hexdigest(), digest)
    project.release("1.1")  # the next page says the same lie again
    assert entry(eager, wheel)["core-metadata"] == {"sha256": digest}


def _zip(entries: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _bomb(stem: str) -> bytes:
    return _zip({f"{stem}.dist-info/METADATA": ZEROS})


def _bomb_that_lies(stem: str) -> bytes:
    """The same, with a size of 100 bytes in both of its headers."""
    size, lie = struct.pack("<L", len(ZEROS)), struct.pack("<L", 100)
    return _bomb(stem).replace(size, lie)


def _two_projects(stem: str) -> bytes:
    return _zip({f"{stem}.dist-info/METADATA": METADATA, "other-1.0.dist-info/METADATA": METADATA})


def _another_project(_stem: str) -> bytes:
    return _zip({"other-1.0.dist-info/METADATA": METADATA})


def _no_metadata(stem: str) -> bytes:
    return _zip({f"{stem}.dist-info/WHEEL": b"Wheel-Version: 1.0\n"})


def _encrypted(stem: str) -> bytes:
    """Flagged as encrypted in both headers."""
    content = bytearray(_zip({f"{stem}.dist-info/METADATA": METADATA}))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    return bytes(content)


HOSTILE_WHEELS: dict[str, Callable[[str], bytes]] = {
    "bomb": _bomb,
    "bomb that lies": _bomb_that_lies,
    "two projects": _two_projects,
    "another project": _another_project,
    "no metadata": _no_metadata,
    "encrypted": _encrypted,
    "no zip": lambda _: b"not a zip archive" * 100,
    "cut short": lambda stem: _two_projects(stem)[:-30],
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("make", HOSTILE_WHEELS.values(), ids=HOSTILE_WHEELS)
def test_a_hostile_wheel_is_hidden_once_it_is_looked_into_and_that_harms_nothing(
    eager: Running, project: Project, make: Callable[[str], bytes]
) -> None:
    stem = f"{project.name.replace('-', '_')}-1.0"
    hostile = project.add(f"{stem}-py3-none-any.whl", make(stem), version="1.0")
    url = file_url(eager, hostile)

    assert download(url).content == hostile.content

    [refused] = eventually(lambda: logged(eager, "file.no_metadata", filename=hostile.filename))
    assert refused["problem"]
    eventually(lambda: filenames(eager, project.name) == [])
    assert download(url).status_code == download(url + ".metadata").status_code == 403
    sound = project.release("1.1", sidecar=False)
    download(file_url(eager, sound))
    eventually(lambda: entry(eager, sound).get("core-metadata"))
    assert filenames(eager, project.name) == [sound.filename]


def test_provenance_about_other_bytes_is_neither_passed_on_nor_kept(
    eager: Running, upstream: FakeUpstream, project: Project
) -> None:
    wheel = project.release("1.0", provenance={})
    wheel.provenance = _provenance("0" * 64)
    url = entry(eager, wheel)["provenance"]

    for _ in range(2):
        answer = get(url, Accept=PROVENANCE)
        assert answer.status_code == 502
        assert "other bytes" in answer.json()["detail"]
    assert upstream.count(wheel.filename + ".provenance") == 2

    wheel.provenance = _provenance(wheel.sha256)
    assert get(url, Accept=PROVENANCE).json() == wheel.provenance
    assert get(url, Accept=PROVENANCE).json() == wheel.provenance
    assert upstream.count(wheel.filename + ".provenance") == 3


def _provenance(sha256: str) -> dict[str, object]:
    """A document with one attestation about the bytes of that digest."""
    statement = {"_type": "statement", "subject": [{"name": "x", "digest": {"sha256": sha256}}]}
    envelope = {"statement": base64.b64encode(json.dumps(statement).encode()).decode(), "signature": ""}
    attestation = {"version": 1, "envelope": envelope, "verification_material": {}}
    bundle = {"publisher": {"kind": "x"}, "attestations": [attestation]}
    return {"version": 1, "attestation_bundles": [bundle]}
