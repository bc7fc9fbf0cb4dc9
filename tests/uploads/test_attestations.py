"""Attestations that come with an upload (PEP 740): kept and served if they are about this very file."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.artifacts import Artifact
from tests.uploads.conftest import House

INTEGRITY = "application/vnd.pypi.integrity.v1+json"
PUBLISH = "https://attestations.example/publish/v1"


def encoded(value: object) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def attestation(
    file: Artifact, *, predicate: str = PUBLISH, statement: dict[str, Any] | None = None
) -> dict[str, Any]:
    said = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": file.filename, "digest": {"sha256": file.sha256}}],
        "predicateType": predicate,
        "predicate": None,
    }
    return {
        "version": 1,
        "verification_material": {"certificate": encoded("x"), "transparency_entries": [{"logIndex": "1"}]},
        "envelope": {"statement": encoded(said | (statement or {})), "signature": encoded("signed")},
    }


def test_attestations_are_served_with_the_file(house: House) -> None:
    file = house.wheel(name := house.new_name())
    given = [attestation(file), attestation(file, predicate="https://slsa.dev/provenance/v1")]
    assert house.upload(file, attestations=json.dumps(given)).status_code == 200
    [entry] = house.page(name)["files"]
    path = entry["provenance"].removeprefix("http://localhost")
    assert path == f"/integrity/{name}/1.0/{file.filename}/provenance"
    answer = house.app.test_client().get(path, headers={"Accept": INTEGRITY})
    assert answer.content_type == INTEGRITY
    document = answer.json
    assert document["version"] == 1
    [bundle] = document["attestation_bundles"]
    assert bundle["attestations"] == given
    assert bundle["publisher"]["kind"] == "Koschey"


def test_a_file_without_attestations_has_no_provenance(house: House) -> None:
    file = house.wheel(name := house.new_name())
    house.upload(file)
    [entry] = house.page(name)["files"]
    assert entry.get("provenance") is None
    path = f"/integrity/{name}/1.0/{file.filename}/provenance"
    assert house.app.test_client().get(path, headers={"Accept": INTEGRITY}).status_code == 404


def changed(**changes: Any) -> Callable[[Artifact], list[dict[str, Any]]]:
    return lambda file: [attestation(file) | changes]


def about(**statement: Any) -> Callable[[Artifact], list[dict[str, Any]]]:
    return lambda file: [attestation(file, statement=statement)]


#: What is said in place of a right attestation, and words of the reason.
WRONG: dict[str, tuple[Callable[[Artifact], Any], str]] = {
    "other bytes": (
        lambda file: [
            attestation(
                file, statement={"subject": [{"name": file.filename, "digest": {"sha256": "0" * 64}}]}
            )
        ],
        "is not about",
    ),
    "other name": (
        lambda file: [
            attestation(file, statement={"subject": [{"name": "x.whl", "digest": {"sha256": file.sha256}}]})
        ],
        "is not about",
    ),
    "no subject": (about(subject=[]), "about 0 files"),
    "other kind of statement": (about(_type="x"), "in-toto's version 1"),
    "version 2": (changed(version=2), "has version 2"),
    "no envelope": (changed(envelope=None), "not of the form of PEP 740"),
    "no log entry": (
        changed(verification_material={"certificate": "", "transparency_entries": []}),
        "not of the form of PEP 740",
    ),
    "not base64": (changed(envelope={"statement": "?", "signature": ""}), "not of the form of PEP 740"),
    "no list": (lambda file: attestation(file), "not of the form of PEP 740"),
    "twice the same kind": (lambda file: [attestation(file)] * 2, "the same predicateType"),
    "eleven": (lambda file: [attestation(file)] * 11, "there are 11 of them"),
}


@pytest.mark.parametrize("name", WRONG)
def test_attestations_that_are_refused(house: House, name: str) -> None:
    make, words = WRONG[name]
    file = house.wheel()
    answer = house.upload(file, attestations=json.dumps(make(file)))
    assert answer.status_code == 400
    assert words in answer.json["detail"]
    assert answer.json["code"] == "attestations-invalid"
    assert house.rows("SELECT 1 FROM file WHERE filename = :f", f=file.filename) == []


def test_attestations_of_deep_nesting_crash_nothing(house: House) -> None:
    assert house.upload(house.wheel(), attestations="[" * 100_000).status_code == 400
