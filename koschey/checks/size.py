"""A file that is many times as large as the one before it brought something along."""

from __future__ import annotations

from pathlib import Path

from koschey.checks.comparison import earlier_version, is_wheel, platform, same_kind
from koschey.checks.subject import Previous, Subject
from koschey.domain.checks import Finding, Outcome

_NAME = "size"
_MIB = 2**20
#: A growth of fewer bytes is in the nature of small files.
_LEAST_GROWTH = _MIB
_GROWN = 5
_BLOATED = 20


def check(subject: Subject) -> Finding:
    """Fails from 20 times the size on, warns from 5 times on and below a 20th."""
    previous = subject.previous
    if previous is None or previous.size is None or not _same_platform(subject, previous):
        return Finding(_NAME, Outcome.PASS, "no earlier file of this kind and platform to compare with")
    size = Path(subject.path).stat().st_size if subject.size is None else subject.size
    before = f"{_text(previous.size)} in {earlier_version(subject)}"
    if size - previous.size >= _LEAST_GROWTH:
        ratio = f"{size / max(previous.size, 1):.0f} times the size"
        if size >= _BLOATED * previous.size:
            return Finding(_NAME, Outcome.FAIL, f"{ratio}: {_text(size)}, {before}")
        if size >= _GROWN * previous.size:
            return Finding(_NAME, Outcome.WARN, f"{ratio}: {_text(size)}, {before}")
    if previous.size >= _MIB and size * _BLOATED < previous.size:
        return Finding(_NAME, Outcome.WARN, f"hardly anything is left: {_text(size)}, {before}")
    return Finding(_NAME, Outcome.PASS, f"{_text(size)}, {before}")


def _same_platform(subject: Subject, previous: Previous) -> bool:
    """Whether the sizes say something: wheels for Linux may carry a CUDA that those for macOS lack."""
    if not same_kind(subject.filename, previous.filename):
        return False
    return not is_wheel(subject.filename) or platform(subject.filename) == platform(previous.filename)


def _text(size: int) -> str:
    for unit, name in ((_MIB, "MiB"), (2**10, "KiB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"
