"""``koschey why``: what an index makes of the versions that a requirement matches, and why."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from koschey.cli.running import data_option, services
from koschey.errors import RequestInvalid

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from koschey.domain.why import Explanation, FileWords, VersionWords

#: Exit status when something matches and none of it is visible.
HIDDEN = 3
#: Of visible versions the newest are named.
_VISIBLE_SHOWN = 10
#: Hidden files of a version that are explained when several versions match.
_FILES_SHOWN = 3


@click.command()
@click.argument("requirement")
@click.option("--index", default="main", show_default=True, help="The index to ask about.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@data_option
def why(requirement: str, index: str, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Say whether what REQUIREMENT matches is visible, and why.

    REQUIREMENT is a name, or a name with versions: requests, requests==2.99, 'requests>=2'. Extras and
    markers make no difference.

    Exit status: 0 when a matching version is visible, 3 when all that match are hidden, 1 when nothing
    matches or something is wrong.
    """
    import msgspec

    explanation = _explained(requirement, index)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(explanation)))
    elif explanation.known:
        for line in _lines(explanation):
            click.echo(_printable(line))
    if not explanation.known:
        near = f"; there is {', '.join(explanation.near)}" if explanation.near else ""
        click.echo(f"koschey: {_printable(explanation.sentence + near)}", err=True)
        sys.exit(1)
    sys.exit(0 if explanation.visible else HIDDEN)


def _explained(text: str, index: str) -> Explanation:
    from packaging.requirements import InvalidRequirement, Requirement

    from koschey.domain.names import normalize

    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise RequestInvalid(f"{text!r} is no requirement: {str(error).splitlines()[0]}") from error
    if requirement.url is not None:
        raise RequestInvalid("a requirement with a URL is not looked for in an index")
    name = normalize(requirement.name)
    with services() as koschey:
        exact = _exact_version(requirement)
        if exact is not None:
            return koschey.explanations.version(index, name, exact)
        return koschey.explanations.matching(index, name, lambda version: _accepts(requirement, version))


def _exact_version(requirement: Requirement) -> str | None:
    """The one version that a requirement allows, as it spells it."""
    clauses = list(requirement.specifier)
    if len(clauses) != 1 or clauses[0].operator not in ("==", "===") or clauses[0].version.endswith(".*"):
        return None
    return clauses[0].version


def _accepts(requirement: Requirement, version: str) -> bool:
    """Whether a version matches, pre-releases included; what PEP 440 cannot read matches no specifier."""
    from packaging.version import InvalidVersion

    try:
        return requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return not requirement.specifier


def _lines(why: Explanation) -> Iterator[str]:
    asked = f"{why.project} {why.version}" if why.version else why.project
    yield f"{asked} in index {why.index}: {why.sentence}"
    if why.version:
        yield from _file_lines(why.versions[0], len(why.versions[0].files))
    else:
        yield from _version_lines(why)
    for decision in why.decisions:
        scope = decision.filename or decision.version or "the project"
        words = f"{decision.kind} of {scope} by {decision.actor}: {decision.reason}"
        yield f"  decision: {words} ({decision.standing})"
    yield f"  policy: {why.policy.words}"
    if why.status != "active":
        yield "  " + ": ".join(filter(None, [f"status at {why.source}", why.status, why.status_reason]))
    if why.looked_at:
        yield f"  last look at {why.source}: {_moment(why.looked_at)}"
    if why.contact and any(version.held + version.rejected for version in why.versions):
        yield f"  whom to ask: {why.contact}"


def _version_lines(why: Explanation) -> Iterator[str]:
    """Hidden versions with their reasons; of the visible ones the newest."""
    visible = 0
    for version in why.versions:
        if version.state == "visible":
            visible += 1
            if visible > _VISIBLE_SHOWN and not version.files:
                continue
        yield f"  {version.version}  {version.sentence}"
        yield from (f"  {line}" for line in _file_lines(version, _FILES_SHOWN))
    if visible > _VISIBLE_SHOWN:
        yield f"  and {visible - _VISIBLE_SHOWN} older visible versions"


def _file_lines(version: VersionWords, count: int) -> Iterator[str]:
    """The hidden files of a version, so many of them."""
    hidden = [file for file in version.files if file.state != "visible"]
    for file in hidden[:count]:
        yield f"  {file.filename}" + ("" if file.sentence == version.sentence else f": {file.sentence}")
        yield from (f"    {line}" for line in _reasons(file))
    if len(hidden) > count or version.next_file:
        yield "  and more files"


def _reasons(file: FileWords) -> Iterator[str]:
    yield f"ends {file.ends}"
    uploaded = _moment(file.upload_time) if file.upload_time else "not given"
    yield f"upstream's time: {uploaded}; first seen: {_moment(file.first_seen)}"
    answers: dict[str, list[str]] = {}  # what several say in the same words is said once
    for check in file.checks:
        if check.outcome not in (None, "pass"):
            reported = "" if check.effect == "required" else f" ({check.effect})"
            answers.setdefault(f"{check.outcome}: {check.reason}{reported}", []).append(check.check)
    for answer, checks in answers.items():
        yield f"{'check' if len(checks) == 1 else 'checks'} {', '.join(checks)}: {answer}"


def _moment(iso: str | None) -> str:
    return "unknown" if iso is None else f"{iso[:10]} {iso[11:19]} UTC"


def _printable(text: str) -> str:
    """Foreign text must not steer a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
