"""The explanation: what an index makes of a project's files, and what that rests on, as plain values.

Times are texts for machines (``koschey.domain.explanation.iso``); None where there is none.
"""

from __future__ import annotations

import msgspec

from koschey.domain.decisions import Kind
from koschey.domain.policy import Clock, Effect
from koschey.domain.quarantine import Rule, State


class PolicyWords(msgspec.Struct, frozen=True, kw_only=True):
    """What an index asks of the files of a name."""

    words: str
    """One sentence without a full stop."""
    hold_days: float
    clock: Clock
    patterns: tuple[str, ...]
    """Globs of the rules that made it, the most specific last."""
    required: tuple[str, ...]
    """Checks that a file must pass."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The latest answer of one check about one file."""

    check: str
    effect: Effect
    """What the policy makes of it."""
    outcome: str | None = None
    """None: not answered yet."""
    reason: str = ""
    at: str | None = None


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A decision, in force or not."""

    id: int
    kind: Kind
    actor: str
    reason: str
    at: str | None
    index: str | None
    """Name of the index; None: all."""
    version: str | None
    filename: str | None
    sha256: str | None
    expires_at: str | None
    until: str | None
    """End of a hold; None: until review."""
    standing: str
    """``in force``, ``expired``, ``over`` (a hold whose end has come) or ``reverted``."""
    reverted_by: str | None = None
    reverted_at: str | None = None
    revert_reason: str | None = None


class FileWords(msgspec.Struct, frozen=True, kw_only=True):
    """One file: its verdict and what that rests on."""

    filename: str
    state: State
    rule: Rule
    sentence: str
    clears_at: str | None
    """When it is visible by time alone, if the checks of ``waits_for`` have passed. None: an event is
    needed."""
    visible_until: str | None
    """When an approval, trust or baseline that shows it expires."""
    ends: str
    """How a hidden file may become visible: ``by itself on …``, ``when …``; empty for a visible one."""
    review: bool
    """Whether only a person can end this."""
    waits_for: tuple[str, ...]
    """Required checks that have not answered yet and have to."""
    upload_time: str | None
    """The upstream's word."""
    first_seen: str | None
    previous_look: str | None
    """The look at the project before the one that found the file; None: the first pull."""
    clock_start: str | None
    mark: str
    """Why the clock does not begin at the upstream's time; empty where it does."""
    hold_ends: str | None
    withdrawn_at: str | None
    """Since when the upstream lists it no more."""
    requires_python: str | None
    yanked: bool | str
    checks: tuple[Answer, ...]
    size: int | None = None
    """In bytes; None: nobody said."""
    sha256: str | None = None
    """For readers None while it is hidden (``koschey.domain.explaining.for_readers``)."""
    provenance: str = "none"
    """PEP 740: ``kept`` here, ``offered`` by the upstream, or ``none``."""


class VersionWords(msgspec.Struct, frozen=True, kw_only=True):
    """One release: visible when one of its files is."""

    version: str | None
    """As its files spell it; None for files whose names state none."""
    state: State
    sentence: str
    clears_at: str | None
    """The first ``clears_at`` among its hidden files."""
    visible: int
    held: int
    rejected: int
    files: tuple[FileWords, ...]
    """Those that are explained, hidden ones first."""
    next_file: str | None = None
    """The last of ``files`` when there are more."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A project in an index, and of its versions those that were asked for, newest first."""

    project: str
    index: str
    version: str | None
    """The one version that was asked for; None: all."""
    known: bool
    """Whether there is anything of what was asked for."""
    sentence: str
    source: str
    hosted: bool
    merged: str | None
    """The upstream whose files stand beside the company's own, by a person's word."""
    status: str
    """PEP 792."""
    status_reason: str | None
    withdrawal: str
    """How the upstream took the project back; empty: it did not."""
    looked_at: str | None
    """The last successful look at the upstream's page."""
    policy: PolicyWords
    visible: int
    """So many versions, over all that were asked for; ``held`` and ``rejected`` alike."""
    held: int
    rejected: int
    versions: tuple[VersionWords, ...]
    next_version: str | None = None
    """The last of ``versions`` when there are more."""
    near: tuple[str, ...] = ()
    """Known versions around one that is not known."""
    decisions: tuple[Said, ...] = ()
    contact: str = ""
    """Whom to ask."""
