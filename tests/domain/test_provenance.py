"""Provenance documents: whatever an upstream sends has an answer."""

import json
from base64 import b64encode

import pytest

from koschey.domain.provenance import provenance_problem

SHA256 = "ab" * 32


def document(statement: str, version: int = 1) -> bytes:
    bundles = [{"attestations": [{"envelope": {"statement": statement}}]}]
    return json.dumps({"version": version, "attestation_bundles": bundles}).encode()


def about(sha256: bytes) -> str:
    return b64encode(b'{"subject": [{"digest": {"sha256": "%s"}}]}' % sha256).decode()


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (document(about(SHA256.encode())), None),
        (document(about(b"cd" * 32)), "is about other bytes"),
        (document(about(SHA256.encode()), version=2), "has version 2, not 1"),
        (document(about(b"\xff")), "is no PEP 740 document"),
        (document("\u00e9"), "is no PEP 740 document"),
        (document("e30"), "is no PEP 740 document"),
        (b"\xff", "is no PEP 740 document"),
        (b"[" * 100_000, "is no PEP 740 document"),
    ],
    ids=["right", "other", "version", "statement not UTF-8", "not ASCII", "not base64", "no text", "deep"],
)
def test_a_document_is_right_or_has_a_problem(body: bytes, problem: str | None) -> None:
    assert provenance_problem(body, SHA256) == problem
