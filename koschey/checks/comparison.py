"""What the checks share that compare a file with the one of the version before it."""

from __future__ import annotations

from collections.abc import Iterable

from koschey.checks.archive_kinds import Kind, kind_of
from koschey.checks.subject import Contents, Subject
from koschey.domain.checks import Finding, Outcome

#: Of a list in a reason: more is read by nobody.
_NAMED = 5
_LONGEST_NAME = 120
_SDISTS = frozenset({Kind.TAR_SDIST, Kind.ZIP_SDIST})


def is_sdist(filename: str) -> bool:
    """Whether it is a source archive, by its name."""
    return kind_of(filename) in _SDISTS


def is_wheel(filename: str) -> bool:
    """Whether it is a wheel, by its name."""
    return kind_of(filename) is Kind.WHEEL


def platform(wheel: str) -> str:
    """Of a wheel's name: ``any``, ``win``, ``macosx``, ``linux`` (many and musl too), else its first word."""
    tag = wheel.lower().removesuffix(".whl").rpartition("-")[2]
    return next((name for name in ("linux", "macosx", "win") if name in tag), tag.partition("_")[0])


def same_kind(one: str, other: str) -> bool:
    """Whether the contents of two files compare: a wheel has what its sdist only builds."""
    return kind_of(one) is kind_of(other) or (is_sdist(one) and is_sdist(other))


def earlier_contents(subject: Subject) -> Contents | None:
    """What the previous version's file holds, if it is of the same kind and could be read."""
    previous = subject.previous
    if previous is None or not same_kind(previous.filename, subject.filename):
        return None
    return previous.contents


def earlier_version(subject: Subject) -> str:
    """``version 1.0``, as reasons name the previous version."""
    assert subject.previous is not None, "nothing was compared"
    return f"version {named([subject.previous.version])}"


def unread(check: str) -> Finding:
    """The answer about a file whose archive nobody could read: it cannot be said, so it has not passed."""
    return Finding(check, Outcome.ERROR, "what is in the archive could not be read")


def named(names: Iterable[str]) -> str:
    """``a, b and 3 more``, with nothing in it that a terminal or a header would act upon."""
    cleaned = [_printable(name) for name in names]
    shown, more = cleaned[:_NAMED], len(cleaned) - _NAMED
    if more > 0:
        return f"{', '.join(shown)} and {more} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))


def _printable(name: str) -> str:
    cut = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in cut)
