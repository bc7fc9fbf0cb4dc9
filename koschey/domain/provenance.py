"""Provenance documents (PEP 740), as far as their form and what they speak of can be checked."""

from __future__ import annotations

import base64

import msgspec


class _Envelope(msgspec.Struct):
    statement: str


class _Attestation(msgspec.Struct):
    envelope: _Envelope


class _Bundle(msgspec.Struct):
    attestations: list[_Attestation]


class _Provenance(msgspec.Struct):
    version: int
    attestation_bundles: list[_Bundle]


class _Subject(msgspec.Struct):
    digest: dict[str, str] = {}


class _Statement(msgspec.Struct):
    """An in-toto statement; its subjects are the files that it speaks of."""

    subject: list[_Subject] = []


def provenance_problem(body: bytes, sha256: str | None) -> str | None:
    """What is wrong with a provenance document for the file of that digest; None when nothing is.

    Signatures are not checked: they are for the installer's side, against its own trust.
    """
    try:
        document = msgspec.json.decode(body, type=_Provenance)
        for bundle in document.attestation_bundles:
            for attestation in bundle.attestations:
                raw = base64.b64decode(attestation.envelope.statement, validate=True)
                statement = msgspec.json.decode(raw, type=_Statement)
                digests = {subject.digest.get("sha256") for subject in statement.subject}
                if sha256 is not None and sha256 not in digests:
                    return "is about other bytes"
    except (msgspec.DecodeError, ValueError, RecursionError):  # ValueError: base64 and UTF-8 that are none
        return "is no PEP 740 document"
    return None if document.version == 1 else f"has version {document.version}, not 1"
