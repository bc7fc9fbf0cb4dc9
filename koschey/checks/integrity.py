"""The check ``integrity``: whether the stored bytes are the ones that the upstream promised."""

from __future__ import annotations

import hashlib
from pathlib import Path

from koschey.checks.subject import Subject
from koschey.domain.checks import Finding, Outcome


def check(subject: Subject) -> Finding:
    """Compare size, SHA-256 and, where one is given, the other digest."""
    path = Path(subject.path)
    size = path.stat().st_size
    if subject.size is not None and size != subject.size:
        return _fail(f"its upstream promised {subject.size} bytes, and it has {size}")
    promised = [("sha256", subject.sha256)] if subject.sha256 else []
    if subject.digest is not None:
        algorithm, _, expected = subject.digest.partition(":")
        if algorithm not in hashlib.algorithms_guaranteed:
            return _fail(f"its upstream promised a digest of the unknown kind {algorithm[:40]!r}")
        promised.append((algorithm, expected))
    for algorithm, expected in promised:
        with path.open("rb") as file:
            actual = hashlib.file_digest(file, algorithm).hexdigest()
        if actual != expected.lower():
            return _fail(f"its upstream promised the {algorithm} {expected}, and it is {actual}")
    if not promised:
        return Finding("integrity", Outcome.WARN, "its upstream promised no digest to compare with")
    kinds = " and ".join(algorithm for algorithm, _ in promised)
    return Finding("integrity", Outcome.PASS, f"{size} bytes, {kinds} as promised")


def _fail(reason: str) -> Finding:
    return Finding("integrity", Outcome.FAIL, reason)
