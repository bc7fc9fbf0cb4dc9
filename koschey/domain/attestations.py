"""Attestations that come with an upload (PEP 740): their form, and the provenance document made of them."""

from __future__ import annotations

import base64
from typing import Annotated, Any

import msgspec

from koschey.errors import UploadInvalid

_STATEMENT = "https://in-toto.io/Statement/v1"
#: More are of no use to anybody: PEP 740 wants one of each kind of predicate.
_MOST = 10
_PUBLISHER = {"kind": "Koschey", "claims": None}


class _Material(msgspec.Struct):
    certificate: str
    transparency_entries: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)]


class _Envelope(msgspec.Struct):
    statement: str
    signature: str


class _Attestation(msgspec.Struct):
    version: int
    verification_material: _Material
    envelope: _Envelope


class _Subject(msgspec.Struct):
    name: str
    digest: dict[str, str]


class _Statement(msgspec.Struct):
    """An in-toto statement; its subject is the file that it speaks of."""

    type: str = msgspec.field(name="_type")
    subject: list[_Subject]
    predicate_type: str = msgspec.field(name="predicateType")


def provenance_of(attestations: str, filename: str, sha256: str) -> bytes:
    """The provenance document of a file, from the form field ``attestations``: a JSON array.

    Signatures are not checked: that is for the installer's side, against its own trust.

    Raises:
        UploadInvalid: they are none, or about another file.
    """
    try:
        given = msgspec.json.decode(attestations, type=list[msgspec.Raw])
        if not 0 < len(given) <= _MOST:
            raise _invalid(f"there are {len(given)} of them; 1 to {_MOST} are taken")
        kinds = [_checked(raw, filename, sha256) for raw in given]
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _invalid(f"they are not of the form of PEP 740 ({error})") from None
    if len(set(kinds)) != len(kinds):
        raise _invalid("two of them have the same predicateType")
    bundle = {"publisher": _PUBLISHER, "attestations": given}
    return msgspec.json.encode({"version": 1, "attestation_bundles": [bundle]})


def _checked(raw: msgspec.Raw, filename: str, sha256: str) -> str:
    """The kind of predicate of an attestation about that file."""
    attestation = msgspec.json.decode(raw, type=_Attestation)
    if attestation.version != 1:
        raise _invalid(f"one has version {attestation.version}, not 1")
    for encoded in (attestation.verification_material.certificate, attestation.envelope.signature):
        base64.b64decode(encoded, validate=True)
    body = base64.b64decode(attestation.envelope.statement, validate=True)
    statement = msgspec.json.decode(body, type=_Statement)
    if statement.type != _STATEMENT:
        raise _invalid("the statement in one is not in-toto's version 1")
    if len(statement.subject) != 1:
        raise _invalid(f"one is about {len(statement.subject)} files, not one")
    subject = statement.subject[0]
    if subject.name != filename or subject.digest.get("sha256", "").lower() != sha256:
        raise _invalid(f"one is not about {filename} with these bytes")
    return statement.predicate_type


def _invalid(problem: str) -> UploadInvalid:
    return UploadInvalid("attestations-invalid", f"the attestations cannot be taken: {problem}")
