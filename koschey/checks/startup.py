"""Start-up hooks: code that runs whenever Python starts, before anybody imports the package."""

from __future__ import annotations

import re

from koschey.checks.comparison import earlier_contents, earlier_version, named, unread
from koschey.checks.subject import Contents, Subject
from koschey.domain.checks import Finding, Outcome

_NAME = "startup"
#: setuptools names the hooks of namespace packages for the release: ``x-1.0-py3.12-nspkg.pth``.
_OF_A_RELEASE = re.compile(r"-\d[^/-]*(?:-py\d[\d.]*)?-nspkg\.pth\Z")
#: Where a wheel may have the same hook.
_FOLDER = re.compile(r"\A\.data/(?:pure|plat)lib/")


def check(subject: Subject) -> Finding:
    """Fails on hooks that the previous version had not, or not so."""
    if subject.contents is None:
        return unread(_NAME)
    before = earlier_contents(subject)
    had = {_plain(hook) for hook in before.startup} if before else set()
    new = [hook for hook in subject.contents.startup if _plain(hook) not in had]
    if new:
        reason = f"Python would run {named(new)} at every start"
        if before is not None:
            reason += f"; {earlier_version(subject)} did not have that"
        return Finding(_NAME, Outcome.FAIL, reason)
    changed = _changed(subject.contents, before)
    if changed:
        reason = f"Python would run {named(changed)} at every start"
        reason += f"; {earlier_version(subject)} had other code there"
        return Finding(_NAME, Outcome.FAIL, reason)
    if subject.contents.startup:
        return Finding(_NAME, Outcome.PASS, f"as in the version before: {named(subject.contents.startup)}")
    return Finding(_NAME, Outcome.PASS, "no start-up hooks")


def _changed(contents: Contents, before: Contents | None) -> list[str]:
    """Hooks of the same name with other bodies, but for what another setuptools writes for a namespace."""
    if before is None:
        return []
    had = {_plain(hook): digest for hook, digest in before.startup_digests.items()}
    return [
        hook
        for hook, digest in contents.startup_digests.items()
        if had.get(_plain(hook), digest) != digest and hook not in contents.namespaces
    ]


def _plain(hook: str) -> str:
    return _FOLDER.sub("", _OF_A_RELEASE.sub("-nspkg.pth", hook))
