"""Core metadata as an upload must have it: every field valid by its specification (packaging.metadata)."""

from __future__ import annotations

from typing import Any, cast

from packaging.metadata import InvalidMetadata, Metadata, RawMetadata, parse_email

_MAX_SHOWN = 3
_MAX_PROBLEM = 300
#: Longer ones are refused before a parser looks at them.
_MAX_SHORT = 512
_SHORT = ("metadata_version", "name", "version")
#: Written by tools under metadata versions that did not have them yet (setuptools, hatchling). Readers of
#: those versions pass over them, and so does this.
_EARLY = ("license_files", "license_expression")
_LATE_ENOUGH = ("2.4", "2.5", "2.6")


def metadata_problem(raw: RawMetadata) -> str | None:
    """What is wrong with metadata, the first few things in one clause; None when nothing is."""
    fields = cast("dict[str, Any]", dict(raw))
    for name in _SHORT:
        value = fields.get(name)
        if not value:
            return f"{_header(name)} is missing"
        if len(value) > _MAX_SHORT:
            return f"{_header(name)} has {len(value)} characters"
    if fields["metadata_version"] not in _LATE_ENOUGH:
        for name in _EARLY:
            fields.pop(name, None)
    try:
        Metadata.from_raw(cast("RawMetadata", fields))
    except ExceptionGroup as group:
        return _told(group)
    except ValueError:  # a number with more digits than Python converts
        return "a number in it is too long"
    return None


def embedded_problem(body: bytes) -> tuple[RawMetadata, str | None]:
    """METADATA or PKG-INFO: what it says, and what is wrong with it.

    Fields that no specification knows are passed over, as installers do.
    """
    raw, leftover = parse_email(body)
    known = RawMetadata.__annotations__.keys() | {"classifier", "project-url"}
    for name in sorted(leftover):
        if name in known or name.replace("-", "_") in known or name + "s" in known:
            return raw, f"{name} is there twice, or cannot be read"
    return raw, metadata_problem(raw)


def _told(group: ExceptionGroup[Exception]) -> str:
    problems = sorted({_sentence(error) for error in group.exceptions})
    more = len(problems) - _MAX_SHOWN
    told = "; ".join(problems[:_MAX_SHOWN])
    return f"{told}; and {more} more" if more > 0 else told


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, InvalidMetadata) and error.field not in text:
        text = f"{error.field}: {text}"
    return text if len(text) <= _MAX_PROBLEM else text[: _MAX_PROBLEM - 3] + "..."


def _header(name: str) -> str:
    return name.replace("_", "-")
