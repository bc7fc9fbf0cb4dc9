"""Archives that no honest tool writes are refused as uploads, whatever is wrong with them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.artifacts import Artifact, Release
from tests.checks.test_sdists import HOSTILE as HOSTILE_SDISTS
from tests.checks.test_wheels import HOSTILE as HOSTILE_WHEELS
from tests.hostile_archives import (
    INFO,
    RELEASE,
    SDIST_NAME,
    WHEEL_NAME,
    Entry,
    Member,
    sdist_of,
    wheel_contents,
    wheel_entries,
    zip_of,
)
from tests.uploads.conftest import House, reason

WHEEL = Artifact(WHEEL_NAME, b"", RELEASE.metadata)
SDIST = Artifact(SDIST_NAME, b"", RELEASE.metadata)
CASES = [
    *((name, WHEEL, build, check, said) for name, (check, build, said) in HOSTILE_WHEELS.items()),
    *((name, SDIST, build, check, said) for name, (check, build, said) in HOSTILE_SDISTS.items()),
]


@pytest.mark.parametrize(
    ("file", "build", "check", "said"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_hostile_archive(house: House, file: Artifact, build: object, check: str, said: str) -> None:
    content = build()  # type: ignore[operator]
    answer = house.upload(replace(file, content=content))
    # Some are larger than what this house takes at all.
    assert answer.status_code in (400, 413), answer.text
    if answer.status_code == 400 and check == "archive":
        assert said[:40] in answer.json["detail"] or answer.json["code"] != "file-unsound", answer.json
    assert house.rows("SELECT 1 FROM project WHERE name = 'acme'") == []
    assert house.spooled() == []


def with_metadata(text: bytes) -> bytes:
    return zip_of(wheel_entries(contents=wheel_contents() | {f"{INFO}/METADATA": text}))


HEAD = b"Metadata-Version: 2.2\nName: acme\nVersion: 1.0\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"Name: acme\nVersion: 1.0\n", "metadata-version is missing"),
        (HEAD + b"Name: acme\n", "name is there twice"),
        (HEAD + b"Requires-Dist: a b c\n", "'a b c' is invalid"),
        (HEAD + b"Requires-Python: three\n", "'three' is invalid"),
        (HEAD + b"Summary: a\nSummary: b\n", "summary is there twice"),
        (HEAD + b"\n\xff\xfe\n", "description is there twice, or cannot be read"),
        (HEAD.replace(b"acme", b"other"), "the metadata in the file is other's"),
        (HEAD.replace(b"1.0", b"1.1"), "the metadata in the file says version 1.1"),
        (HEAD.replace(b"1.0", b"9" * 5000), "version has 5000 characters"),
        (HEAD.replace(b"2.2", b"2.0"), "'2.0' is not a valid metadata version"),
    ],
)
def test_metadata_that_is_not_valid_or_another_ones(house: House, text: bytes, said: str) -> None:
    for file, content in (
        (WHEEL, with_metadata(text)),
        (SDIST, sdist_of([Member("acme-1.0/PKG-INFO", text)])),
    ):
        answer = house.upload(replace(file, content=content))
        assert answer.status_code == 400
        assert said in answer.json["detail"]


def test_metadata_with_fields_from_elsewhere_is_valid(house: House) -> None:
    name = house.new_name()
    release = Release(name, "1.0")
    text = release.metadata + b"Author: UNKNOWN\nX-Own: 1\nLicense-File: LICENSE\n"
    info = f"{release.stem}.dist-info"
    contents = {
        (key.replace(INFO, info)): (text if key.endswith("METADATA") else data)
        for key, data in wheel_contents().items()
    }
    entries = [Entry(key, data) for key, data in contents.items()]
    from tests.hostile_archives import record_of

    record = record_of(contents).replace(INFO.encode(), info.encode())
    content = zip_of([*entries, Entry(f"{info}/RECORD", record)])
    file = Artifact(f"{release.stem}-py3-none-any.whl", content, release.metadata)
    assert house.upload(file).status_code == 200


@pytest.mark.parametrize("folder", ["other-1.0", "acme-1.1", "acme", "acme-1.0-2"])
def test_a_dist_info_folder_of_another_name_or_version(house: House, folder: str) -> None:
    contents = {key.replace(INFO, f"{folder}.dist-info"): data for key, data in wheel_contents().items()}
    from tests.hostile_archives import record_of

    record = record_of(contents).replace(INFO.encode(), f"{folder}.dist-info".encode())
    entries = [*(Entry(k, d) for k, d in contents.items()), Entry(f"{folder}.dist-info/RECORD", record)]
    answer = house.upload(replace(WHEEL, content=zip_of(entries)))
    assert answer.status_code == 400
    assert "dist-info folder is" in reason(answer)
