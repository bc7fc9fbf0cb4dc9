"""Dependencies: what an installation would bring along that it did not bring before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from koschey.checks.comparison import earlier_version, is_wheel, named, same_kind, unread
from koschey.checks.subject import Contents, Subject
from koschey.domain.checks import Finding, Outcome

_NAME = "dependencies"


def check(subject: Subject) -> Finding:
    """Fails on a dependency by direct URL, and on a new one that nobody here has ever seen."""
    contents = subject.contents
    if contents is None:
        return unread(_NAME)
    before = _earlier(subject)
    had = required(before.requires_dist if before else ())
    needs = required(contents.requires_dist)
    direct = [text for name, urls in needs.items() for text in urls - had.get(name, set())]
    if direct:
        return Finding(_NAME, Outcome.FAIL, f"it would be fetched past every index: {named(sorted(direct))}")
    new = [name for name in needs if name not in had]
    unseen = {str(canonicalize_name(name)) for name in subject.unknown_dependencies}
    unknown = [name for name in new if name in unseen]
    if before is None:
        if unknown:
            return Finding(_NAME, Outcome.WARN, f"it needs what this index has never seen: {named(unknown)}")
        return Finding(_NAME, Outcome.PASS, "no earlier version to compare with")
    version = earlier_version(subject)
    if unknown:
        return Finding(
            _NAME,
            Outcome.FAIL,
            f"new since {version}, and this index has never seen it: {named(unknown)}",
        )
    if new:
        return Finding(_NAME, Outcome.WARN, f"new since {version}: {named(new)}")
    return Finding(_NAME, Outcome.PASS, f"nothing new since {version}")


def _earlier(subject: Subject) -> Contents | None:
    """The previous contents, when they can say what was needed: an sdist's may leave it to the build."""
    previous = subject.previous
    if previous is None or previous.contents is None:
        return None
    if is_wheel(previous.filename) or same_kind(subject.filename, previous.filename):
        return previous.contents
    return previous.contents if previous.contents.requires_dist else None


def required(requires_dist: Iterable[str]) -> dict[str, set[str]]:
    """What is needed without any extra being asked for: normalised names, each with the URLs it comes from.

    What cannot be parsed stands as it is.
    """
    needed: dict[str, set[str]] = {}
    for text in requires_dist:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            needed.setdefault(text.strip(), set())
            continue
        # A marker's parts are no public interface; a test holds on to their form.
        if requirement.marker is not None and _holds_nowhere(requirement.marker._markers):
            continue
        urls = needed.setdefault(canonicalize_name(requirement.name), set())
        if requirement.url:
            urls.add(f"{requirement.name} @ {requirement.url}")
    return needed


def _holds_nowhere(parts: list[Any]) -> bool:
    """Whether a marker holds on no machine with a living Python, unless an extra was asked for.

    A mention of an extra is not enough: ``extra == "x" or python_version > "3"`` holds without one.
    """
    branches: list[list[Any]] = [[]]
    for part in parts:
        if part == "or":
            branches.append([])
        elif part != "and":
            branches[-1].append(part)
    return all(
        any(_holds_nowhere(part) if isinstance(part, list) else _is_out(*part) for part in branch)
        for branch in branches
    )


def _is_out(left: Any, operator: Any, right: Any) -> bool:
    """Whether a comparison is ``extra == "x"``, either way round, or ``python_version < "3"``."""
    if type(left) is type(right):
        return False
    reversed_ = type(right).__name__ == "Variable"
    variable, value = (right.value, left.value) if reversed_ else (left.value, right.value)
    if variable == "extra":
        return bool(operator.value == "==" and value != "")  # an empty one holds without extras
    if variable not in ("python_version", "python_full_version") or reversed_:
        return False
    return (operator.value, value) in _OUTDATED


#: Of Python 2, as packages write it. The same in other words counts as needed.
_OUTDATED = frozenset(
    [("<", "3"), ("<", "3.0")]
    + [(operator, version) for operator in ("<", "<=", "==") for version in ("2.6", "2.7")]
)
