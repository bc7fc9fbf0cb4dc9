"""Compiled code, which nobody can read: where there was none, or in a wheel that says it has none."""

from __future__ import annotations

from koschey.checks.comparison import (
    earlier_contents,
    earlier_version,
    is_sdist,
    is_wheel,
    named,
    unread,
)
from koschey.checks.subject import Subject
from koschey.domain.checks import Finding, Outcome

_NAME = "native"


def check(subject: Subject) -> Finding:
    """Fails on compiled code where the previous version had none at all."""
    if subject.contents is None:
        return unread(_NAME)
    native = subject.contents.native
    if not native:
        return Finding(_NAME, Outcome.PASS, "no compiled code")
    before = earlier_contents(subject)
    if before is not None:
        version = earlier_version(subject)
        if before.native:
            return Finding(_NAME, Outcome.PASS, f"compiled code, as in {version}")
        return Finding(_NAME, Outcome.FAIL, f"compiled code: {named(native)}; {version} had none at all")
    if _says_pure(subject.filename):
        # Honest ones exist: launchers for Windows (setuptools, distlib), and libraries that ctypes loads.
        return Finding(
            _NAME, Outcome.WARN, f"compiled code in what calls itself pure Python: {named(native)}"
        )
    return Finding(_NAME, Outcome.PASS, "compiled code, as its kind of file may have")


def _says_pure(filename: str) -> bool:
    """Whether a file is for every platform: an sdist, or a wheel tagged so."""
    return is_sdist(filename) or (is_wheel(filename) and filename.lower().endswith("-none-any.whl"))
